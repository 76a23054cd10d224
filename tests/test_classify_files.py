"""`dnamamba classify` over files: formats, order, bad files among good ones, exit codes; and the same from Python."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from random_classifiers import CLASSES, random_classifier, random_sequence
from random_models import random_model

import dnamamba
from dnamamba import model_directory
from dnamamba.classify.files import classify_files
from dnamamba.classify.options import ClassifyOptions
from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.pipelines import compression
from dnamamba.species.classifier import save_classifier


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / "model"
    save_classifier(random_classifier(lengths=(32, 64)).model, path)
    return path


@pytest.fixture
def files(tmp_path):
    """Three good files in three formats, and four bad ones."""
    records = [(f"r{i}", random_sequence(40 + 17 * i, i)) for i in range(9)]
    (tmp_path / "a.fa").write_bytes(b"".join(b">%s x\n%s\n" % (name.encode(), one) for name, one in records[:4]))
    fastq = b"".join(b"@%s\n%s\n+\n%s\n" % (name.encode(), one, b"I" * len(one)) for name, one in records[4:8])
    (tmp_path / "b.fq.gz").write_bytes(gzip.compress(fastq))
    (tmp_path / "c.fa").write_bytes(b">r8\n" + records[8][1][:60] + b"XX" + records[8][1][62:] + b"\n")
    (tmp_path / "empty.fa").write_bytes(b"")
    (tmp_path / "protein.fa").write_bytes(b">ok\n" + random_sequence(50) + b"\n>p\nMKTAYIAKQRQISFVKSHFSRQLEERLGL\n")
    (tmp_path / "cut.fq.gz").write_bytes(gzip.compress(fastq * 50, 1)[:-60])
    (tmp_path / "binary.fa").write_bytes(bytes(200))
    return tmp_path


def _run(*arguments, code=0):
    answer = CliRunner().invoke(cli, ["classify", *map(str, arguments)])
    if code == 0:
        assert answer.exception is None, answer.output
    return answer


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_table_is_that_of_python(directory, files):
    paths = [files / name for name in ("a.fa", "b.fq.gz", "c.fa")]
    answer = _run(directory, *paths, "--out", files / "out.tsv")
    table = pd.read_csv(files / "out.tsv", sep="\t", na_values=".")
    assert list(table.columns) == [
        "name", "length", "call", *(f"p_{name}" for name in CLASSES), "entropy", "bases", "ambiguous", "unknown",
        "nats_per_base", "unlike", "file",
    ]  # fmt: skip
    assert list(table["name"]) == [f"r{i}" for i in range(9)]
    assert list(table["file"]) == [str(paths[i // 4]) for i in range(9)]
    assert list(table["unknown"]) == [0] * 8 + [2]
    assert list(table["ambiguous"]) == [0] * 8 + [2]
    classifier = dnamamba.load_classifier(directory)
    python = pd.concat([classifier.classify(path) for path in paths], ignore_index=True)
    assert list(python.columns) == list(table.columns)[:-1]
    for column in python.columns:
        if python[column].dtype.kind == "f":
            np.testing.assert_allclose(table[column], python[column], rtol=1e-4, atol=1e-6)
        else:
            assert list(table[column]) == list(python[column]), column
    probabilities = python[[f"p_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert list(python["call"]) == [CLASSES[i] for i in probabilities.argmax(1)]
    assert "9 sequences, 972 bases" in answer.stderr
    assert "2 letters that are no nucleotide code were read as N" in answer.stderr
    assert ".writing" not in " ".join(_names(files))


def test_every_format_says_the_same(directory, files):
    path = files / "b.fq.gz"
    for name in ("out.tsv", "out.jsonl", "out.parquet"):
        _run(directory, path, "--out", files / name)
    tsv = pd.read_csv(files / "out.tsv", sep="\t")
    parquet = pd.read_parquet(files / "out.parquet")
    lines = pd.DataFrame([json.loads(line) for line in (files / "out.jsonl").read_text().splitlines()])
    pd.testing.assert_frame_equal(lines, parquet)
    pd.testing.assert_frame_equal(tsv, parquet, rtol=1e-4)
    assert _run(directory, path).stdout == (files / "out.tsv").read_text()
    assert _run(directory, path, "--format", "jsonl").stdout == (files / "out.jsonl").read_text()


def test_bad_files_do_not_lose_the_results_of_the_others(directory, files):
    names = ["empty.fa", "a.fa", "protein.fa", "cut.fq.gz", "b.fq.gz", "binary.fa", "none.fa", "c.fa"]
    answer = _run(directory, *(files / name for name in names), "--out", files / "out.tsv", code=1)
    bad = ("empty.fa", "protein.fa", "cut.fq.gz", "binary.fa", "none.fa")
    assert isinstance(answer.exception, InputError)
    assert "5 of 8 files could not be read to their end" in str(answer.exception)
    for name in bad:
        assert str(files / name) in str(answer.exception)
        assert sum(str(files / name) in line for line in answer.stderr.splitlines()) == 1
    table = pd.read_csv(files / "out.tsv", sep="\t")
    count = {name: int((table["file"] == str(files / name)).sum()) for name in names}
    assert {name: count[name] for name in ("a.fa", "b.fq.gz", "c.fa")} == {"a.fa": 4, "b.fq.gz": 4, "c.fa": 1}
    assert count["protein.fa"] == 1  # what stood before the protein
    assert count["empty.fa"] == count["binary.fa"] == count["none.fa"] == 0
    assert 0 < count["cut.fq.gz"] <= 200


def test_a_bad_file_alone_is_one_line_and_exit_code_1(directory, files):
    command = [sys.executable, "-m", "dnamamba", "classify", str(directory), str(files / "protein.fa")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert len(answer.stdout.splitlines()) == 2  # the header, and the sequence before the protein
    assert "Traceback" not in answer.stderr
    assert f"dnamamba: error: {files / 'protein.fa'}: contig 'p': base" in answer.stderr
    assert answer.stderr.count("protein.fa") == 1
    with pytest.raises(InputError, match=r"empty.fa: is empty"):
        classify_files(
            dnamamba.load_classifier(directory), [str(files / "empty.fa")], ClassifyOptions(), out=str(files / "o.tsv")
        )
    assert "o.tsv" not in _names(files)


@pytest.mark.parametrize("chunk", [700, 2**20], ids=["while it is streamed", "before"])
def test_a_long_sequence_that_breaks_does_not_end_the_run(chunk, directory, files, monkeypatch):
    monkeypatch.setattr(compression, "CHUNK", chunk)
    (files / "long.fa").write_bytes(b">l\n" + random_sequence(3000) + b"!\n>after\nACGT\n")
    answer = _run(directory, files / "long.fa", files / "a.fa", "--batch-bases", 500, code=1)
    assert "1 of 2 files could not be read to their end" in str(answer.exception)
    assert "contig 'l': base 3,001: found '!'" in answer.stderr
    assert [line.split("\t")[0] for line in answer.stdout.splitlines()] == ["name", "r0", "r1", "r2", "r3"]


def test_what_is_read_is_not_written(directory, files):
    path = files / "a.fa"
    before = path.read_bytes()
    answer = _run(directory, files / "b.fq.gz", path, "--format", "tsv", "--out", path, code=1)
    assert "is what is read" in str(answer.exception)
    assert path.read_bytes() == before


def test_a_file_given_twice_is_read_twice(directory, files):
    answer = _run(directory, files / "c.fa", files / "c.fa")
    assert len(answer.stdout.splitlines()) == 3


def test_windows_as_bed_and_bedgraph(directory, files):
    answer = _run(directory, files / "b.fq.gz", "--window", 64, "--bedgraph", files / "tracks")
    rows = [line.split("\t") for line in answer.stdout.splitlines()]
    lengths = {f"r{i}": 40 + 17 * i for i in range(4, 8)}
    assert [(name, int(start), int(end)) for name, start, end, _, _ in rows] == [
        (name, start, min(start + 64, n)) for name, n in lengths.items() for start in range(0, n, 64)
    ]
    judged = [row for row in rows if int(row[2]) - int(row[1]) >= 32]
    assert {row[3] for row in rows if row not in judged} == {"."}
    tracks = {}
    for name in CLASSES:
        header, *lines = (files / "tracks" / f"{name}.bedGraph").read_text().splitlines()
        assert header == f'track type=bedGraph name="{name}" viewLimits=0:1'
        assert [line.split("\t")[:3] for line in lines] == [row[:3] for row in judged]
        tracks[name] = [float(line.split("\t")[3]) for line in lines]
    for i, row in enumerate(judged):
        assert sum(tracks[name][i] for name in CLASSES) == pytest.approx(1, abs=1e-4)
        assert float(row[4]) == max(tracks[name][i] for name in CLASSES) == tracks[row[3]][i]
    table = _run(directory, files / "b.fq.gz", "--window", 64, "--format", "tsv").stdout.splitlines()
    assert table[0].startswith("name\tstart\tend\tlength\tcall")
    assert len(table) == len(rows) + 1


def test_a_sequence_without_bases_is_a_row_with_windows_too(directory, files):
    (files / "e.fa").write_bytes(b">e\n>x\n" + random_sequence(100) + b"\n>e2\n")
    for options, names in (((), ["e", "x", "e2"]), (("--window", 64, "--format", "tsv"), ["e", "x", "x", "e2"])):
        answer = _run(directory, files / "e.fa", *options)
        rows = [line.split("\t") for line in answer.stdout.splitlines()]
        assert [row[0] for row in rows[1:]] == names
        call = rows[0].index("call")
        assert [row[call] for row in (rows[1], rows[-1])] == [".", "."]
    bed = _run(directory, files / "e.fa", "--window", 64, "--bedgraph", files / "tracks").stdout
    assert [line.split("\t")[:3] for line in bed.splitlines()] == [["x", "0", "64"], ["x", "64", "100"]]


def test_anytime_calls_and_open_calls(directory, files):
    rows = [line.split("\t") for line in _run(directory, files / "c.fa", "--every", 50).stdout.splitlines()]
    at = {name: i for i, name in enumerate(rows[0])}
    assert [row[at["bases"]] for row in rows[1:]] == ["50", "100", "150", "176"]
    answer = _run(directory, files / "a.fa", "--min-confidence", 1)
    assert [line.split("\t")[2] for line in answer.stdout.splitlines()[1:]] == ["."] * 4
    assert "4 left open below a probability of 1" in answer.stderr
    answer = _run(directory, files / "a.fa", "--min-length", 60)
    assert [line.split("\t")[2] == "." for line in answer.stdout.splitlines()[1:]] == [True, True, False, False]
    assert "2 left open, shorter than the 60 bases that this classifier can judge (the first: r0, 40" in answer.stderr
    stopped = [line.split("\t") for line in _run(directory, files / "c.fa", "--stop-when", 0).stdout.splitlines()]
    assert stopped[1][at["bases"]] == "176"


def test_unknown_letters_can_be_refused(directory, files):
    answer = _run(directory, files / "c.fa", "--unknown", "error", code=1)
    assert "contig 'r8': base 61: found 'X'" in str(answer.exception)


def test_a_model_that_is_no_classifier_is_one_line(files, tmp_path):
    model_directory.save(random_model(), tmp_path / "lm")
    for model, message in ((tmp_path / "lm", "language model"), (tmp_path / "none", "no such model directory")):
        answer = _run(model, files / "a.fa", code=1)
        assert isinstance(answer.exception, InputError)
        assert message in str(answer.exception)
        assert "\n" not in str(answer.exception)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--bedgraph", "x"], "BED and bedGraph are of windows: say how long with --window"),
        (["--format", "bed"], "BED and bedGraph are of windows"),
        (["--every", "1k", "--strands", "both"], "strands: calls after every so many bases"),
        (["--window", "no"], "window: want a size"),
        (["--min-confidence", "2"], "min_confidence: want a probability"),
        (["--out", "x.csv"], "want a name that ends in one of"),
        (["--format", "parquet"], "Parquet cannot go to standard output"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, message, directory, files):
    answer = _run(directory, files / "a.fa", *options, code=1)
    assert isinstance(answer.exception, InputError)
    assert message in str(answer.exception)


def test_python_refuses_an_unknown_option(directory):
    with pytest.raises(InputError, match="windows: unknown key; is window meant"):
        dnamamba.load_classifier(directory).classify(["ACGT"], windows=7)


def test_real_reads_of_the_aligned_apes(directory, real_data):
    path = real_data / "nuclear" / "great_apes.noncoding_aligned.fa"
    answer = _run(directory, path, "--gaps", "drop")
    rows = [line.split("\t") for line in answer.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == [
        "Homo_sapiens",
        "Pan_troglodytes",
        "Pan_paniscus",
        "Gorilla_gorilla",
        "Pongo_abelii",
    ]
    assert sum(int(row[1]) for row in rows) == 60_499
