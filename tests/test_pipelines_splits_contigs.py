"""Splits by contig: homologs from a table, a manifest or the names alone, held out under every name."""

import pytest
from split_cases import Sizes, where

from dnamamba.errors import InputError
from dnamamba.pipelines.homology import find_families, read_homologs
from dnamamba.pipelines.splits import PARTS, SplitConfig, plan_splits

HOMOLOGS = {
    "human": {"chr5": "hsa5", "chr17": "hsa17", "chr6": "hsa6", "chr2": "hsa2"},
    "gorilla": {"chr4": "hsa17x5", "chr19": "hsa5x17", "chr5": "hsa6", "chr11": "hsa2a", "chr12": "hsa2b"},
}
APES = [Sizes(name, dict.fromkeys(contigs, 1000)) for name, contigs in HOMOLOGS.items()]


def _by_contig(assemblies=APES, homologs=HOMOLOGS, **patterns):
    return plan_splits(assemblies, SplitConfig(method="contig", homologs=homologs, **patterns))


def test_a_held_out_chromosome_is_held_out_under_every_name():
    splits = _by_contig(valid=("chr6",), test=("chr2",))
    assert set(where(splits, "valid")) == {("human", "chr6"), ("gorilla", "chr5")}
    assert set(where(splits, "test")) == {("human", "chr2"), ("gorilla", "chr11"), ("gorilla", "chr12")}
    assert set(where(splits, "train")) == {
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
    assert set(where(splits, "valid")) == {("a", "chr7"), ("b", "7")}
    assert set(where(splits, "test")) == {("a", "8"), ("b", "chr8")}


def test_t2t_names_say_their_homolog():
    apes = [
        Sizes("chm13", {"chr7": 9, "chr8": 9, "chr1": 9}),
        Sizes("chimp", {"chr6_hap1_hsa7": 9, "chr7_hap1_hsa8": 9, "chr1_hap1_hsa1": 9}),
    ]
    splits = _by_contig(apes, {}, valid=("chr7",), test=("chr8",))
    assert ("chimp", "chr6_hap1_hsa7") in where(splits, "valid")
    assert ("chimp", "chr7_hap1_hsa8") in where(splits, "test")


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


# Names that need no table


def test_pieces_of_a_chromosome_go_with_it():
    pieces = ["chr1_KI270706v1_random", "chr1_GL383518v1_alt", "chr1_KN196472v1_fix", "chr1_apd_hap1", "chr1_random"]
    genome = Sizes("hg38", {"chr1": 10**6, "chr2": 10**6, "chr3": 10**6, **dict.fromkeys(pieces, 10_000)})
    splits = _by_contig([genome], {}, valid=("chr2",), test=("chr1",))
    assert {contig for _, contig in where(splits, "test")} == {"chr1", *pieces}
    with pytest.raises(InputError, match=r"hg38:chr1 is test where hg38:chr1_KI270706v1_random, its homolog"):
        _by_contig([genome], {}, valid=("chr2",), test=("*:chr1",))


def test_pieces_of_a_chromosome_that_is_cut_are_left_out():
    genomes = [Sizes("hg38", {"chr1": 10**6, "chr1_GL383518v1_alt": 50_000}), Sizes("chimp", {"chr1": 10**6})]
    splits = plan_splits(genomes, SplitConfig())
    assert {contig for part in PARTS for _, contig in where(splits, part)} == {"chr1"}
    assert splits.bases("test", "hg38") == splits.bases("test", "chimp") > 0


@pytest.mark.parametrize("contig", ["chr18_hap1_hsa16_random_utig4-1074", "JAQQLQ020000019.1"])
def test_t2t_pieces_are_known_by_name_or_label(contig):
    homologs = {"ape": {contig: "hsa16 (random)"}} if contig.startswith("J") else {}
    genomes = [Sizes("human", {"chr16": 10**6}), Sizes("ape", {"chr18_hap1_hsa16": 10**6, contig: 50_000})]
    splits = plan_splits(genomes, SplitConfig(homologs=homologs))
    assert {("ape", "chr18_hap1_hsa16")} == {key for key in where(splits, "test") if key[0] == "ape"}
    assert not any(region.contig == contig for part in PARTS for region in splits.parts[part])


def test_two_haplotypes_are_one_locus():
    genome = Sizes("hg002", {f"chr{n}_{side}": 10**6 for n in (1, 2, 3) for side in ("MATERNAL", "hap2")})
    splits = plan_splits([genome], SplitConfig())
    for n in (1, 2, 3):
        assert len({part for part in PARTS for _, c in where(splits, part) if c.startswith(f"chr{n}_")}) == 1


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
    assert where(_by_contig([store], {}, test=("chr2",)), "test") == {("ape", "b"): (0, 10**6)}
    assert where(_by_contig([store], {"ape": {"c": "hsa2"}}, test=("chr2",)), "test").keys() == {
        ("ape", "b"),
        ("ape", "c"),
    }


def test_aliases_name_contigs():
    class Aliased(Sizes):
        def resolve(self, name):
            return {"CM000663.2": "one", "CM000664.2": "two"}.get(name) or super().resolve(name)

    genome = Aliased("g", {"one": 9, "two": 9, "three": 9})
    splits = _by_contig([genome], {}, valid=("g:CM000663.2",), test=("CM000664.2",))
    assert where(splits, "valid") == {("g", "one"): (0, 9)}
    assert where(splits, "test") == {("g", "two"): (0, 9)}
    with pytest.raises(InputError, match=r"'h:CM000663\.2' matches no contig"):
        _by_contig([genome], {}, valid=("h:CM000663.2",))


def test_human_numbers_are_read_with_and_without_chr():
    splits = _by_contig(
        [Sizes("a", {"chr2A": 5, "chr2B": 5, "chr7": 5}), Sizes("b", {"2": 9, "7": 5})], {}, test=("2",)
    )
    assert set(where(splits, "test")) == {("a", "chr2A"), ("a", "chr2B"), ("b", "2")}
