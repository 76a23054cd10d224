"""`dnamamba score`, `saturate` and `track` on a made genome: what a user types, what comes out, what is refused."""

import json
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pybigtools
import pysam
import pytest
from click.testing import CliRunner
from random_models import random_model
from scoring_cases import made_sequence, write_fasta

from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.model_directory import load, save
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.plan import ScorerPlan
from dnamamba.scoring.run import Wanted, run_score
from dnamamba.scoring.scorer import VariantScorer

COMMON = ("--context", "128", "--horizon", "16", "--device", "cpu")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    sequence = made_sequence(900, 7, odd="").upper()
    write_fasta(folder / "g.fa", chr1=sequence, chr2=sequence[::-1])
    save(random_model(5, n_layers=2), folder / "model")
    rng, lines = random.Random(2), []
    for pos in sorted(rng.sample(range(1, 880), 40)):
        ref = sequence[pos - 1]
        alts = rng.sample([x for x in "ACGT" if x != ref], rng.choice([1, 1, 2]))
        lines.append(f"1\t{pos}\tv{pos}\t{ref}\t{','.join(alts)}\t.\t.\t.")
    planted = lines[3].split("\t")
    planted[3] = planted[4].split(",")[0]
    planted[4] = "ACGT"[("ACGT".index(planted[3]) + 1) % 4]
    lines[3] = "\t".join(planted)
    (folder / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "\n".join(lines) + "\n"
    )
    return folder


def _run(*arguments, fails=False):
    answer = CliRunner().invoke(cli, [str(a) for a in arguments])
    if answer.exception is not None and not fails and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def test_score_to_stdout_file_and_table(case, tmp_path):
    where = ("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", *COMMON)
    answer = _run(*where)
    assert answer.exit_code == 0
    assert "in.vcf: 40 records" in answer.stderr
    assert "1 skipped (REF does not match 1)" in answer.stderr
    assert answer.stdout.startswith("##fileformat=VCFv4.2\n")
    assert sum(line[0] != "#" for line in answer.stdout.splitlines()) == 40
    assert "DNM_SKIP=REF_does_not_match" in answer.stdout
    _run(*where, "--out", tmp_path / "o.vcf.gz")
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as file:
        assert "".join(str(record) for record in file) == "".join(
            f"{line}\n" for line in answer.stdout.splitlines() if line[0] != "#"
        )
    _run(*where, "--out", tmp_path / "o.parquet", "--region", "chr1:1-400", "--exclude", "chr2")
    frame = pd.read_parquet(tmp_path / "o.parquet")
    assert frame.pos.max() <= 400
    scorer = VariantScorer(load(case / "model"), case / "g.fa", context=128, horizon=16)
    row = frame[frame.skipped.isna()].iloc[2]
    again = scorer.score(row.chrom, int(row.pos), row.ref, row.alt)
    assert again.score == pytest.approx(row.score, abs=1e-4)
    about = json.loads((tmp_path / "o.parquet.metadata.json").read_text())
    assert about["options"]["regions"] == ["chr1:1-400"]
    assert about["options"]["context"] == 128
    assert len(about["model"]["weights_sha256"]) == 64


def test_calibrated_scores(case, tmp_path):
    where = ("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", *COMMON, "--strands", "forward")
    _run(*where, "--out", tmp_path / "a.tsv", "--calibrate", "20", "--region", "chr1:1-200")
    first = pd.read_csv(tmp_path / "a.tsv", sep="\t", na_values=".")
    quantiles = first[first.skipped.isna()]["quantile"]
    assert quantiles.notna().any()
    assert quantiles.dropna().between(0, 1).all()
    kept = tmp_path / "a.tsv.calibration.json"
    _run(*where, "--out", tmp_path / "b.tsv", "--calibration", kept, "--region", "chr1:1-200")
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    other = ("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", "--context", "64")
    assert "calibrate anew" in str(_run(*other, "--calibration", kept, fails=True).exception)


def _no_calibration(*arguments, **options):
    raise AssertionError("the calibration began")


def test_what_is_wrong_is_told_before_the_calibration(case, tmp_path, monkeypatch):
    monkeypatch.setattr("dnamamba.scoring.calibration.calibrate", _no_calibration)
    (tmp_path / "empty.vcf").write_text("")
    (tmp_path / "torn.vcf").write_text((case / "in.vcf").read_text()[:-20])
    (tmp_path / "b.vcf.calibration.json").write_text("of an earlier run")
    (tmp_path / ".begun.vcf.journal").write_text("{}\n")
    there = sorted(path.name for path in tmp_path.iterdir())
    for variants, out, message in (
        (tmp_path / "empty.vcf", "b.vcf", "empty.vcf"),
        (tmp_path / "torn.vcf", "b.vcf", "damaged or truncated"),
        (case / "in.vcf", "b.xls", "want a name that ends in"),
        (case / "in.vcf", "begun.vcf", "an unfinished run stands beside it"),
    ):
        where = ("score", case / "model", variants, "--reference", case / "g.fa", *COMMON, "--out", tmp_path / out)
        answer = _run(*where, "--calibrate", "20", fails=True)
        assert message in str(answer.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    assert (tmp_path / "b.vcf.calibration.json").read_text() == "of an earlier run"


def test_a_run_that_fails_does_not_replace_a_calibration(case, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise InputError("no space left")

    (tmp_path / "a.tsv.calibration.json").write_text("of an earlier run")
    where = ("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", *COMMON, "--calibrate", "20")
    monkeypatch.setattr("dnamamba.scoring.run.score_file", full)
    assert "no space left" in str(_run(*where, "--out", tmp_path / "a.tsv", fails=True).exception)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tsv.calibration.json"]
    assert (tmp_path / "a.tsv.calibration.json").read_text() == "of an earlier run"


def test_an_interrupted_run_goes_on_with_its_calibration(case, tmp_path, monkeypatch):
    plan = ScorerPlan(
        model=str(case / "model"), reference=str(case / "g.fa"), context=128, horizon=16, window=10, device="cpu"
    )

    def scored(name, plan=plan, calibrate=20, **options):
        out = tmp_path / name
        run_score(plan, str(case / "in.vcf"), str(out), wanted=Wanted(), calibrate=calibrate, **options)
        return out.read_bytes(), (tmp_path / f"{name}.calibration.json").read_bytes()

    def interrupted(done, total):
        if done == 25:
            raise KeyboardInterrupt

    # One of other options, and no run to go on with: made anew.
    assert scored("a.tsv", replace(plan, context=64), resume=True) != scored("b.tsv")
    before = (tmp_path / "a.tsv.calibration.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        scored("a.tsv", progress=interrupted)
    assert (tmp_path / "a.tsv.calibration.json").read_bytes() == before
    monkeypatch.setattr("dnamamba.scoring.calibration.calibrate", _no_calibration)
    for other in ({"calibrate": 21}, {"plan": replace(plan, context=64)}):
        with pytest.raises(InputError, match="the unfinished run beside it was begun with another --calibrate, model"):
            scored("a.tsv", resume=True, **other)
    goes_on = scored("a.tsv", resume=True)
    monkeypatch.undo()
    assert goes_on == scored("b.tsv")
    assert scored("a.tsv", replace(plan, context=64), resume=True)[1] == before  # none to resume is left
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_haplotypes_of_a_phased_file(case, tmp_path):
    genome = open_reference(case / "g.fa").fetch("chr1", 0, 900).tobytes().decode()
    places = ((300, "0|1"), (310, "1|1"), (400, "0|1"))
    alts = {pos: "ACGT"[("ACGT".index(genome[pos - 1]) + 1) % 4] for pos, _ in places}
    lines = [f"1\t{pos}\t.\t{genome[pos - 1]}\t{alts[pos]}\t.\t.\t.\tGT\t{gt}" for pos, gt in places]
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"
    (tmp_path / "p.vcf").write_text(head + "\n".join(lines) + "\n")
    where = ("score", case / "model", tmp_path / "p.vcf", "--reference", case / "g.fa", *COMMON, "--phased")
    answer = _run(*where, "--out", tmp_path / "p.tsv")
    assert "3 haplotype blocks" in answer.stderr
    frame = pd.read_csv(tmp_path / "p.tsv", sep="\t").set_index(["start", "haplotype"])
    scorer = VariantScorer(load(case / "model"), case / "g.fa", context=128, horizon=16)
    pair = [Variant("chr1", pos, ".", genome[pos - 1], alts[pos]) for pos in (300, 310)]
    assert frame.loc[(300, 2), "score"] == pytest.approx(scorer.score_haplotype(pair).score, abs=1e-4)
    singles = [s.score for s in scorer.score_many(pair)]
    assert frame.loc[(300, 2), "alone"] == pytest.approx(sum(singles), abs=1e-4)
    assert frame.loc[(310, 1), "score"] == pytest.approx(singles[1], abs=1e-4)
    assert abs(frame.loc[(300, 2), "score"] - sum(singles)) > 1e-3  # what they do together


def test_tables_in_python(case):
    scorer = VariantScorer(load(case / "model"), case / "g.fa", context=128, horizon=16)
    frame = scorer.score_vcf(case / "in.vcf")
    table = scorer.score_arrow(case / "in.vcf")
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == table.column_names
    assert frame.skipped.value_counts().to_dict() == {"REF does not match": 1}
    assert frame.score.tolist() == pytest.approx(table["score"].to_pandas().tolist(), nan_ok=True)


def test_saturation_is_every_substitution(case, tmp_path):
    scorer = VariantScorer(load(case / "model"), case / "g.fa", context=128, horizon=16)
    found = scorer.saturation("1:101-230")
    matrix = found.matrix()
    assert matrix.shape == (4, 130)
    assert (np.isnan(matrix).sum(0) == 1).all()
    for at in (0, 77, 129):
        ref = found.reference[at]
        assert np.isnan(matrix["ACGT".index(ref), at])
        for alt in set("ACGT") - {ref}:
            single = scorer.score("chr1", 101 + at, ref, alt).score
            assert matrix["ACGT".index(alt), at] == pytest.approx(single, abs=1e-3)
    where = ("saturate", case / "model", "chr1:101-230", "--reference", case / "g.fa", *COMMON)
    for name in ("a.png", "b.png"):
        assert "390 substitutions" in _run(*where, "--out", tmp_path / name).stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(_run(*where).stdout.splitlines()) == 391


def test_track(case, tmp_path):
    where = ("track", case / "model", "--reference", case / "g.fa", "--context", "128", "--device", "cpu")
    answer = _run(*where, "--out", tmp_path / "t.bw", "--region", "2:11-20", "--region", "1")
    assert f"{tmp_path / 't.bw'}: likelihood of 910 bases" in answer.stderr
    file = pybigtools.open(str(tmp_path / "t.bw"))
    assert np.isfinite(file.values("chr1", 0, 900, fillna=None)).all()
    assert np.isfinite(file.values("chr2", 0, 30, fillna=None)).sum() == 10
    text = _run(*where, "--out", "-", "--what", "entropy", "--strands", "reverse", "--region", "chr2:11-20").stdout
    assert text.splitlines()[0].split("\t")[:3] == ["chr2", "10", "11"]
    assert all(0 <= float(line.split("\t")[3]) <= 1.3863 for line in text.splitlines())


WRONG = (
    (("--region", "chr9:1-5"), "region 'chr9:1-5'"),
    (("--context", "x"), "--context: want a size"),
    (("--context", "7"), "context: want an even number"),
    (("--out", "o.xls"), "want a name that ends in"),
    (("--exclude", "@foo"), "no such class"),
    (("--phased",), "--phased wants genotypes"),
)


def test_folders_of_outputs_are_made_and_no_folder_is_written_over(case, tmp_path):
    command = (case / "model", "--reference", case / "g.fa", "--context", "128", "--device", "cpu")
    _run("track", *command, "--region", "chr1:1-50", "--out", tmp_path / "new" / "t.bw")
    assert pybigtools.open(str(tmp_path / "new" / "t.bw")).chroms("chr1") == 900
    _run("score", case / "model", case / "in.vcf", *command[1:], "--out", tmp_path / "er" / "s.vcf.gz")
    assert (tmp_path / "er" / "s.vcf.gz").exists()
    for name, *what in (("d.bw", "track"), ("d.vcf", "score", case / "in.vcf"), ("d.tsv", "saturate", "chr1:5-6")):
        (tmp_path / name).mkdir()
        answer = _run(what[0], case / "model", *what[1:], *command[1:], "--out", tmp_path / name, fails=True)
        assert f"{name}: is a folder; want the name of a file" in str(answer.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.bw", "d.tsv", "d.vcf", "er", "new"]


def test_a_bigwig_that_cannot_be_written_is_one_line(case, tmp_path, monkeypatch):
    def full(*arguments):
        raise Exception("no space left")  # the library's own kind

    monkeypatch.setattr("pybigtools.open", full)
    answer = _run(
        "track", case / "model", "--reference", case / "g.fa", "--region", "chr1:1-50", "--context", "128",
        "--out", tmp_path / "t.bw", fails=True,
    )  # fmt: skip
    assert isinstance(answer.exception, InputError)
    assert "cannot be written: no space left" in str(answer.exception)


def test_endings_in_capitals_are_packed_and_indexed_too(case, tmp_path):
    where = (case / "model", "--reference", case / "g.fa", *COMMON[:2], "--device", "cpu")
    _run("score", *where[:1], case / "in.vcf", *where[1:], "--out", tmp_path / "O.VCF.GZ")
    _run("track", *where, "--region", "chr1:1-50", "--out", tmp_path / "t.bedGraph.GZ")
    with pysam.VariantFile(str(tmp_path / "O.VCF.GZ"), index_filename=str(tmp_path / "O.VCF.GZ.tbi")) as file:
        assert len(list(file.fetch("1"))) == 40
    with pysam.TabixFile(str(tmp_path / "t.bedGraph.GZ"), index=str(tmp_path / "t.bedGraph.GZ.csi")) as table:
        assert len(list(table.fetch("chr1"))) == 50


def test_the_precision_that_auto_comes_to_is_recorded(case, tmp_path):
    """So that a run, or a calibration, is not gone on with on a device where it comes to another."""
    where = ("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", *COMMON)
    for precision in ("auto", "float32"):
        _run(*where, "--precision", precision, "--calibrate", "20", "--out", tmp_path / f"{precision}.vcf")
        about = json.loads((tmp_path / f"{precision}.vcf.metadata.json").read_text())
        assert about["options"]["precision"] == "float32"
    assert (tmp_path / "auto.vcf").read_bytes() == (tmp_path / "float32.vcf").read_bytes()
    answer = _run(*where, "--precision", "auto", "--scheduler", "tcp://127.0.0.1:1", fails=True)
    assert "want float32 or bfloat16" in str(answer.exception)


def test_line_ends_are_kept(case, tmp_path):
    (tmp_path / "in.vcf").write_bytes((case / "in.vcf").read_bytes().replace(b"\n", b"\r\n"))
    for source, name in ((case, "unix.vcf"), (tmp_path, "dos.vcf")):
        _run(
            "score", case / "model", source / "in.vcf", "--reference", case / "g.fa", *COMMON, "--out", tmp_path / name
        )
    dos = (tmp_path / "dos.vcf").read_bytes()
    assert dos.count(b"\r\n") == dos.count(b"\n") > 40
    assert dos.replace(b"\r\n", b"\n") == (tmp_path / "unix.vcf").read_bytes()


@pytest.mark.parametrize("options, message", WRONG)
def test_mistakes_are_told(case, tmp_path, options, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = _run("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", *options, fails=True)
    assert message in str(answer.exception)
    assert not list(tmp_path.iterdir())
    assert answer.stdout == ""


@pytest.mark.parametrize(
    "options",
    [
        ("--resume",),
        ("--calibrate", "20", "--calibration", "c"),
        ("--phased", "--format", "vcf"),
        ("--phased", "--resume", "--out", "x"),
        ("--phased", "--calibrate", "20"),
        ("--phased", "--calibration", "c"),
    ],
)
def test_options_that_do_not_go_together(case, options):
    answer = _run("score", case / "model", case / "in.vcf", "--reference", case / "g.fa", *options)
    assert answer.exit_code == 2
