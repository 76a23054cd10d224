"""Splits: the same loci in every species, no base in two parts, leaks and empty parts refused."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_genomes import MemoryGenome, random_genome

from dnamamba.config import from_dict
from dnamamba.errors import InputError
from dnamamba.pipelines.homology import find_families, read_homologs
from dnamamba.pipelines.splits import PARTS, SplitConfig, SplitRegion, Splits, plan_splits


class Sizes:
    """An assembly of which only names and lengths are known."""

    def __init__(self, name, sizes):
        self.name, self.sizes, self.fingerprint, self.attributes = name, sizes, f"digest of {name}", {}

    def resolve(self, name):
        if name not in self.sizes:
            raise InputError(f"{self.name}: no contig {name!r}")
        return name


def _where(splits, part):
    return {(r.assembly, r.contig): (r.start, r.end) for r in splits.parts[part]}


def _disjoint(splits, assemblies):
    rows = sorted((r.assembly, r.contig, r.start, r.end) for part in PARTS for r in splits.parts[part])
    assert all(a[:2] != b[:2] or a[3] <= b[2] for a, b in pairwise(rows))
    sizes = {a.name: a.sizes for a in assemblies}
    assert all(0 <= start < end <= sizes[assembly][contig] for assembly, contig, start, end in rows)


# By fraction


def test_fractions_with_margins():
    splits = plan_splits([Sizes("g", {"c": 1_000_000})], SplitConfig(margin=1000))
    assert _where(splits, "train") == {("g", "c"): (0, 800_000)}
    assert _where(splits, "valid") == {("g", "c"): (801_000, 900_000)}
    assert _where(splits, "test") == {("g", "c"): (901_000, 1_000_000)}


def test_the_margin_shrinks_on_short_contigs():
    splits = plan_splits([Sizes("g", {"chrM": 16_569})], SplitConfig())
    assert _where(splits, "valid") == {("g", "chrM"): (13_255 + 414, 14_912)}


def test_the_same_fraction_is_held_out_in_every_species():
    apes = [
        Sizes("human", {"chr1": 2_000_000, "chr2": 1_000_000}),
        Sizes("chimp", {"chr1": 2_002_000, "chr2": 995_000}),
    ]
    splits = plan_splits(apes, SplitConfig(margin=1000))
    for part in PARTS:
        human, chimp = _where(splits, part)["human", "chr1"], _where(splits, part)["chimp", "chr1"]
        assert all(abs(h / 2_000_000 - c / 2_002_000) < 2e-6 * 1000 for h, c in zip(human, chimp, strict=True))
    # chr2 differs by 5,000 bases, so a locus may have moved by as much: the margin is no less.
    assert _where(splits, "valid")["human", "chr2"][0] == 800_000 + 5000


def test_homologs_too_unlike_to_be_cut_go_whole_into_one_part():
    apes = [
        Sizes("a", {"x": 500_000, "y": 100_000, "u": 90_000, "v": 90_000}),
        Sizes("b", {"x": 510_000, "y": 150_000, "u": 60_000, "v": 130_000}),
    ]
    splits = plan_splits(apes, SplitConfig(margin=1000))
    _disjoint(splits, apes)
    for contig in "yuv":
        parts = {part for part in PARTS for r in splits.parts[part] if r.contig == contig}
        assert len(parts) == 1
    assert ("a", "y") in _where(splits, "train")  # the largest


def test_fused_and_doubled_chromosomes_are_not_cut():
    """Where a contig is more than one homolog, a fraction of it is another locus: by fraction it goes whole."""
    apes = [
        Sizes("human", {"chr2": 300_000, "chr5": 300_000}),
        Sizes("chimp", {"2A": 300_000, "2B": 300_000, "5": 300_000}),
    ]
    splits = plan_splits(apes, SplitConfig(margin=1000))
    whole = {("human", "chr2"), ("chimp", "2A"), ("chimp", "2B")}
    assert {(r.assembly, r.contig) for r in splits.parts["train"] if (r.start, r.end) == (0, 300_000)} == whole
    assert set(_where(splits, "valid")) == {("human", "chr5"), ("chimp", "5")}


def test_tiny_contigs_are_dealt_out_whole():
    genome = Sizes("g", {f"c{i}": 4 for i in range(10_000)})
    splits = plan_splits([genome], SplitConfig())
    assert splits.bases("valid") == splits.bases("test") == 4000
    assert splits.bases("train") == 32_000
    giant = plan_splits([Sizes("g", {"giant": 8000, **{f"c{i}": 4 for i in range(50)}})], SplitConfig())
    assert [giant.bases(part) for part in PARTS] == [8160, 20, 20]
    assert splits.parts == plan_splits([genome], SplitConfig()).parts


def test_one_short_contig_is_cut_all_the_same():
    splits = plan_splits([Sizes("phiX", {"c": 5386})], SplitConfig())
    assert all(splits.bases(part) > 300 for part in PARTS)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 300_000), min_size=1, max_size=8),
    other=st.lists(st.integers(-9000, 9000), min_size=8, max_size=8),
    valid=st.sampled_from([0.0, 0.05, 0.3]),
    test=st.sampled_from([0.0, 0.1, 0.3]),
    margin=st.sampled_from([0, 100, 2**14]),
)
def test_any_fraction_split_is_disjoint_and_without_leaks(lengths, other, valid, test, margin):
    apes = [
        Sizes("a", {f"c{i}": n for i, n in enumerate(lengths)}),
        Sizes("b", {f"c{i}": max(0, n + d) for i, (n, d) in enumerate(zip(lengths, other, strict=False))}),
    ]
    config = SplitConfig(valid_fraction=valid, test_fraction=test, margin=margin)
    try:
        splits = plan_splits(apes, config)
    except InputError as error:
        splits, message = None, str(error)
    if splits is None:
        assert "part is empty" in message
    else:
        _disjoint(splits, apes)


# By contig, with homologs

HOMOLOGS = {
    "human": {"chr5": "hsa5", "chr17": "hsa17", "chr6": "hsa6", "chr2": "hsa2"},
    "gorilla": {"chr4": "hsa17x5", "chr19": "hsa5x17", "chr5": "hsa6", "chr11": "hsa2a", "chr12": "hsa2b"},
}
APES = [Sizes(name, dict.fromkeys(contigs, 1000)) for name, contigs in HOMOLOGS.items()]


def _by_contig(assemblies=APES, homologs=HOMOLOGS, **patterns):
    return plan_splits(assemblies, SplitConfig(method="contig", homologs=homologs, **patterns))


def test_a_held_out_chromosome_is_held_out_under_every_name():
    splits = _by_contig(valid=("chr6",), test=("chr2",))
    assert set(_where(splits, "valid")) == {("human", "chr6"), ("gorilla", "chr5")}
    assert set(_where(splits, "test")) == {("human", "chr2"), ("gorilla", "chr11"), ("gorilla", "chr12")}
    assert set(_where(splits, "train")) == {
        ("human", "chr5"),
        ("human", "chr17"),
        ("gorilla", "chr4"),
        ("gorilla", "chr19"),
    }


def test_a_planted_leak_is_refused():
    with pytest.raises(InputError, match=r"the same sequence in both; put chr17\+chr5 into one part"):
        _by_contig(valid=("chr6",), test=("chr5",))  # gorilla 4 and 19 hold human 17 too, which would be trained on
    assert _by_contig(valid=("chr6",), test=("chr5", "chr17")).bases("test") == 4000
    with pytest.raises(InputError, match="gorilla:chr5 is valid where human:chr6"):
        _by_contig(valid=("gorilla:chr5",), test=("chr2",))


def test_names_alone_when_nothing_else_is_known():
    apes = [Sizes("a", {"chr1": 9, "chr7": 5, "8": 6}), Sizes("b", {"chr1": 9, "7": 5, "chr8": 6})]
    splits = _by_contig(apes, {}, valid=("chr7",), test=("chr8",))
    assert set(_where(splits, "valid")) == {("a", "chr7"), ("b", "7")}
    assert set(_where(splits, "test")) == {("a", "8"), ("b", "chr8")}


def test_t2t_names_say_their_homolog():
    apes = [
        Sizes("chm13", {"chr7": 9, "chr8": 9, "chr1": 9}),
        Sizes("chimp", {"chr6_hap1_hsa7": 9, "chr7_hap1_hsa8": 9, "chr1_hap1_hsa1": 9}),
    ]
    splits = _by_contig(apes, {}, valid=("chr7",), test=("chr8",))
    assert ("chimp", "chr6_hap1_hsa7") in _where(splits, "valid")
    assert ("chimp", "chr7_hap1_hsa8") in _where(splits, "test")


@pytest.mark.parametrize(
    "patterns, message",
    [
        ({"valid": ("chr9",), "test": ("chr6",)}, "split.valid: 'chr9' matches no contig; there are human:chr5"),
        ({"valid": ("chr6",), "test": ("chr[6]",)}, "human:chr6 matches both, 'chr6' and 'chr.6.'"),
        ({"valid": ("*",)}, "the train part is empty .held out: .; contigs: human:chr5"),
        ({}, "method contig wants at least one name"),
    ],
)
def test_contig_patterns_that_do_not_work(patterns, message):
    with pytest.raises(InputError, match=message):
        _by_contig(**patterns)


def test_homologs_of_nothing_are_refused():
    with pytest.raises(InputError, match=r"split\.homologs: no assembly 'orang'; there are human, gorilla"):
        _by_contig(homologs={"orang": {}}, valid=("chr6",))
    with pytest.raises(InputError, match=r"split\.homologs\.human: no contig 'chr99'"):
        _by_contig(homologs={"human": {"chr99": "hsa1"}}, valid=("chr6",))
    with pytest.raises(InputError, match=r"split\.homologs\.human\.chr5: want a homolog"):
        _by_contig(homologs={"human": {"chr5": " "}}, valid=("chr6",))


@pytest.mark.parametrize(
    "label, homologs",
    [
        ("hsa3", ("chr3",)),
        ("hsa17x5", ("chr17", "chr5")),
        ("hsa5 (t(5;17), inferred)", ("chr17", "chr5")),
        ("hsa2a", ("chr2",)),
        ("hsa1421", ("chr14", "chr21")),
        ("hsa16 (random)", ("chr16",)),
        ("hsaX", ("chrX",)),
        ("MT", ("chrM",)),
        ("chrM", ("chrM",)),
        ("chr2B", ("chr2",)),
        ("ENm001", ("ENm001",)),
        ("locus1+locus2", ("locus1", "locus2")),
    ],
)
def test_homolog_labels(label, homologs):
    assert read_homologs(label) == homologs


def test_homologs_by_pattern():
    """Fourteen mitogenomes of one species are one locus, wherever on the circle each begins."""
    sizes = {"mito": {"NC_1 human": 16_569, "AY[1]": 16_570, "AY2": 16_500}, "hg38": {"chrM": 16_569, "chr1": 10**6}}
    table = {"mito": {"AY[1]": "chrM", "AY*": "chrM", "NC*": "chrM"}}
    families = find_families(sizes, table)
    assert {family.name: len(family.loci) for family in families} == {"chrM": 4, "chr1": 1}
    splits = plan_splits([Sizes(*pair) for pair in sizes.items()], SplitConfig(homologs=table))
    assert {r.contig for part in ("valid", "test") for r in splits.parts[part]} == {"chr1"}


def test_families_join_through_shared_homologs():
    families = find_families({a.name: a.sizes for a in APES}, HOMOLOGS)
    assert {family.name for family in families} == {"chr17+chr5", "chr6", "chr2"}
    assert {family.name: family.collinear for family in families} == {"chr17+chr5": False, "chr6": True, "chr2": False}


# By BED


GENOME = Sizes("g", {"chr1": 1000, "chr2": 500})


def _bed(tmp_path, text, genomes=(GENOME,), **options):
    path = tmp_path / "split.bed"
    path.write_text(text)
    options.setdefault("bed", (str(path),))
    return plan_splits(genomes, SplitConfig(method="bed", **options))


def test_bed_intervals_are_merged(tmp_path):
    text = "# HyenaDNA\nchr1\t0\t300\ttrain\nchr1\t200\t400\ttrain\nchr1\t600\t700\tvalid\tx\nchr2 10 20 test\n"
    splits = _bed(tmp_path, text)
    assert splits.parts == {
        "train": (SplitRegion("g", "chr1", 0, 400),),
        "valid": (SplitRegion("g", "chr1", 600, 700),),
        "test": (SplitRegion("g", "chr2", 10, 20),),
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("chr1\t0\t300\n", "line 1: want contig, start, end and train, valid or test"),
        ("\nchr1\t0\tx\ttrain\n", "line 2: want whole numbers"),
        ("chr1\t0\t10\ttraining\n", "line 1: want train, valid or test in the fourth column, got 'training'"),
        ("chr1\t0\t10\ttrain\nchr3\t0\t10\ttrain\n", "line 2: no contig 'chr3' in the genome; is 'chr[12]' meant"),
        ("chr1\t0\t1001\ttrain\n", "line 1: want start < end <= 1,000 .the length of chr1., got 0-1001"),
        ("chr1\t10\t10\ttrain\n", "line 1: want start < end"),
        ("chr1\t0\t300\ttrain\nchr1\t299\t400\ttest\n", "line 2: chr1:299-400 is test but overlaps train of line 1"),
        ("# nothing\n", "holds no intervals"),
        ("chr1\t0\t300\ttest\n", "the train part is empty"),
    ],
)
def test_bed_errors_name_the_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        _bed(tmp_path, text)


def test_bed_files_of_several_assemblies(tmp_path):
    genomes = [Sizes("a", {"c": 100_000}), Sizes("b", {"c": 100_000})]
    (tmp_path / "a.bed").write_text("c\t0\t50000\ttrain\nc\t60000\t90000\ttest\n")
    (tmp_path / "b.bed").write_text("c\t0\t50000\ttrain\nc\t60000\t90000\ttest\n")
    files = (f"a={tmp_path}/a.bed", f"b={tmp_path}/b.bed")
    assert plan_splits(genomes, SplitConfig(method="bed", bed=files)).bases("test") == 60_000
    with pytest.raises(InputError, match="with several assemblies want assembly=file"):
        plan_splits(genomes, SplitConfig(method="bed", bed=(f"{tmp_path}/a.bed",)))
    with pytest.raises(InputError, match="no file for assembly 'b'"):
        plan_splits(genomes, SplitConfig(method="bed", bed=files[:1]))
    (tmp_path / "b.bed").write_text("c\t0\t70000\ttrain\nc\t80000\t90000\ttest\n")
    with pytest.raises(InputError, match="the same sequence in both"):
        plan_splits(genomes, SplitConfig(method="bed", bed=files))


def test_no_such_bed(tmp_path):
    with pytest.raises(InputError, match=r"no\.bed: No such file"):
        _bed(tmp_path, "", bed=(str(tmp_path / "no.bed"),))


# All of them


def test_json_round_trip():
    splits = plan_splits([Sizes("g", {"c": 1_000_000})], SplitConfig())
    assert Splits.from_json(json.loads(json.dumps(splits.to_json()))) == splits
    with pytest.raises(InputError, match=r"model\.json: not a split"):
        Splits.from_json({"format": "dnamamba-splits-1"}, "model.json")
    with pytest.raises(InputError, match="format 'x'"):
        Splits.from_json({"format": "x"})


def test_a_split_knows_its_genomes():
    genome = random_genome("g", {"c": 100_000})
    splits = plan_splits([genome], SplitConfig())
    splits.check([genome])
    with pytest.raises(InputError, match="'g' has other sequence"):
        splits.check([random_genome("g", {"c": 100_000}, seed=1)])
    with pytest.raises(InputError, match="knows no assembly 'h'; it was made for g"):
        splits.check([MemoryGenome("h", {})])


def test_two_assemblies_of_one_name():
    with pytest.raises(InputError, match="assembly 'g' is there twice"):
        plan_splits([Sizes("g", {"c": 10}), Sizes("g", {"d": 10})], SplitConfig())


@pytest.mark.parametrize(
    "values, message",
    [
        ({"valid_fraction": 1.0}, "split.valid_fraction: want at least 0 and below 1"),
        ({"valid_fraction": 0.6, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"margin": -1}, "split.margin: want 0 bases or more"),
        ({"method": "bed"}, "method bed wants a file"),
        ({"method": "number"}, "split.method: want one of fraction, contig, bed, got 'number'"),
        ({"tset": ["chr1"]}, "split.tset: unknown key; is split.test meant"),
    ],
)
def test_bad_values_name_their_key(values, message):
    with pytest.raises(InputError, match=message):
        from_dict(SplitConfig, values, "split")


def test_config_from_yaml_values():
    config = from_dict(
        SplitConfig,
        {"method": "contig", "valid": ["chr7"], "homologs": {"g": {"chr4": "hsa17x5"}}, "margin": "16k"},
        "split",
    )
    assert (config.homologs["g"]["chr4"], config.margin) == ("hsa17x5", 2**14)


# Names that need no table


def test_pieces_of_a_chromosome_go_with_it():
    pieces = ["chr1_KI270706v1_random", "chr1_GL383518v1_alt", "chr1_KN196472v1_fix", "chr1_apd_hap1", "chr1_random"]
    genome = Sizes("hg38", {"chr1": 10**6, "chr2": 10**6, "chr3": 10**6, **dict.fromkeys(pieces, 10_000)})
    splits = _by_contig([genome], {}, valid=("chr2",), test=("chr1",))
    assert {contig for _, contig in _where(splits, "test")} == {"chr1", *pieces}
    with pytest.raises(InputError, match=r"hg38:chr1 is test where hg38:chr1_KI270706v1_random, its homolog"):
        _by_contig([genome], {}, valid=("chr2",), test=("*:chr1",))


def test_pieces_of_a_chromosome_that_is_cut_are_left_out():
    genomes = [Sizes("hg38", {"chr1": 10**6, "chr1_GL383518v1_alt": 50_000}), Sizes("chimp", {"chr1": 10**6})]
    splits = plan_splits(genomes, SplitConfig())
    assert {contig for part in PARTS for _, contig in _where(splits, part)} == {"chr1"}
    assert splits.bases("test", "hg38") == splits.bases("test", "chimp") > 0


@pytest.mark.parametrize("contig", ["chr18_hap1_hsa16_random_utig4-1074", "JAQQLQ020000019.1"])
def test_t2t_pieces_are_known_by_name_or_label(contig):
    homologs = {"ape": {contig: "hsa16 (random)"}} if contig.startswith("J") else {}
    genomes = [Sizes("human", {"chr16": 10**6}), Sizes("ape", {"chr18_hap1_hsa16": 10**6, contig: 50_000})]
    splits = plan_splits(genomes, SplitConfig(homologs=homologs))
    assert {("ape", "chr18_hap1_hsa16")} == {key for key in _where(splits, "test") if key[0] == "ape"}
    assert not any(region.contig == contig for part in PARTS for region in splits.parts[part])


def test_two_haplotypes_are_one_locus():
    genome = Sizes("hg002", {f"chr{n}_{side}": 10**6 for n in (1, 2, 3) for side in ("MATERNAL", "hap2")})
    splits = plan_splits([genome], SplitConfig())
    for n in (1, 2, 3):
        assert len({part for part in PARTS for _, c in _where(splits, part) if c.startswith(f"chr{n}_")}) == 1


def test_a_manifest_of_the_same_lengths_says_the_homologs():
    from dnamamba.pipelines.manifest import load_manifest

    sizes = {one.name: one.length for one in load_manifest("gorGor6").contigs}
    human = Sizes("person", {"chr5": 10**6, "chr17": 10**6, "chr6": 10**6})
    with pytest.raises(InputError, match=r"put chr17\+chr5 into one part"):
        _by_contig([human, Sizes("gorGor6", sizes)], {}, valid=("chr6",), test=("chr5",))
    other = Sizes("gorGor6", {name: length + 1 for name, length in sizes.items()})  # another assembly of that name
    assert _by_contig([human, other], {}, valid=("chr6",), test=("chr5",))


def test_the_user_s_homologs_are_over_the_store_s():
    store = Sizes("ape", {"a": 10**6, "b": 10**6, "c": 10**6})
    store.attributes = {"homologs": {"a": "hsa1", "b": "hsa2", "c": "hsa3"}}
    assert _where(_by_contig([store], {}, test=("chr2",)), "test") == {("ape", "b"): (0, 10**6)}
    assert _where(_by_contig([store], {"ape": {"c": "hsa2"}}, test=("chr2",)), "test").keys() == {
        ("ape", "b"),
        ("ape", "c"),
    }


def test_aliases_name_contigs():
    class Aliased(Sizes):
        def resolve(self, name):
            return {"CM000663.2": "one", "CM000664.2": "two"}.get(name) or super().resolve(name)

    genome = Aliased("g", {"one": 9, "two": 9, "three": 9})
    splits = _by_contig([genome], {}, valid=("g:CM000663.2",), test=("CM000664.2",))
    assert _where(splits, "valid") == {("g", "one"): (0, 9)}
    assert _where(splits, "test") == {("g", "two"): (0, 9)}
    with pytest.raises(InputError, match=r"'h:CM000663\.2' matches no contig"):
        _by_contig([genome], {}, valid=("h:CM000663.2",))


def test_human_numbers_are_read_with_and_without_chr():
    splits = _by_contig(
        [Sizes("a", {"chr2A": 5, "chr2B": 5, "chr7": 5}), Sizes("b", {"2": 9, "7": 5})], {}, test=("2",)
    )
    assert set(_where(splits, "test")) == {("a", "chr2A"), ("a", "chr2B"), ("b", "2")}


def test_bed_lines_of_contigs_called_like_a_track(tmp_path):
    splits = _bed(tmp_path, "track name=x\nbrowser position\ntrack1\t0\t5\ttrain\n", [Sizes("g", {"track1": 10})])
    assert splits.bases("train") == 5


def test_hyenadna_and_basenji_lines_are_read_as_they_are(tmp_path):
    """Windows of 131,072 bases that overlap within a part, sorted by nothing, tabs, UCSC names."""
    text = "chr18\t928386\t1059458\ttrain\nchr4\t113630947\t113762019\ttrain\nchr11\t18427720\t18558792\ttrain\n"
    text += "chr4\t113639139\t113770211\ttrain\nchr16\t85805681\t85936753\tvalid\nchr8\t132158314\t132289386\ttest\n"
    sizes = {"chr18": 80_373_285, "chr4": 190_214_555, "chr11": 135_086_622, "chr16": 90_338_345, "chr8": 145_138_636}
    splits = _bed(tmp_path, text, [Sizes("hg38", sizes)])
    assert splits.bases("train") == 3 * 131_072 + 8_192
    assert splits.bases("valid") == splits.bases("test") == 131_072
