"""`genome split`: what it counts, draws, writes for pretraining, and what it refuses."""

import json

import matplotlib.image
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from memory_genomes import random_dna
from store_cases import write_fasta

from dnamamba.commands.genome import genome as command
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.manifest import load_manifest
from dnamamba.pipelines.splits import SplitConfig, plan_splits
from dnamamba.pipelines.store import open_store
from dnamamba.pretrain_config import read_config
from dnamamba.split_figure import COLOURS

CHROMOSOMES = {"chr1": 9000, "chr2": 8000, "chr4": 8000, "chr5": 7000, "chr17": 6000}


def _call(*arguments):
    result = CliRunner().invoke(command, ["split", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def _ingest(folder, store, assembly, contigs):
    fasta = write_fasta(folder / f"{assembly}.fa", contigs)
    options = ["ingest", str(fasta), "--store", str(store), "--assembly", assembly]
    done = CliRunner().invoke(command, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return store


def _random(lengths, seed=0):
    return {name: random_dna(length, seed + i) for i, (name, length) in enumerate(lengths.items())}


@pytest.fixture(scope="module")
def human(tmp_path_factory):
    folder = tmp_path_factory.mktemp("human")
    return _ingest(folder, folder / "human.zarr", "human", _random(CHROMOSOMES))


@pytest.fixture(scope="module")
def gorillas(tmp_path_factory):
    """A store of two assemblies; one has the gorilla's translocation in its names."""
    folder = tmp_path_factory.mktemp("apes")
    plain = _ingest(folder, folder / "apes.zarr", "chimp", _random({"1": 9000, "4": 8000, "5": 7000}, 20))
    lengths = {"chr1_pat_hsa1": 9000, "chr4_pat_hsa17x5": 8000, "chr3_pat_hsa4": 8000}
    return _ingest(folder, plain, "gorilla", _random(lengths, 40))


def _document(*arguments):
    return json.loads(_call(*arguments, "--json").stdout)


def test_bases_of_every_part_by_hand(human):
    rows = _document(human, "--valid", "chr5", "--test", "chr17")["assemblies"]["human"]
    assert rows["train"] == {"bases": 25_000, "contigs": 3, "share": 25 / 38}
    assert rows["valid"] == {"bases": 7000, "contigs": 1, "share": 7 / 38}
    assert rows["test"] == {"bases": 6000, "contigs": 1, "share": 6 / 38}
    assert rows["unused"] == {"bases": 0, "contigs": 0, "share": 0}


def test_the_table_says_the_same(human):
    lines = _call(human, "--valid", "chr5", "--test", "chr17").stdout.splitlines()
    assert lines[0].split() == ["assembly", "part", "bases", "share", "contigs"]
    assert [line.split() for line in lines[1:]] == [
        ["human", "train", "25,000", "65.8%", "3"],
        ["human", "valid", "7,000", "18.4%", "1"],
        ["human", "test", "6,000", "15.8%", "1"],
        ["human", "unused", "0", "0.0%", "0"],
    ]


def test_what_no_part_takes_is_unused(human, tmp_path):
    (tmp_path / "s.bed").write_text("chr1\t0\t4000\ttrain\n1\t5000\t6000\tvalid\n")  # "1" is an alias
    rows = _document(human, "--bed", tmp_path / "s.bed")["assemblies"]["human"]
    assert [rows[part]["bases"] for part in rows] == [4000, 1000, 0, 33_000]
    assert [rows[part]["contigs"] for part in rows] == [1, 1, 0, 4]


def test_several_stores_with_several_assemblies(human, gorillas):
    rows = _document(human, gorillas, "--valid", "1", "--test", "chr4")["assemblies"]
    assert list(rows) == ["human", "chimp", "gorilla"]
    assert [row["valid"]["bases"] for row in rows.values()] == [9000, 9000, 9000]
    assert [row["test"]["bases"] for row in rows.values()] == [8000, 8000, 8000]


def test_one_name_in_two_stores_is_refused(human):
    with pytest.raises(InputError, match="assembly 'human' is there twice"):
        _call(human, human)


def test_a_homologous_leak_is_refused_by_names(human, gorillas):
    with pytest.raises(InputError, match=r"the same sequence in both; put chr17\+chr5 into one part"):
        _call(human, gorillas, "--valid", "chr1", "--test", "chr5")
    assert _document(human, gorillas, "--valid", "chr1", "--test", "chr5", "--test", "chr17")


def test_genomes_under_a_manifests_name_need_no_homologs(tmp_path, monkeypatch):
    """Chromosome 2 of this ape is human 3, which only its manifest says."""
    contigs = [
        {"name": "chr1", "length": 3000, "kind": "autosome", "homolog": "hsa1"},
        {"name": "chr2", "length": 2900, "kind": "autosome", "homolog": "hsa3", "aliases": ["CM1.1"]},
    ]
    manifest = {
        "name": "toyApe1", "species": "Pan ludens", "common_name": "toy ape", "title": "toy", "accession": "GCA_1.1",
        "sex": "female", "licence": "unknown", "bases": "unknown", "contigs": contigs,
        "files": [{"format": "2bit", "urls": ["https://localhost/x"], "size": "unknown", "md5": "unknown",
                   "md5sums": "unknown"}],
    }  # fmt: skip
    (tmp_path / "toyApe1.yaml").write_text(yaml.safe_dump(manifest))
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path))
    store = _ingest(tmp_path, tmp_path / "s", "person", _random({"chr1": 3000, "chr2": 3000, "chr3": 3000}))
    _ingest(tmp_path, store, "toyApe1", _random({"chr1": 3000, "CM1.1": 2900}, 9))
    rows = _document(store, "--valid", "chr1", "--test", "chr3")["assemblies"]
    assert rows["toyApe1"]["test"] == {"bases": 2900, "contigs": 1, "share": 29 / 59}
    with pytest.raises(InputError, match=r"its homolog \(chr3\), is .*: the same sequence in both"):
        _call(store, "--valid", "chr1", "--test", "toyApe1:CM1.1")


@pytest.fixture
def leaking(tmp_path):
    """A copy of a trained contig under a name that says nothing, on the other strand."""
    contigs = _random({"a": 60_000, "c": 30_000})
    copy = contigs["a"][10_000:40_000]
    contigs["b"] = DNA.decode(DNA.reverse_complement(DNA.encode(copy)))
    contigs["d"] = np.concatenate([copy[:3_000], random_dna(27_000, 77)])
    return _ingest(tmp_path, tmp_path / "leaks.zarr", "x", contigs)


def test_a_leak_under_another_name_is_seen_in_the_sequence(leaking):
    by_name = ("--valid", "c", "--test", "b")
    assert _call(leaking, *by_name).exit_code == 0  # names alone cannot tell
    runner = CliRunner().invoke(command, ["split", str(leaking), *by_name, "--check-leaks"])
    assert isinstance(runner.exception, InputError)
    assert "1 held-out regions share more than 20% of their 31-mers with the training part, x:b 100%" in str(
        runner.exception
    )
    table = runner.stdout.split("training part has too:\n")[1].splitlines()
    assert [line.split()[::5] for line in table[1:]] == [["test", "100.0%"], ["valid", "0.0%"]]
    assert table[1].split()[1:4] == ["x", "b", "1-30,000"]


def test_the_threshold_is_the_users(leaking):
    by_name = (leaking, "--test", "d", "--check-leaks")
    (row,) = _document(*by_name)["leaks"]
    assert (row["part"], row["contig"], row["start"], row["end"]) == ("test", "d", 0, 30_000)
    assert row["shared"] == pytest.approx(0.1, abs=0.04)
    with pytest.raises(InputError, match="share more than 5% of their 31-mers"):
        _call(*by_name, "--most-shared", "0.05")


def test_every_leak_is_printed_as_json_before_the_error(leaking):
    runner = CliRunner().invoke(command, ["split", str(leaking), "--test", "b", "--check-leaks", "--json"])
    assert isinstance(runner.exception, InputError)
    assert json.loads(runner.stdout)["leaks"][0]["shared"] == 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--valid-fraction", "0.2", "--test-fraction", "0.25", "--margin", "100"),
        ("--valid", "chr1", "--test", "chr5", "--test", "chr17"),
        ("--preset", "hyenadna"),
    ],
)
def test_the_yaml_written_is_what_pretraining_reads(human, gorillas, tmp_path, options):
    out = tmp_path / "split.yaml"
    planned = _document(human, gorillas, *options, "--out", out)
    config = read_config(str(out), (), (str(human), str(gorillas))).split_in_force
    assemblies = [open_store(human)["human"], *(open_store(gorillas)[name] for name in ("chimp", "gorilla"))]
    splits = plan_splits(assemblies, config)
    for name, parts in planned["assemblies"].items():
        for part in splits.parts:
            assert splits.bases(part, name) == parts[part]["bases"]
    assert _document(human, gorillas, "--config", out)["assemblies"] == planned["assemblies"]


def test_the_bed_files_written_are_the_split(human, gorillas, tmp_path):
    planned = _document(human, gorillas, "--margin", "500", "--out", tmp_path / "split.bed")
    assert not (tmp_path / "split.bed").exists()
    beds = [f"{name}={tmp_path}/split.{name}.bed" for name in ("human", "chimp", "gorilla")]
    again = _document(human, gorillas, *(word for bed in beds for word in ("--bed", bed)))
    assert again["assemblies"] == planned["assemblies"]
    _call(human, "--out", tmp_path / "one.bed", "--valid", "chr5", "--test", "chr2")
    lines = sorted((tmp_path / "one.bed").read_text().splitlines())
    assert "chr2\t0\t8000\ttest" in lines
    assert "chr5\t0\t7000\tvalid" in lines
    assert len(lines) == 5


def test_a_config_s_homologs_are_kept(human, tmp_path):
    (tmp_path / "c.yaml").write_text("split: {homologs: {human: {chr1: hsa9}}}\n")
    planned = _document(human, "--config", tmp_path / "c.yaml", "--valid", "chr9", "--out", tmp_path / "o.yaml")
    assert planned["assemblies"]["human"]["valid"]["bases"] == 9000
    assert yaml.safe_load((tmp_path / "o.yaml").read_text()) == {
        "split": {"method": "contig", "valid": ["chr9"], "homologs": {"human": {"chr1": "hsa9"}}}
    }


def test_a_preset_takes_the_homologs_of_a_config_and_nothing_else(human, tmp_path):
    text = "split: {method: contig, valid: [chr4], test: [chr2], homologs: {human: {chr2: hsa7}}}\n"
    (tmp_path / "c.yaml").write_text(text)
    document = _document(human, "--preset", "hyenadna", "--config", tmp_path / "c.yaml")
    assert (document["split"]["valid"], document["split"]["test"]) == (["chr1"], ["chr5", "chr7"])
    assert document["assemblies"]["human"]["test"]["bases"] == 7000 + 8000


def test_hyenadna_without_gorilla_is_as_published(human):
    document = _document(human, "--preset", "hyenadna")
    assert document["moved"] == []
    assert document["split"] == {"method": "contig", "valid": ["chr1"], "test": ["chr5"]}


def test_hyenadna_with_gorilla_moves_17_with_5(human, gorillas):
    document = _document(human, gorillas, "--preset", "hyenadna")
    assert document["split"] == {"method": "contig", "valid": ["chr1"], "test": ["chr5", "chr17"]}
    assert document["moved"] == [
        "hyenadna: chr17 from train to test with chr5, since gorilla:chr4_pat_hsa17x5 holds both"
    ]
    assert _call(human, gorillas, "--preset", "hyenadna").stdout.startswith(document["moved"][0])


class FromManifest:
    """An assembly of a manifest's names and lengths."""

    def __init__(self, name):
        self.name, self.attributes, self.fingerprint = name, {}, name
        self.sizes = {contig.name: contig.length for contig in load_manifest(name).contigs}


def test_hyenadna_of_the_real_chromosomes():
    from dnamamba.pipelines.split_presets import preset_split

    human = {f"chr{n}" for n in (*range(1, 23), "X", "Y", "M")}
    config, moved = preset_split("hyenadna", [FromManifest("hg38"), FromManifest("panTro6")], SplitConfig())
    assert moved == []
    train = human - {*config.valid, *config.test}
    assert train == {f"chr{n}" for n in (2, 4, 6, 8, *range(14, 23), "X", "Y", "M")}
    assert config.valid == ("chr1", "chr3", "chr12", "chr13")
    for gorilla in ("gorGor6", "mGorGor1"):
        config, moved = preset_split("hyenadna", [FromManifest("hg38"), FromManifest(gorilla)], SplitConfig())
        assert config.test == ("chr5", "chr7", "chr9", "chr10", "chr11", "chr17")
        assert len(moved) == 1


def test_the_picture_has_every_part_in_its_colour(human, gorillas, tmp_path):
    odd = _ingest(tmp_path, tmp_path / "odd.zarr", "odd", _random({"$x_{$": 9000, "$": 8192}))  # no mathematics
    done = _call(human, gorillas, odd, "--margin", "600", "--figure", tmp_path / "new" / "split.png")
    assert "split.png" in done.stderr
    picture = (matplotlib.image.imread(tmp_path / "new" / "split.png")[:, :, :3] * 255).round().astype(int)
    seen = {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0)}
    assert {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS.values()} <= seen


def test_a_family_of_test_and_validation_goes_to_test():
    from dnamamba.pipelines.split_presets import preset_split

    homologs = {"hg38": {"chr22": "chr1+chr5"}}
    config, moved = preset_split("hyenadna", [FromManifest("hg38")], SplitConfig(homologs=homologs))
    assert config.valid == ("chr3", "chr12", "chr13")
    assert config.test[:2] == ("chr1", "chr5")
    assert moved == ["hyenadna: chr1 from valid to test with chr5, since hg38:chr22 holds both"]


@pytest.mark.parametrize(
    "options, message",
    [
        (("--valid", "chr5", "--bed", "x.bed"), "--bed: belongs to method bed, and the method is contig"),
        (("--method", "fraction", "--test", "chr5"), "--test: belongs to method contig, and the method is fraction"),
        (("--method", "bed"), "method bed wants a file"),
        (("--preset", "hyenadna", "--valid", "chr5"), "--valid: a preset brings its own"),
        (("--preset", "basenji"), "preset 'basenji': there are hyenadna"),
        (("--config", "none.yaml"), "none.yaml: no such file"),
        (("--margin", "x"), "split.margin: want a size"),
        (("--out", "split.txt"), "--out split.txt: want a name that ends in .yaml or .bed"),
        (("--out", "no/such/folder/split.yaml"), "cannot be written: No such file"),
        (("--valid", "chr99"), "split.valid: 'chr99' matches no contig"),
    ],
)
def test_bad_options_name_what_came(human, options, message):
    with pytest.raises(InputError, match=message):
        _call(human, *options)


def test_a_preset_of_other_genomes(tmp_path):
    store = _ingest(tmp_path, tmp_path / "s", "x", _random({"contig_1": 3000, "contig_2": 3000}))
    with pytest.raises(InputError, match="no contig is known as human chr1, chr3, chr12, chr13"):
        _call(store, "--preset", "hyenadna")
