"""Species tree and gene trees: published divergences, lineage sorting, and msprime as an oracle where it is there."""

from itertools import combinations

import numpy as np
import pytest

from dnamamba.pipelines.simulate.streams import stream
from dnamamba.pipelines.simulate.tree import (
    CLADES,
    N_LEAVES,
    ROOT,
    SPECIES,
    TARGETS,
    clade_span,
    expected_substitutions,
    gene_trees,
    great_apes,
)

LOCI = 40_000


@pytest.fixture(scope="module")
def trees():
    return gene_trees(stream(1, "test trees"), LOCI)


def test_species_tree_is_ordered():
    splits = [p.split for p in great_apes()]
    assert splits == sorted(splits)
    assert splits[0] > 0
    assert all(p.diversity > 0 for p in great_apes())


def test_trees_are_trees(trees):
    assert (trees.members[:, ROOT] == 0b11111).all()
    assert (trees.parent[:, ROOT] == -1).all()
    for node in range(ROOT):
        above = trees.parent[:, node]
        assert (above > node).all()
        assert (above >= N_LEAVES).all()
        assert (trees.branch(node) > 0).all()
    for node in range(N_LEAVES, ROOT + 1):  # every inner node has two children, with no species in common
        sets = [np.where(trees.parent[:, child] == node, trees.members[:, child], 0) for child in range(ROOT)]
        assert (sum(s > 0 for s in sets) == 2).all()
        assert (np.bitwise_or.reduce(sets) == trees.members[:, node]).all()
        assert (sum(s.astype(int) for s in sets) == trees.members[:, node]).all()


def test_no_pair_meets_before_its_species_split(trees):
    for a, b in combinations(range(N_LEAVES), 2):
        split = min(p.split for p in great_apes() if p.members >> a & 1 and p.members >> b & 1)
        assert trees.meeting(a, b).min() >= split


def test_mean_heights_are_the_targets(trees):
    """Standard error of a mean height is under 0.3% of it; the closed forms leave out terms of about 1%."""
    pan, human, african, ape = (expected_substitutions(t) for t in TARGETS)
    for pair, target in {
        (1, 2): pan,
        (0, 1): human,
        (0, 2): human,
        (0, 3): african,
        (1, 3): african,
        (0, 4): ape,
    }.items():
        assert trees.meeting(*pair).mean() == pytest.approx(target, rel=0.02)


def test_incomplete_lineage_sorting(trees):
    closest = np.bincount(trees.closest_pair(), minlength=3) / LOCI
    assert closest[1:].sum() == pytest.approx(0.30, abs=0.01)  # Scally et al. 2012
    assert closest[1] == pytest.approx(closest[2], abs=0.01)
    human_first = trees.meeting(0, 1) < trees.meeting(1, 2)
    bonobo_first = trees.meeting(0, 2) < trees.meeting(1, 2)
    assert (human_first | bonobo_first).mean() == pytest.approx(0.033, abs=0.005)  # Pruefer et al. 2012
    orang = (trees.meeting(0, 4) < trees.meeting(0, 1)) | (trees.meeting(1, 4) < trees.meeting(0, 1))
    assert 0.004 < orang.mean() < 0.02  # about 1%, Hobolth et al. 2011


def test_clade_spans_touch():
    for name in SPECIES:
        assert clade_span(name)[0] == 0
    assert clade_span("pan")[0] == clade_span("bonobo")[1] == clade_span("chimpanzee")[1]
    assert clade_span("pan")[1] == clade_span("human")[1]
    assert set(CLADES) == {*SPECIES, "pan"}


def test_heights_as_msprime_has_them(trees):
    """msprime is GPL and no dependency; where it is installed it draws the same genealogies. Tolerance: 3 sigma."""
    msprime = pytest.importorskip("msprime", reason="msprime is not installed: no oracle for the coalescent")
    scale = 1e6  # generations to a unit of height
    demography = msprime.Demography()
    populations = great_apes()
    for name in SPECIES:
        demography.add_population(name=name, initial_size=1)
    names = []
    for p in populations:
        names.append("_".join(SPECIES[i] for i in range(N_LEAVES) if p.members >> i & 1))
        demography.add_population(name=names[-1], initial_size=p.diversity * scale)
    derived = [["chimpanzee", "bonobo"], ["human", names[0]], ["gorilla", names[1]], ["orangutan", names[2]]]
    for p, name, below in zip(populations, names, derived, strict=True):
        demography.add_population_split(time=p.split * scale, derived=below, ancestral=name)
    samples = [msprime.SampleSet(1, population=name, ploidy=1) for name in SPECIES]
    replicates = msprime.sim_ancestry(samples, demography=demography, ploidy=1, num_replicates=4000, random_seed=5)
    theirs = {pair: [] for pair in combinations(range(N_LEAVES), 2)}
    for ts in replicates:
        tree = ts.first()
        for a, b in theirs:
            theirs[a, b].append(tree.tmrca(a, b) / scale)
    for pair, heights in theirs.items():
        ours = trees.meeting(*pair)
        error = np.hypot(np.std(heights) / np.sqrt(len(heights)), ours.std() / np.sqrt(LOCI))
        assert abs(np.mean(heights) - ours.mean()) < 3.5 * error, pair
