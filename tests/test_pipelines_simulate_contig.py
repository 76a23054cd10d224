"""A simulated contig of five species: divergences, rates, indels, composition, masks; a seed means its bytes."""

from itertools import combinations

import numpy as np
import pytest

from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import simulate_contig
from dnamamba.pipelines.simulate.library import make_library
from dnamamba.pipelines.simulate.measure import Measured, pair_counts
from dnamamba.pipelines.simulate.spectrum import LINEAGE_FACTORS, rates_for, site_shares
from dnamamba.pipelines.simulate.tree import PUBLISHED, SPECIES, clade_span

CONFIG = SimulateConfig(seed=11, bases=6_000_000, contigs=4)


@pytest.fixture(scope="module")
def contigs():
    library = make_library(CONFIG.seed, CONFIG.young_diagnostic)
    return [simulate_contig(CONFIG, library, i) for i in range(CONFIG.contigs)]


@pytest.fixture(scope="module")
def measured(contigs):
    total = Measured(CONFIG)
    for contig in contigs:
        total.add(contig)
    return total


def _root_and(contigs, species):
    """Ancestral bases, and one species' bases where it has them; [L] each, over all contigs."""
    before, after = [], []
    for contig in contigs:
        has = contig.present(species)[contig.columns.ancestor]
        before.append(contig.ancestor.bases[has])
        after.append(contig.leaves[species][contig.columns.ancestor][has])
    return before, after


@pytest.mark.parametrize("pair", PUBLISHED, ids="-".join)
def test_divergence_within_a_tenth_of_every_published_value(measured, pair):
    simulated = measured.divergence(*(SPECIES.index(name) for name in pair))
    for source, published in PUBLISHED[pair].items():
        assert simulated == pytest.approx(published, rel=0.10), source


def test_pairs_the_tree_makes_alike_are_alike(measured):
    for a, b, c, d in ((0, 1, 0, 2), (1, 3, 2, 3), (0, 4, 3, 4)):
        assert measured.divergence(a, b) == pytest.approx(measured.divergence(c, d), rel=0.06)


def test_incomplete_lineage_sorting(measured):
    assert measured.incomplete_sorting() == pytest.approx(0.30, abs=0.05)  # some 1,500 loci of unequal lengths


def test_divergence_as_anchors_see_it(contigs):
    """Without the true alignment: between 24-mers that both genomes hold once, equally far apart, count differences."""
    human, chimp = (contigs[0].sequence(s) for s in (0, 1))
    codes = np.zeros(256, np.uint64)
    codes[[ord(c) for c in "CcGgTtN"]] = [1, 1, 2, 2, 3, 3, 0]

    def once(letters):
        words = np.zeros(len(letters) - 23, np.uint64)
        for j in range(24):
            words = words * np.uint64(4) + codes[letters[j : j + len(words)]]
        found, first, count = np.unique(words, return_index=True, return_counts=True)
        return dict(zip(found[count == 1].tolist(), first[count == 1].tolist(), strict=True))

    a, b = once(human), once(chimp)
    anchors = np.array(sorted((at, b[word]) for word, at in a.items() if word in b))
    # Contigs are colinear: nearly all anchors keep their order.
    assert (np.diff(anchors[:, 1]) > 0).mean() > 0.99
    step = np.diff(anchors, axis=0)
    same = np.flatnonzero((step[:, 0] == step[:, 1]) & (step[:, 0] < 400))
    differ = sum(
        int((human[x : x + n] | 32 != chimp[y : y + n] | 32).sum())
        for (x, y), n in zip(anchors[same[step[same, 0] > 1]], step[same[step[same, 0] > 1], 0], strict=True)
    )
    covered = int(step[same, 0].sum())
    assert covered > 0.6 * len(human)
    # Bubbles with indels and repeats found twice are left out, so a little less than the 1.3% of the true alignment.
    true = pair_counts(contigs[0], 0, 1)
    assert 0.75 < (differ / covered) / (true[0] / true[1]) < 1.1


def test_substitution_types(contigs):
    """CpG transitions about ten times the mean rate, transitions about twice the transversions."""
    at_cpg = [0, 0]
    elsewhere = [0, 0]
    transitions = transversions = 0
    for before, after in zip(*_root_and(contigs, 4), strict=True):
        c = np.flatnonzero((before[:-1] == 1) & (before[1:] == 2))
        cpg = np.zeros(len(before), bool)
        cpg[c] = cpg[c + 1] = True
        ts = (before ^ after) == 2
        at_cpg = [at_cpg[0] + int(ts[cpg].sum()), at_cpg[1] + int(cpg.sum())]
        changed = before != after
        elsewhere = [elsewhere[0] + int(changed.sum()), elsewhere[1] + len(changed)]
        transitions += int(ts.sum())
        transversions += int((changed & ~ts).sum())
    ratio = (at_cpg[0] / at_cpg[1]) / (elsewhere[0] / elsewhere[1])
    assert 7 < ratio < 12
    assert 1.7 < transitions / transversions < 2.6


def test_each_lineage_has_its_own_spectrum(contigs):
    """C>A against A>T outside CpG: gorilla over orangutan, as the factors say. 3 sigma are 6%."""
    shares = site_shares(np.concatenate([c.ancestor.bases for c in contigs]))
    seen, expected = [], []
    for species in (3, 4):
        counts = np.zeros(2)
        for before, after in zip(*_root_and(contigs, species), strict=True):
            counts += [np.sum((before ^ after == 1) & ((before == 1) | (before == 2))), 0]
            counts += [0, np.sum((before ^ after == 3) & ((before == 0) | (before == 3)))]
        height = np.mean([np.average(c.trees.height[:, -1], weights=np.diff(c.bounds)) for c in contigs]) / 2
        own = clade_span(SPECIES[species])[1] / 2
        rates = rates_for(shares) * (height - own) + rates_for(shares, LINEAGE_FACTORS[species]) * own
        seen.append(counts[0] / counts[1])
        expected.append(rates[3] / rates[6])
    assert seen[0] / seen[1] == pytest.approx(expected[0] / expected[1], rel=0.06)
    assert abs(expected[0] / expected[1] - 1) > 0.2


def test_indels(contigs):
    """One small indel in eight substitutions, most of them one base, six in ten deletions."""
    gained, lost, changed = [], [], 0
    for contig in contigs:
        has = contig.present(4)
        old = np.zeros(len(has), bool)
        old[contig.columns.ancestor] = True
        young = np.diff(np.flatnonzero(np.diff(np.r_[0, (has & ~old).view(np.int8), 0])).reshape(-1, 2), axis=1).ravel()
        gained.append(young[young < 40])
        gone = ~has[contig.columns.ancestor]
        lost.append(np.diff(np.flatnonzero(np.diff(np.r_[0, gone.view(np.int8), 0])).reshape(-1, 2), axis=1).ravel())
        changed += sum(int((a != b).sum()) for a, b in zip(*_root_and([contig], 4), strict=True))
    gained, lost = np.concatenate(gained), np.concatenate(lost)
    assert (len(gained) + len(lost)) / changed == pytest.approx(1 / 8, rel=0.1)
    assert len(lost) / (len(gained) + len(lost)) == pytest.approx(0.6, abs=0.03)
    both = np.concatenate([gained, lost])
    assert 0.4 < (both == 1).mean() < 0.6
    assert (both <= 10).mean() > 0.85


def test_composition(contigs):
    letters = np.concatenate([c.sequence(0) for c in contigs])
    upper = letters & 0xDF
    c, g = (upper == ord("C")).mean(), (upper == ord("G")).mean()
    assert 0.38 < c + g < 0.44  # human: 0.41
    cpg = ((upper[:-1] == ord("C")) & (upper[1:] == ord("G"))).mean() / (c * g)
    assert 0.18 < cpg < 0.33  # human: about 0.24
    assert 0.45 < (letters >= ord("a")).mean() < 0.53  # hg38: half is soft-masked
    gaps = np.flatnonzero(np.diff(np.r_[0, (letters == ord("N")).view(np.int8), 0])).reshape(-1, 2)
    assert 1 <= len(gaps) <= 20
    assert np.diff(gaps).min() >= 90
    assert np.diff(gaps).max() <= 2_000
    windows = upper[: len(upper) // 20_000 * 20_000].reshape(-1, 20_000)
    gc = np.isin(windows, [ord("G"), ord("C")]).mean(axis=1)
    assert gc.std() > 0.02  # GC domains: independent bases would give 0.0035


def test_lengths_stay_near_the_ancestor(contigs):
    for species in range(5):
        total = sum(len(c.sequence(species)) for c in contigs)
        assert total == pytest.approx(CONFIG.bases, rel=0.02)
    assert sum(CONFIG.contig_lengths()) == CONFIG.bases
    assert CONFIG.contig_lengths() == sorted(CONFIG.contig_lengths(), reverse=True)


def test_gaps_and_masks_do_not_give_the_species_away(contigs):
    """Soft-masked shares differ between species by under half a point; gaps stand in other places in each."""
    shares = [np.mean(np.concatenate([c.sequence(s) for c in contigs]) >= ord("a")) for s in range(5)]
    assert max(shares) - min(shares) < 0.005
    places = [tuple(c.gaps(s, 1_000_000)[0].tolist() for c in contigs) for s in range(5)]
    assert len({str(p) for p in places}) == 5


def test_same_seed_same_bytes_in_any_order():
    config = SimulateConfig(seed=5, bases=60_000, contigs=3)
    library = make_library(5, config.young_diagnostic)
    forward = [simulate_contig(config, library, i) for i in (0, 1, 2)]
    backward = [simulate_contig(config, make_library(5, config.young_diagnostic), i) for i in (2, 1, 0)][::-1]
    for one, other in zip(forward, backward, strict=True):
        for species in range(5):
            assert one.sequence(species).tobytes() == other.sequence(species).tobytes()


def test_another_seed_is_another_genome():
    one, other = (
        simulate_contig(c, make_library(c.seed, c.young_diagnostic), 0).sequence(0)
        for c in (SimulateConfig(seed=s, bases=50_000, contigs=1) for s in (0, 1))
    )
    n = min(len(one), len(other))
    assert ((one[:n] & 0xDF) == (other[:n] & 0xDF)).mean() < 0.3


def test_switching_a_part_off_leaves_the_others():
    """Independent streams: without young insertions and gaps the ancestor and the gene trees stay."""
    base = SimulateConfig(seed=2, bases=80_000, contigs=1)
    bare = SimulateConfig(seed=2, bases=80_000, contigs=1, gaps_per_mb=0.0, young_per_mb=0.0, young_pan_per_mb=0.0)
    one, other = (simulate_contig(c, make_library(2, c.young_diagnostic), 0) for c in (base, bare))
    assert np.array_equal(one.ancestor.bases, other.ancestor.bases)
    assert np.array_equal(one.trees.height, other.trees.height)


def test_every_pair_shares_most_columns(contigs):
    for a, b in combinations(range(5), 2):
        assert pair_counts(contigs[0], a, b)[1] > 0.97 * CONFIG.contig_lengths()[0]
