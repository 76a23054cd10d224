"""Contigs by all their names: --include and --exclude, aliases and homologs from the manifest into the store."""

import json
import re
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from store_cases import random_bases, write_fasta
from twobit_writer import twobit_bytes

from dnamamba.commands.genome import genome as command
from dnamamba.errors import InputError, InputWarning
from dnamamba.pipelines.contig_names import homologs_of, match_contigs, named
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.ingest_source import NameFilter
from dnamamba.pipelines.manifest import load_manifest
from dnamamba.pipelines.regions import Region, parse_region
from dnamamba.pipelines.store import open_store

PET = """\
name: pet
species: Pan troglodytes
common_name: chimpanzee
title: Pet 1
accession: none
sex: male
licence: unknown
files:
  - {format: fasta, urls: ["https://host/pet.fa"], size: unknown, md5: unknown, md5sums: unknown}
contigs:
  - {name: chr2_hap1_hsa3, length: 2000, kind: autosome, homolog: hsa3, aliases: [chr2, "2", CM2.1, NC_2.1]}
  - {name: chr4_hap1_hsa17x5, length: 3000, kind: autosome, homolog: hsa17x5, aliases: [chr4, "4", CM4.1]}
  - {name: odd, length: 500, kind: alt, aliases: [strange]}
  - {name: "MT", length: 100, kind: mitochondrion, aliases: [chrM, "M", chrMT]}
"""
SIZES = {"CM2.1": 2000, "CM4.1": 3000, "odd": 500, "MT": 100, "more": 50}


@pytest.fixture(autouse=True)
def _manifests(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path / "manifests"))
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "pet.yaml").write_text(PET)


def _bases(sizes):
    return {name: random_bases(length, i) for i, (name, length) in enumerate(sizes.items())}


def _fasta(tmp_path, sizes=SIZES, name="pet.fa"):
    return write_fasta(tmp_path / name, _bases(sizes))


def _twobit(tmp_path, sizes=SIZES, name="pet.2bit"):
    path = tmp_path / name
    path.write_bytes(twobit_bytes((contig, b"ACGT" * (length // 4)) for contig, length in sizes.items()))
    return path


def _left(names, include=(), exclude=(), manifest=None):
    contigs = [SimpleNamespace(name=name, description="", length=None) for name in names]
    return " ".join(contig.name for contig in NameFilter(include, exclude, "f.fa", manifest)(contigs))


ALL = [
    *("chr1", "chr2", "chrX", "chrY", "chrM"),
    *("chr1_KI270706v1_random", "chrUn_GL000220v1", "chr6_GL000250v2_alt", "primary", "toy"),
]


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        (["@primary"], [], "chr1 chr2 chrX chrY chrM"),
        (["primary"], [], "chr1 chr2 chrX chrY chrM primary"),  # the class, and the contig that is called so
        (["[p]rimary"], [], "primary"),
        (["@autosome"], [], "chr1 chr2"),
        (["sex"], [], "chrX chrY"),
        (["@mitochondrion"], [], "chrM"),
        (["@unplaced"], [], "chr1_KI270706v1_random chrUn_GL000220v1"),
        (["@alt", "toy"], [], "chr6_GL000250v2_alt toy"),
        (["@primary"], ["@mitochondrion", "chrY"], "chr1 chr2 chrX"),
        ([], ["@unplaced", "@alt", "primary"], "toy"),
        (["chr?"], ["@sex"], "chr1 chr2 chrM"),
        (["1", "X"], [], "chr1 chrX"),
        (["[1]", "chrX"], [], "chrX"),  # a pattern is held against the name itself
        (["CHR1", "chr2"], [], "chr2"),  # case counts
        (["MT", "toy"], [], "toy"),  # chrM and MT may be two sequences
    ],
)
def test_include_and_exclude(include, exclude, left):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        assert _left(ALL, include, exclude) == left


@pytest.mark.parametrize(
    ("include", "left"),
    [
        (["2"], "CM2.1"),
        (["chr2_hap1_hsa3", "chrM"], "CM2.1 MT"),
        (["chr?_*"], "CM2.1 CM4.1"),  # patterns know the manifest's first name
        (["*M"], ""),  # and no other alias
        (["@alt"], "odd"),  # the manifest's word counts where the name says nothing
        (["@primary"], "CM2.1 CM4.1 MT"),
    ],
)
def test_the_manifest_tells_names_and_kinds(include, left):
    if left:
        assert _left(SIZES, include, manifest=load_manifest("pet")) == left
    else:
        with pytest.raises(InputError, match="no contig is left"):
            _left(SIZES, include, manifest=load_manifest("pet"))


def test_nothing_left_shows_both_sides_the_nearest_first():
    many = [f"scaffold_{i}" for i in range(40)] + ["chr10", "chr11"]
    with pytest.raises(InputError) as error:
        _left(many, ["chr12", "q*"], ["x"])
    assert re.fullmatch(
        r"f.fa: no contig is left by --include chr12 --include q\* --exclude x; its names are chr1[01], chr1[01], "
        r"scaffold_0, .* \.\.",
        str(error.value),
    )
    with pytest.raises(
        InputError, match=r"--include @alt; its names are chr1 \(autosome\), toy \(of no known class\)$"
    ):
        _left(["chr1", "toy"], ["@alt"])
    with pytest.raises(InputError, match="--exclude @primry: no such class; want @primary, @autosome, @sex"):
        NameFilter([], ["@primry"], "f.fa")


def test_a_contig_that_is_called_like_a_class_word():
    assert _left(["@sex", "chrX"], ["@sex"]) == "chrX"
    assert _left(["@sex", "chrX"], ["[@]sex"]) == "@sex"


def test_an_include_that_fits_nothing_is_told():
    with pytest.warns(InputWarning, match=r"f.fa: no contig fits --include chr7, zz\*"):
        assert _left(ALL, ["chr1", "zz*", "chr7"]) == "chr1"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _left(ALL, ["chr1"], ["chr9"]) == "chr1"


@pytest.mark.parametrize("write", [_fasta, _twobit])
def test_every_name_reads_the_same_bases(tmp_path, write):
    pet = ingest(write(tmp_path), tmp_path / "s")
    assert list(pet.sizes) == list(SIZES)
    whole = pet["CM2.1"]
    for name in ("chr2_hap1_hsa3", "chr2", "2", "NC_2.1"):
        assert pet.resolve(name) == "CM2.1"
        np.testing.assert_array_equal(pet[name, 100:200], whole[100:200])
        np.testing.assert_array_equal(np.concatenate(list(pet.blocks(name, 300))), whole)
        assert len(pet.n_count(name)) == len(pet.checksums(name)) == 2
    assert [pet.resolve(name) for name in ("chrM", "M", "chrMT", "strange", "4")] == ["MT", "MT", "MT", "odd", "CM4.1"]
    assert pet.homologs == homologs_of(pet) == {"CM2.1": "hsa3", "CM4.1": "hsa17x5"}
    assert pet.attributes["manifest"] == "pet"
    assert parse_region("chr2:1,001-1,500", pet.sizes, pet.aliases) == Region("CM2.1", 1000, 1500)
    assert parse_region("strange", pet.sizes, pet.aliases) == Region("odd", 0, 500)
    with pytest.raises(InputError, match=r"no contig 'chr2_hap1_hsa4'; is 'chr2_hap1_hsa3' meant\?"):
        pet.resolve("chr2_hap1_hsa4")
    with pytest.raises(InputError, match=r"region 'stranger': want contig:start-end.*is 'strange' meant"):
        parse_region("stranger", pet.sizes, pet.aliases)


def test_regions_know_names_with_and_without_chr():
    assert parse_region("1:5-9", {"chr1": 10}) == parse_region("chr1:5-9", {"chr1": 10}) == Region("chr1", 4, 9)
    assert parse_region("{1}:5-9", {"chr1": 10}) == Region("chr1", 4, 9)
    with pytest.raises(InputError, match="want contig:start-end"):
        parse_region("MT:1-2", {"chrM": 10})
    with pytest.raises(InputError, match="is a contig and also a region of contig 'a'"):
        parse_region("a:1-2", {"chr1": 10, "a:1-2": 5}, {"a": "chr1"})


def test_names_of_a_real_assembly_under_its_accessions():
    """GenArk calls the contigs by their GenBank accessions, GenomeArk by name and homolog, RefSeq again otherwise."""
    manifest = load_manifest("mGorGor1")
    sizes = {next((a for a in c.aliases if a.startswith("CM")), c.name): c.length for c in manifest.contigs}
    found = named({"aliases": {}, "simulated": False}, "mGorGor1", sizes, "x")
    assert len(found["aliases"]) == 25 * 4 + 3
    assert [found["aliases"][n] for n in ("chr4", "4", "chr4_pat_hsa17x5", "NC_073227.2")] == ["CM055450.2"] * 3 + [
        "CM055449.2"
    ]
    assert found["homologs"]["CM055450.2"] == "hsa17x5"
    hg38 = load_manifest("hg38")
    for number, alias in enumerate(("CM000663.2", "NC_000001.11", "1")):
        sizes = {(c.name if number == 2 else c.aliases[number + 1]): c.length for c in hg38.contigs if c.name != "chrM"}
        assert match_contigs(hg38, {alias: 248_956_422})[alias].name == "chr1"
        assert len(match_contigs(hg38, sizes)) == 24


def test_part_of_an_assembly_has_the_names_of_that_part(tmp_path):
    pet = ingest(_fasta(tmp_path), tmp_path / "s", include=["chr4", "@mitochondrion"])
    assert list(pet.sizes) == ["CM4.1", "MT"]
    assert pet.aliases == {
        "chr4_hap1_hsa17x5": "CM4.1", "chr4": "CM4.1", "4": "CM4.1", "chrM": "MT", "M": "MT", "chrMT": "MT",
    }  # fmt: skip


@pytest.mark.parametrize("write", [_fasta, _twobit])
def test_another_length_is_an_error_where_a_manifest_was_asked_for(tmp_path, write):
    source = write(tmp_path, SIZES | {"CM4.1": 2996})
    with pytest.raises(InputError, match=r"pet\.\w+: contig 'CM4.1' has 2,996 bases, and 3,000 in the manifest 'pet'"):
        ingest(source, tmp_path / "s", assembly="other", manifest=load_manifest("pet"))
    assert not (tmp_path / "s").exists()


def test_a_2bit_of_another_length_is_refused_before_it_is_read(tmp_path):
    read = []
    with pytest.raises(InputError, match="this is another assembly"):
        ingest(
            _twobit(tmp_path, {"CM2.1": 2000, "CM4.1": 400}),
            tmp_path / "s",
            manifest=load_manifest("pet"),
            progress=lambda name, done, total: read.append(name),
        )
    assert read == []


def test_another_length_is_a_warning_where_only_the_name_is_the_same(tmp_path):
    source = _fasta(tmp_path, {"chr2": 77, "chr9": 10})
    with pytest.warns(InputWarning, match=r"contig 'chr2' has 77 bases, and 2,000 in the manifest 'pet'.*not put into"):
        pet = ingest(source, tmp_path / "s")
    assert (pet.aliases, pet.homologs, pet.attributes["manifest"], homologs_of(pet)) == ({}, {}, None, {})
    with pytest.warns(
        InputWarning, match=r"no contig is one of the manifest 'pet': here are a; there, chr2_hap1_hsa3, "
    ):
        ingest(_fasta(tmp_path, {"a": 9}), tmp_path / "s", overwrite=True)


def test_simulated_genomes_have_no_manifest(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pet = ingest(_fasta(tmp_path, {"chr2": 2000}), tmp_path / "s", simulated=True)
    assert (pet.aliases, pet.attributes["manifest"], homologs_of(pet)) == ({}, None, {})


def test_two_contigs_that_are_one_in_the_manifest():
    with pytest.raises(InputError, match=r"contigs '2' and 'NC_2.1' are one in the manifest 'pet'"):
        match_contigs(load_manifest("pet"), {"2": 2000, "NC_2.1": 2000})


def test_a_name_goes_before_an_alias_and_a_given_alias_before_the_manifest(tmp_path):
    contigs = [(name, "", bases) for name, bases in _bases({"CM2.1": 2000, "2": 30, "CM4.1": 3000}).items()]
    with pytest.warns(InputWarning, match="contig '2' has 30 bases"):
        ingest_arrays(contigs, tmp_path / "s", assembly="pet")
    contigs = [(name, "", bases) for name, bases in _bases({"CM2.1": 2000, "CM4.1": 3000, "x": 5}).items()]
    pet = ingest_arrays(contigs, tmp_path / "t", assembly="pet", aliases={"4": "CM2.1", "2": "x", "y": "nowhere"})
    assert [pet.resolve(name) for name in ("4", "chr4", "2", "x")] == ["CM2.1", "CM4.1", "x", "x"]
    assert "y" not in pet.aliases


def test_homologs_of_a_store_that_keeps_none(tmp_path):
    old = SimpleNamespace(name="pet", attributes={"simulated": False}, sizes={"chr2": 2000, "chr9": 1})
    assert homologs_of(old) == {"chr2": "hsa3"}
    assert homologs_of(SimpleNamespace(name="pet", attributes={"simulated": False}, sizes={"chr2": 1})) == {}
    assert homologs_of(SimpleNamespace(name="unheard", attributes={}, sizes={"chr2": 2000})) == {}


@pytest.mark.parametrize("homologs", [{"nowhere": "hsa3"}, {"CM2.1": 3}, {"CM2.1": ""}, ["hsa3"]])
def test_damaged_homologs_are_refused(tmp_path, homologs):
    ingest(_fasta(tmp_path), tmp_path / "s")
    path = tmp_path / "s" / "pet" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["homologs"] = homologs
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="the homologs name contigs that are not there"):
        open_store(tmp_path / "s")["pet"]


def test_the_command_takes_classes_and_tables_and_warns_in_one_line(tmp_path):
    (tmp_path / "alias.txt").write_text("# a\tb\nchr2\tzwei\n")
    source = _fasta(tmp_path, {"chr2": 77, "chrUn_1": 5})
    arguments = ["ingest", source, "--store", tmp_path / "s", "--include", "@primary", "--aliases"]
    done = subprocess.run(
        [sys.executable, "-m", "dnamamba", "genome", *map(str, arguments), str(tmp_path / "alias.txt")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    warning, last = done.stderr.splitlines()[-2:]
    assert warning.startswith(
        f"dnamamba: warning: {source}: contig 'chr2' has 77 bases, and 2,000 in the manifest 'pet'"
    )
    assert last.endswith("assembly pet, 1 contigs, 77 bases")
    assert len(open_store(tmp_path / "s")["pet"]["zwei"]) == 77
    assert "@primary" in CliRunner().invoke(command, ["ingest", "--help"]).stdout
