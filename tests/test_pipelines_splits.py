"""Splits: the same loci in every species, no base in two parts, leaks and empty parts refused."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_genomes import MemoryGenome, random_genome
from split_cases import Sizes, where

from dnamamba.config import from_dict
from dnamamba.errors import InputError
from dnamamba.pipelines.splits import PARTS, SplitConfig, Splits, plan_splits


def _disjoint(splits, assemblies):
    rows = sorted((r.assembly, r.contig, r.start, r.end) for part in PARTS for r in splits.parts[part])
    assert all(a[:2] != b[:2] or a[3] <= b[2] for a, b in pairwise(rows))
    sizes = {a.name: a.sizes for a in assemblies}
    assert all(0 <= start < end <= sizes[assembly][contig] for assembly, contig, start, end in rows)


# By fraction


def test_fractions_with_margins():
    splits = plan_splits([Sizes("g", {"c": 1_000_000})], SplitConfig(margin=1000))
    assert where(splits, "train") == {("g", "c"): (0, 800_000)}
    assert where(splits, "valid") == {("g", "c"): (801_000, 900_000)}
    assert where(splits, "test") == {("g", "c"): (901_000, 1_000_000)}


def test_the_margin_shrinks_on_short_contigs():
    splits = plan_splits([Sizes("g", {"chrM": 16_569})], SplitConfig())
    assert where(splits, "valid") == {("g", "chrM"): (13_255 + 414, 14_912)}


def test_the_same_fraction_is_held_out_in_every_species():
    apes = [
        Sizes("human", {"chr1": 2_000_000, "chr2": 1_000_000}),
        Sizes("chimp", {"chr1": 2_002_000, "chr2": 995_000}),
    ]
    splits = plan_splits(apes, SplitConfig(margin=1000))
    for part in PARTS:
        human, chimp = where(splits, part)["human", "chr1"], where(splits, part)["chimp", "chr1"]
        assert all(abs(h / 2_000_000 - c / 2_002_000) < 2e-6 * 1000 for h, c in zip(human, chimp, strict=True))
    # chr2 differs by 5,000 bases, so a locus may have moved by as much: the margin is no less.
    assert where(splits, "valid")["human", "chr2"][0] == 800_000 + 5000


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
    assert ("a", "y") in where(splits, "train")  # the largest


def test_fused_and_doubled_chromosomes_are_not_cut():
    """Where a contig is more than one homolog, a fraction of it is another locus: by fraction it goes whole."""
    apes = [
        Sizes("human", {"chr2": 300_000, "chr5": 300_000}),
        Sizes("chimp", {"2A": 300_000, "2B": 300_000, "5": 300_000}),
    ]
    splits = plan_splits(apes, SplitConfig(margin=1000))
    whole = {("human", "chr2"), ("chimp", "2A"), ("chimp", "2B")}
    assert {(r.assembly, r.contig) for r in splits.parts["train"] if (r.start, r.end) == (0, 300_000)} == whole
    assert set(where(splits, "valid")) == {("human", "chr5"), ("chimp", "5")}


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
