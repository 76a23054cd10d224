"""The synthetic ancestor's parts: base process, library, diverged copies, shares of repeats and tandem arrays."""

import numpy as np
import pytest

from dnamamba.pipelines.simulate.base_process import entropy, transition, unique_dna
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import make_ancestor
from dnamamba.pipelines.simulate.copies import diverged_copies, indel_lengths
from dnamamba.pipelines.simulate.intervals import batches, offsets, positions
from dnamamba.pipelines.simulate.library import FAMILIES, make_library
from dnamamba.pipelines.simulate.repeats import waves
from dnamamba.pipelines.simulate.streams import stream
from dnamamba.pipelines.simulate.tree import CLADES


def test_intervals():
    assert positions(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert positions(np.array([], int), np.array([], int)).tolist() == []
    assert offsets(np.array([2, 0, 3])).tolist() == [0, 2, 2]
    lengths = np.array([5, 5, 5, 30, 1])
    parts = batches(lengths, 10)
    assert [i for p in parts for i in range(5)[p]] == [0, 1, 2, 3, 4]
    assert batches(np.array([], int), 10) == []


def test_streams_are_independent_and_repeatable():
    a = stream(0, "x", 1).random(4)
    assert np.array_equal(a, stream(0, "x", 1).random(4))
    for other in (stream(1, "x", 1), stream(0, "y", 1), stream(0, "x", 2), stream(0, "x")):
        assert not np.array_equal(a, other.random(4))


@pytest.mark.parametrize("gc", [0.35, 0.41, 0.55])
def test_transition_keeps_composition_and_strands_alike(gc):
    p = transition(gc, 0.2)
    base = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    assert p.sum(axis=1) == pytest.approx(1)
    assert base @ p == pytest.approx(base, rel=0.02)
    joint = base[:, None] * p
    assert joint == pytest.approx(joint[::-1, ::-1].T, rel=0.05)  # the reverse complement has the same dinucleotides
    assert joint[1, 2] / (base[1] * base[2]) == pytest.approx(0.2, rel=0.05)
    assert 1.85 < entropy(gc, 0.2) < 2.0


def test_unique_dna_follows_its_table():
    bases, levels = unique_dna(0, 0, 400_000, 0.2, 40_000)
    assert bases.max() <= 3
    assert len(bases) == len(levels) == 400_000
    c, g = (bases == 1).mean(), (bases == 2).mean()
    cpg = ((bases[:-1] == 1) & (bases[1:] == 2)).mean() / (c * g)
    assert 0.18 < cpg < 0.32  # islands raise it above 0.2
    assert (np.diff(levels) != 0).sum() < 60


def test_library_is_the_seeds_alone():
    one, other = make_library(3, 0.06), make_library(3, 0.06)
    assert np.array_equal(one.bases, other.bases)
    assert not np.array_equal(one.entry("Alu.0"), make_library(4, 0.06).entry("Alu.0"))
    for family in FAMILIES:
        assert len(one.entry(f"{family.name}.0")) == family.consensus
    for clade in CLADES:
        young, parent = one.entry(f"Alu.{clade}"), one.entry("Alu.2")
        assert 5 <= (young != parent).sum() <= 35  # 6% of 290
    assert sum(f.share for f in FAMILIES) == pytest.approx(1.0)


def _copy(consensus, divergence, copies=400, reverse=False):
    k = np.full(copies, len(consensus))
    strands = np.full(copies, reverse)
    start = np.zeros(copies, np.int64)
    return diverged_copies(stream(0, "copies"), consensus, start, k, strands, np.full(copies, divergence))


def test_perfect_copies():
    consensus = stream(0, "c").integers(0, 4, 300).astype(np.uint8)
    assert np.array_equal(_copy(consensus, 0.0, 3).bases, np.tile(consensus, 3))
    assert np.array_equal(_copy(consensus, 0.0, 3, reverse=True).bases, np.tile(3 - consensus[::-1], 3))


@pytest.mark.parametrize("reverse", [False, True])
def test_copies_diverge_as_asked(reverse):
    """Each base knows its source, so substitutions and indels are counted apart. 400 x 2000 bases: 1% errors."""
    consensus = stream(0, "c").integers(0, 4, 2000).astype(np.uint8)
    cpg = np.zeros(2000, bool)
    at = np.flatnonzero((consensus[:-1] == 1) & (consensus[1:] == 2))
    cpg[at] = cpg[at + 1] = True
    made = _copy(consensus, 0.10, reverse=reverse)
    seen = 3 - made.bases if reverse else made.bases
    changed = seen != consensus[made.source]
    plain = ~cpg[made.source]
    assert changed[plain].mean() == pytest.approx(0.10, rel=0.25)  # CpGs that arise on the way add some
    assert changed[~plain].mean() > 0.5
    step = np.diff(made.source) * (-1 if reverse else 1)
    jumps = (step != 1).sum() - (len(made.lengths) - 1)
    assert jumps / len(made.source) == pytest.approx(0.10 / 8, rel=0.1)
    assert made.lengths.mean() == pytest.approx(2000, rel=0.03)


def test_indel_lengths():
    lengths = indel_lengths(stream(0, "i"), 100_000)
    assert lengths.min() == 1
    assert (lengths == 1).mean() == pytest.approx(0.54, abs=0.01)
    assert lengths.max() <= 60


def _ancestor(**changes):
    config = SimulateConfig(bases=2_000_000, contigs=1, **changes)
    return make_ancestor(config, make_library(0, config.young_diagnostic), 0)


def test_shares_of_the_ancestor():
    """Interspersed repeats 45%, tandem 4%; the soft mask is just these, so it shows them one by one."""
    none = {"repeats": 0.0, "far_share": 0.0, "microsatellites": 0.0, "minisatellites": 0.0}
    assert _ancestor(**(none | {"repeats": 0.45})).masked.mean() == pytest.approx(0.45, abs=0.02)
    assert _ancestor(**(none | {"microsatellites": 0.03})).masked.mean() == pytest.approx(0.03, abs=0.004)
    assert _ancestor(**(none | {"minisatellites": 0.03})).masked.mean() == pytest.approx(0.03, abs=0.006)
    whole = _ancestor()
    assert 0.45 < whole.masked.mean() < 0.53
    assert sum(w.share for w in waves(0.45)) == pytest.approx(0.45)


def test_alus_lie_in_gc_rich_dna_and_on_both_strands():
    ancestor = _ancestor()
    library = make_library(0, 0.06)
    text = ancestor.bases.tobytes()
    for bases in (library.entry("Alu.2"), 3 - library.entry("Alu.2")[::-1]):
        words = {bases[i : i + 14].tobytes() for i in range(0, len(bases) - 14, 14)}
        found = sum(text.count(word) for word in words)
        assert found > 300


def test_config_refuses_nonsense():
    from dnamamba.errors import InputError

    for changes, message in (
        ({"seed": -1}, "simulate.seed"),
        ({"contigs": 0}, "simulate.contigs"),
        ({"bases": 1000}, "simulate.bases: want 10,000"),
        ({"repeats": 1.2}, "simulate.repeats"),
        ({"repeats": 0.6, "far_share": 0.5}, "leave a tenth"),
        ({"cpg": 0.0}, "simulate.cpg"),
        ({"young_per_mb": -2.0}, "simulate.young_per_mb"),
        ({"locus": 10}, "simulate.locus"),
    ):
        with pytest.raises(InputError, match=message):
            SimulateConfig(**changes)
