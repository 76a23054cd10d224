"""Manifests: ours against goldens of their sources, the schema's complaints, and the user's files beside ours."""

import hashlib
import json
import re
from dataclasses import asdict

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamamba.commands.genome import genome as command
from dnamamba.errors import InputError
from dnamamba.pipelines.contig_kinds import contig_kind
from dnamamba.pipelines.manifest import KINDS, find_manifest, load_manifest, manifest_folders, manifest_names

# Of tables compiled from Bioconductor's GenomeInfoDb, stdpopsim, UCSC's kent (initialBuild.txt) and marbl/T2T-Browser:
# contigs, their bases, and the SHA-256 (32 digits) of the sorted lines "name length".
LENGTHS = {
    "hg38": (25, 3_088_286_401, "59b39447b7f8b31503a9017e1b5b9f96"),
    "hs1": (25, 3_117_292_070, "9744be8414919b6483dd063bd8a5b443"),
    "panTro6": (26, 2_832_631_814, "cdc983a2e45f2786973a963daad22056"),
    "gorGor6": (25, 2_757_172_151, "0d05dbde6ab7e6f2cb6345aa1324e5b1"),
    "ponAbe3": (25, 2_822_960_063, "a41a89cdd27a608f4a9d121a9f8eb7b7"),
    "panPan3": (2, 224_638_521, "2e653f164f85c0b0e92b2f18d090bcb2"),
    "mPanTro3": (26, 3_177_756_322, "c7f0c5b30df47f06b9e3cc91c02eac03"),
    "mPanPan1": (31, 3_244_905_277, "d2fb9c230919986453780c9ae0ae3ca9"),
    "mGorGor1": (26, 3_545_850_631, "4aa078802929b4b529ff353c3fbe9682"),
    "mPonAbe1": (30, 3_259_870_026, "6737d5a0f67304896ce340fd270570c8"),
    "mPonPyg2": (26, 3_220_951_624, "68a9c74435908123d39405e5adbdc3da"),
}
# Of the same tables: accessions of nuclear contigs ("name accession") and homologs ("name homolog"). Those of hg38 are
# from a copy of NCBI's table of lengths and accessions of GRCh38. The accessions that the tables give the mitochondria
# of the T2T apes are left out: they name sequences of other lengths (NC_001644.1 has 16,563, MT of mPanPan1 16,569).
ACCESSIONS = {
    "hg38": (50, "ca6a141f8c4d4fd2fa07f10692855299"),
    "hs1": (49, "cf3445564b71eb38392b6f618c8e2364"),
    "mPanTro3": (50, "646ee256553cb1289ca2ce33fbd77bef"),
    "mPanPan1": (60, "3e421518711cb679b150c9664c8e9b26"),
    "mGorGor1": (50, "2769004acf514f9c8df2b3db7dccc955"),
    "mPonAbe1": (58, "07f48c7d1444921d17c04c9dcccf3d6b"),
    "mPonPyg2": (50, "d6a58c154380c3acabb446dd89654bf5"),
}
HOMOLOGS = {
    "hg38": (24, "39f4afe35f246d9b842516431b25e9c5"),
    "hs1": (24, "39f4afe35f246d9b842516431b25e9c5"),
    "panTro6": (25, "b5699cbdf30b1419418e32cf90368a8d"),
    "gorGor6": (24, "7a6d8ab24ea3378a2e5eaa8b303dc94e"),
    "ponAbe3": (24, "1acc6edb26a6616815cb2a20221c690c"),
    "panPan3": (1, "27e38dd4f31415c2ee09d64e02356d85"),
    "mPanTro3": (25, "da64f9ec122f78b516cfa6996f6c5133"),
    "mPanPan1": (25, "a943471ad01e2c09ea0b897bbf5b0d52"),
    "mGorGor1": (25, "a23efd433230783ee2d744af715eff0d"),
    "mPonAbe1": (29, "a0b04dd2e62eb727d08417b530ff1bb9"),
    "mPonPyg2": (25, "06ec9bfaac774fc12f113c8233c2001d"),
}
# Accession, sex, bases of the whole assembly (None: not stated), length of the mitochondrion.
FACTS = {
    "hg38": ("GCA_000001405.15", "mixed", None, 16_569),
    "hs1": ("GCA_009914755.4", "XX + HG002 Y", 3_117_292_070, 16_569),
    "panTro6": ("GCA_002880755.3", "male", 3_050_398_082, 16_554),
    "panPan3": ("GCA_013052645.1", "female", 3_051_901_337, 16_563),
    "gorGor6": ("GCA_008122165.1", "female", 3_044_872_214, 16_412),
    "ponAbe3": ("GCA_002880775.3", "female", 3_065_052_215, 16_499),
    "mPanTro3": ("GCA_028858775.2", "male", 3_177_756_322, 16_560),
    "mPanPan1": ("GCA_029289425.2", "male", 3_244_905_277, 16_569),
    "mGorGor1": ("GCA_029281585.2", "male", 3_545_850_631, 16_407),
    "mPonAbe1": ("GCA_028885655.2", "male", 3_259_870_026, 16_496),
    "mPonPyg2": ("GCA_028885625.2", "male", 3_220_951_624, 16_461),
}
# The only sizes and checksums that anybody has stated.
STATED = {
    "hg38.2bit": (835_393_456, "dcc3ea27079aa6dc3f9deccd7275e0f8"),
    "hg38.fa.gz": (983_659_424, "1c9dcaddfa41027f17cd8f7a82c7293b"),
    "hs1.2bit": (812_327_608, None),
    "hs1.fa.gz": (None, "a493d5402cc86ecc3f54f6346d980036"),
}
TOY = """\
name: toy
species: Homo sapiens
common_name: human
title: Toy 1
accession: none
sex: female
licence: unknown
files:
  - {format: fasta, urls: ["https://host/toy.fa"], size: unknown, md5: unknown, md5sums: unknown}
contigs:
  - {name: chr1, length: 10, kind: autosome, homolog: hsa1, aliases: ["1", CM1.1]}
  - {name: chrM, length: 5, kind: mitochondrion}
"""


def _digest(lines):
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]


@pytest.fixture(autouse=True)
def _no_manifests_of_this_user(monkeypatch, tmp_path):
    monkeypatch.delenv("DNAMAMBA_MANIFESTS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_eleven_genomes_are_there():
    assert manifest_names() == sorted(LENGTHS)


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_accessions_and_homologs_are_those_of_the_sources(name):
    contigs = load_manifest(name).contigs
    lengths = [f"{contig.name} {contig.length}" for contig in contigs]
    assert (len(contigs), sum(contig.length for contig in contigs), _digest(lengths)) == LENGTHS[name]
    homologs = [f"{contig.name} {contig.homolog}" for contig in contigs if contig.homolog]
    assert (len(homologs), _digest(homologs)) == HOMOLOGS[name]
    accessions = [f"{c.name} {alias}" for c in contigs for alias in c.aliases if re.search(r"\.\d+$", alias)]
    assert (len(accessions), _digest(accessions)) == ACCESSIONS.get(name, (0, _digest([])))


@pytest.mark.parametrize("name", LENGTHS)
def test_facts_are_those_stated(name):
    manifest = load_manifest(name)
    mitochondrion = [contig.length for contig in manifest.contigs if contig.kind == "mitochondrion"]
    assert (manifest.accession, manifest.sex, manifest.bases, *mitochondrion) == FACTS[name]
    if name.startswith("m") or name == "hs1":  # gapless assemblies, of which every contig is listed
        assert manifest.bases == sum(contig.length for contig in manifest.contigs)


@pytest.mark.parametrize("name", LENGTHS)
def test_files_are_2bit_first_and_claim_no_more_than_was_stated(name):
    manifest = load_manifest(name)
    formats = [file.format for file in manifest.files]
    assert formats == sorted(formats)  # 2bit before fasta
    assert "fasta" in formats
    for file in manifest.files:
        last = {url.rpartition("/")[2] for url in file.urls}
        assert len(last) == 1, "mirrors serve one file"
        assert (file.size, file.md5) == STATED.get(last.pop(), (None, None))
        assert all(url.startswith("https://") for url in file.urls)
    assert manifest.files[0].urls[0].startswith("https://hgdownload.soe.ucsc.edu/")
    if not name.startswith("m"):
        assert {file.md5sums for file in manifest.files} == {
            f"https://hgdownload.soe.ucsc.edu/goldenPath/{name}/bigZips/md5sum.txt"
        }


@pytest.mark.parametrize("name", LENGTHS)
def test_names_and_kinds_fit_each_other(name):
    for contig in load_manifest(name).contigs:
        assert contig.kind == contig_kind(contig.name)
        suffix = re.search(r"_(hsa[0-9abxXY]+)$", contig.name)
        if suffix:  # the T2T assemblies say it in the name too
            assert contig.homolog == suffix[1]
        number = re.match(r"chr([0-9XY]+[AB]?)(?![0-9])", contig.name)
        if contig.kind in ("autosome", "sex"):
            assert {f"chr{number[1]}", number[1]} <= {contig.name, *contig.aliases}
        if contig.kind == "mitochondrion":
            assert {"chrM", "MT", "M"} <= {contig.name, *contig.aliases}


def test_the_accession_of_chrX_of_hs1_is_not_that_of_its_chrM():
    owners = {alias: contig.name for contig in load_manifest("hs1").contigs for alias in contig.aliases}
    assert owners["NC_060947.1"] == "chrX"
    assert sorted(alias for alias, name in owners.items() if name == "chrM") == ["CP068254.1", "M", "MT", "chrMT"]


def test_known_names_of_hg38():
    owners = {alias: contig.name for contig in load_manifest("hg38").contigs for alias in contig.aliases}
    assert [owners[a] for a in ("1", "CM000663.2", "NC_000001.11")] == ["chr1"] * 3
    assert [owners[a] for a in ("NC_000007.14", "NC_000023.11", "NC_012920.1")] == ["chr7", "chrX", "chrM"]


def _toy(folder, text=TOY, name="toy"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{name}.yaml"


def test_what_is_unknown_or_left_out(tmp_path):
    toy = load_manifest(_toy(tmp_path))
    assert (toy.files[0].size, toy.files[0].md5, toy.files[0].md5sums, toy.bases) == (None,) * 4
    assert (toy.contigs[1].aliases, toy.contigs[1].homolog) == ((), None)
    assert toy.licence == "unknown"
    none = load_manifest(_toy(tmp_path, re.sub("contigs:.*", "contigs: []", TOY, flags=re.DOTALL)))
    assert none.contigs == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("species:", "specis:", "specis: unknown key; is species meant?"),
        ("licence:", "zzz:", "zzz: unknown key; known here: name, species"),
        ("licence: unknown", "", "licence: missing (the word 'unknown' will do)"),
        ("sex: female", "sex:", "sex: want text, got None"),
        ("title: Toy 1", "title: 12", "title: want text (a number or date in quotes), got 12"),
        ("name: toy", "name: ../toy", "name: want letters, digits and . _ + -, got '../toy'"),
        ("format: fasta", "format: fast5", "files[0].format: want one of 2bit, fasta, got 'fast5'"),
        ("size: unknown", "size: 1.5", "files[0].size: want a whole number above 0, got 1.5"),
        ("size: unknown", "size: true", "files[0].size: want a whole number above 0, got True"),
        ("size: unknown, ", "", "files[0].size: missing (the word 'unknown' will do)"),
        ("md5: unknown", "md5: 00FF", "files[0].md5: want 32 hexadecimal digits in lower case, or unknown"),
        ("md5sums: unknown", "md5sums: md5sum.txt", "files[0].md5sums: want an address such as https://host/path"),
        ("https://host/toy.fa", "toy.fa", "files[0].urls: want an address such as https://host/path, got 'toy.fa'"),
        ('["https://host/toy.fa"]', "[]", "files[0].urls: want at least one address"),
        ('["https://host/toy.fa"]', "https://host/x", "files[0].urls: want a list of texts"),
        ("length: 10", "length: 0", "contigs[0].length: want a whole number above 0, got 0"),
        ("length: 10", 'length: "10"', "contigs[0].length: want a whole number above 0, got '10'"),
        ("kind: autosome", "kind: autosomal", "contigs[0].kind: want one of autosome, sex, mitochondrion"),
        ("homolog: hsa1", "homologue: hsa1", "contigs[0].homologue: unknown key; is contigs[0].homolog meant?"),
        ('["1", CM1.1]', "[1, CM1.1]", "contigs[0].aliases: want a list of texts, numbers in quotes"),
        ('["1", CM1.1]', "[chrM]", "contigs[1]: 'chrM' is a name of 'chrM' and of 'chr1'"),
        ("name: chrM", "name: chr1", "contigs[1]: 'chr1' is a name of 'chr1' and of 'chr1'"),
        ("contigs:\n", "bases: 14\ncontigs:\n", "bases: the contigs hold 15, which is more than the whole, got 14"),
        ("name: chrM", 'name: "chr\\tM"', "contigs[1].name: want text"),
        ("  - {name: chrM, length: 5, kind: mitochondrion}", "  - chrM", "contigs[1]: want 'key: value' lines"),
        ("species: Homo sapiens", "species: [", "not YAML"),
        ("name: toy", "- toy\nname: toy", "not YAML"),
    ],
)
def test_a_complaint_names_file_and_key(tmp_path, old, new, message):
    assert old in TOY
    path = _toy(tmp_path, TOY.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        load_manifest(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: cannot be read: No such file"):
        load_manifest(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"x.yaml: not a YAML text file"):
        load_manifest(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("!!python/object/apply:os.system [touch /tmp/no]")
    with pytest.raises(InputError, match=r"x.yaml, line 1: not YAML"):
        load_manifest(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("")
    with pytest.raises(InputError, match=r"x.yaml: the file: want 'key: value' lines, got None"):
        load_manifest(tmp_path / "x.yaml")


def test_files_of_the_user_stand_beside_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path / "mine"))
    with pytest.raises(InputError, match=r"DNAMAMBA_MANIFESTS: .*mine: no such folder"):
        manifest_names()
    _toy(tmp_path / "mine")
    _toy(tmp_path / "config" / "dnamamba" / "manifests", TOY.replace("name: toy", "name: pet"), "pet")
    assert manifest_names() == sorted([*LENGTHS, "toy", "pet"])
    assert load_manifest("toy").title == load_manifest("pet").title == "Toy 1"
    assert manifest_folders() == [tmp_path / "mine", tmp_path / "config" / "dnamamba" / "manifests"]
    assert find_manifest("toys") is None
    assert find_manifest("toy").name == "toy"
    with pytest.raises(InputError, match=r"no manifest named 'toys'; is 'toy' meant\?"):
        load_manifest("toys")
    with pytest.raises(InputError, match="no manifest named 'zzzzzz'; there are gorGor6, hg38"):
        load_manifest("zzzzzz")


def test_a_relative_configuration_folder_is_ignored(tmp_path, monkeypatch):
    """As the XDG specification has it; ~/.config stands in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    _toy(tmp_path / "config" / "dnamamba" / "manifests")
    assert manifest_folders() == []
    _toy(tmp_path / "home" / ".config" / "dnamamba" / "manifests")
    assert manifest_folders() == [tmp_path / "home" / ".config" / "dnamamba" / "manifests"]


def test_a_file_of_the_user_never_stands_in_for_ours_silently(tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path / "mine"))
    path = _toy(tmp_path / "mine", TOY.replace("name: toy", "name: hg38"), "hg38")
    for ask in (load_manifest, find_manifest):
        with pytest.raises(InputError, match=r"two manifests are named 'hg38': .*data_manifests.*mine.*; rename yours"):
            ask("hg38")
    assert load_manifest(path).title == "Toy 1"
    assert load_manifest("hs1").name == "hs1"


def test_a_file_is_called_as_its_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path))
    _toy(tmp_path, name="other")
    with pytest.raises(InputError, match=r"other.yaml: name: is 'toy'; want 'other', as the file is called"):
        load_manifest("other")


_TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
_FILES = st.fixed_dictionaries(
    {
        "format": st.sampled_from(["2bit", "fasta"]),
        "urls": st.lists(_TEXT.map("s3://bucket/{}".format), min_size=1, max_size=3),
        "size": st.integers(1, 2**50) | st.none(),
        "md5": st.binary(min_size=16, max_size=16).map(bytes.hex) | st.none(),
        "md5sums": st.just("https://host/md5sum.txt") | st.none(),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    facts=st.tuples(*[_TEXT] * 6),
    files=st.lists(_FILES, min_size=1, max_size=3),
    names=st.lists(_TEXT, min_size=2, max_size=12, unique=True),
    lengths=st.lists(st.integers(1, 2**40), min_size=12, max_size=12),
    kind=st.sampled_from(KINDS),
)
def test_what_is_written_is_read(tmp_path_factory, facts, files, names, lengths, kind):
    keys = ("species", "common_name", "title", "accession", "sex", "licence")
    contigs = [
        {"name": name, "length": length, "aliases": [alias], "homolog": alias, "kind": kind}
        for name, alias, length in zip(names[::2], names[1::2], lengths, strict=False)
    ]
    document = {"name": "toy", **dict(zip(keys, facts, strict=True)), "files": files, "contigs": contigs, "bases": None}
    known = {key: "unknown" if value is None else value for key, value in document.items()}
    known["files"] = [{k: "unknown" if v is None else v for k, v in file.items()} for file in files]
    path = tmp_path_factory.mktemp("m") / "toy.yaml"
    path.write_text(yaml.safe_dump(known, allow_unicode=True), encoding="utf-8")
    assert json.loads(json.dumps(asdict(load_manifest(path)))) == document


def _call(*arguments):
    result = CliRunner().invoke(command, ["list", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_list_prints_all_manifests(tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(_toy(tmp_path / "mine").parent))
    lines = _call().splitlines()
    assert [line.split()[0] for line in lines] == ["name", *sorted([*LENGTHS, "toy"])]
    (hg38,) = (line for line in lines if line.startswith("hg38"))
    assert re.split(" {2,}", hg38) == [
        "hg38", "Homo sapiens (human)", "GCA_000001405.15", "mixed", "unknown", "25", "3,088,286,401", "2bit",
        "835,393,456",
    ]  # fmt: skip
    documents = json.loads(_call("--json"))
    assert [document["name"] for document in documents] == sorted([*LENGTHS, "toy"])


def test_list_of_one_shows_its_contigs(tmp_path):
    lines = _call("mPanTro3").splitlines()
    assert "  accession  GCA_028858775.2" in lines
    chr2 = next(line for line in lines if line.startswith("chr2_hap1_hsa3 "))
    names = ["chr2,", "2,", "CM068905.1,", "NC_086015.1"]
    assert chr2.split() == ["chr2_hap1_hsa3", "201,579,334", "autosome", "hsa3", *names]
    document = json.loads(_call(_toy(tmp_path), "--json"))
    assert document["files"][0]["size"] is None
    assert document["contigs"][0]["aliases"] == ["1", "CM1.1"]
    with pytest.raises(InputError, match=r"no manifest named 'hg83'; is 'hg38' meant\?"):
        _call("hg83")
