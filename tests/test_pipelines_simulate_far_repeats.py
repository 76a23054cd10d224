"""Private families: where their copies lie, that they are private, and what an oracle with their map gains."""

import numpy as np
import pytest

from dnamamba.pipelines.simulate.base_process import entropy
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import simulate_contig
from dnamamba.pipelines.simulate.far_repeats import CPG, GC, FarCopies, place_families
from dnamamba.pipelines.simulate.library import make_library
from dnamamba.pipelines.simulate.oracle import (
    CONTEXTS,
    copies_in_sight,
    copy_cost,
    far_bits,
    gain_at,
    gain_table,
    letter_error,
)


@pytest.fixture(scope="module")
def long_contig():
    """One contig of 12 Mb, long enough for distances up to 2^20."""
    return place_families(7, 0, 12_000_000, 0.10)


def test_distances_are_log_uniform(long_contig):
    """Kolmogorov distance to the uniform on [8, 20). The longest are a little rarer, as a contig's end cuts chains."""
    log2 = np.sort(np.log2(long_contig.distances()))
    assert log2[0] >= 8
    assert log2[-1] < 20
    uniform = (log2 - 8) / 12
    assert np.abs(np.arange(1, len(log2) + 1) / len(log2) - uniform).max() < 0.03
    assert np.histogram(log2, bins=range(8, 21))[0].min() > 0.8 * len(log2) / 12


def test_copies_cover_their_share_and_never_overlap(long_contig):
    assert long_contig.length.sum() / 12_000_000 == pytest.approx(0.10, abs=0.002)
    ends = long_contig.start + long_contig.length
    assert (long_contig.start[1:] >= ends[:-1]).all()
    assert ends.max() <= 12_000_000
    later = long_contig.previous >= 0
    assert (long_contig.family[later] == long_contig.family[long_contig.previous[later]]).all()
    assert 0.7 < later.mean() < 0.9  # about five copies a family, the first of which has none before


@pytest.mark.parametrize("length", [10_000, 600, 300])
def test_short_contigs_hold_what_fits(length):
    found = place_families(1, 0, length, 0.10)
    assert (found.start + found.length <= length).all()
    if len(found.distances()):
        assert found.distances().max() <= length


def _words(sequence, start, length, k=20):
    text = bytes(sequence[start : start + length]).upper()
    return {text[i : i + k] for i in range(len(text) - k + 1)}


def test_families_are_private_and_copies_alike():
    """In every species' own positions: copies of a family share 20-mers; another contig holds none of them."""
    config = SimulateConfig(seed=4, bases=800_000, contigs=2, gaps_per_mb=0.0)
    library = make_library(4, config.young_diagnostic)
    contigs = [simulate_contig(config, library, i) for i in range(2)]
    for species in (0, 4):
        sequences = [c.sequence(species) for c in contigs]
        far = contigs[0].far_copies(species)
        elsewhere = _words(sequences[1], 0, len(sequences[1]))
        alike = []
        for i in np.flatnonzero((far.previous >= 0) & (far.length >= 150))[:60]:
            before = far.previous[i]
            own = _words(sequences[0], far.start[i], far.length[i])
            alike.append(bool(own & _words(sequences[0], far.start[before], far.length[before])))
            assert not own & elsewhere
        assert np.mean(alike) > 0.95


def test_letter_error_is_what_copies_show():
    """Aligned bases of neighbouring copies differ as the oracle's error says; copies with early indels are left out."""
    config = SimulateConfig(seed=6, bases=2_000_000, contigs=1, gaps_per_mb=0.0)
    contig = simulate_contig(config, make_library(6, config.young_diagnostic), 0)
    far, letters = contig.far_copies(0), contig.sequence(0) & 0xDF
    differ = total = 0
    for i in np.flatnonzero(far.previous >= 0):
        n = min(far.length[i], far.length[far.previous[i]], 60)  # the first bases, mostly before any indel
        a, b = (letters[s : s + n] for s in (far.start[i], far.start[far.previous[i]]))
        if (a != b).mean() < 0.2:  # an indel near the start shifts the rest
            differ, total = differ + int((a != b).sum()), total + n
    error = letter_error(config)
    expected = 2 * error * (1 - error) + 2 / 3 * error**2
    assert differ / total == pytest.approx(expected, rel=0.2)


def test_cost_of_a_copy_by_hand():
    """One earlier copy: the two letters agree unless one of them erred."""
    e = 0.03
    differ = 2 * e * (1 - e) + 2 * e**2 / 3
    by_hand = -(1 - differ) * np.log2(1 - differ) - differ * np.log2(differ / 3)
    assert copy_cost(1, e) == pytest.approx(by_hand)
    assert copy_cost(0, e) == entropy(GC, CPG)
    costs = [copy_cost(m, e) for m in range(9)]
    assert costs == sorted(costs, reverse=True)
    sure = -(1 - e) * np.log2(1 - e) - e * np.log2(e / 3)
    assert costs[-1] == pytest.approx(sure, rel=0.02)  # many copies: only the last letter's own error is left
    assert copy_cost(1, 0.0) == pytest.approx(0.0)


def test_copies_in_sight_by_hand():
    far = FarCopies(
        family=np.array([0, 1, 0, 0]),
        start=np.array([0, 100, 400, 1400]),
        length=np.array([200, 200, 200, 200]),
        previous=np.array([-1, -1, 0, 2]),
    )
    assert copies_in_sight(far, 8).tolist() == [0, 0, 0, 0]
    assert copies_in_sight(far, 9).tolist() == [0, 0, 1, 0]
    assert copies_in_sight(far, 10).tolist() == [0, 0, 1, 1]
    assert copies_in_sight(far, 11).tolist() == [0, 0, 1, 2]
    saved = far_bits(far, 0.03)
    one, two = (copy_cost(0, 0.03) - copy_cost(m, 0.03) for m in (1, 2))
    assert saved[:4] == pytest.approx([0, 200 * one, 400 * one, 200 * one + 200 * two])


def test_every_doubling_pays(long_contig):
    """The oracle's gain grows with each doubling from 2^8 to 2^20, by a hundredth of a bit a base and more."""
    table = gain_table(far_bits(long_contig, letter_error(SimulateConfig())), 12_000_000)
    assert table["log2_context"] == list(CONTEXTS)
    steps = table["gain_of_the_last_doubling"][1:]
    assert min(steps) > 0.006
    assert max(steps) < 0.03


def test_gain_at_single_bases_by_hand():
    far = FarCopies(
        family=np.array([0, 1, 0, 0]),
        start=np.array([0, 100, 400, 1400]),
        length=np.array([50, 200, 50, 50]),
        previous=np.array([-1, -1, 0, 2]),
    )
    one, two = (copy_cost(0, 0.03) - copy_cost(m, 0.03) for m in (1, 2))
    cases = [  # base, first base seen, gain
        (410, 0, one), (410, 10, one), (410, 11, 0.0),  # base 10 stands for it
        (449, 0, one), (450, 0, 0.0),  # the copy ends
        (1410, 0, two), (1410, 11, one), (1410, 411, 0.0),
        (120, 0, 0.0), (10, 0, 0.0), (60, 0, 0.0),  # first copies, and between the copies
    ]  # fmt: skip
    positions, starts, wanted = (np.array(column) for column in zip(*cases, strict=True))
    assert gain_at(far, positions, starts, 0.03) == pytest.approx(wanted)
    nothing = FarCopies(*(np.zeros(0, np.int64) for _ in range(4)))
    assert gain_at(nothing, positions, starts, 0.03).tolist() == [0.0] * len(cases)


def test_gain_at_all_bases_adds_up_to_the_table(long_contig):
    """Base by base with 2^k bases upstream: what the table says of whole copies."""
    error = letter_error(SimulateConfig())
    positions = np.arange(0, 12_000_000, 50)
    table = far_bits(long_contig, error)
    for k in (10, 14, 20):
        ours = 50 * gain_at(long_contig, positions, np.maximum(0, positions - (1 << k) + 1), error).sum()
        assert ours == pytest.approx(table[k - 8], rel=0.03)
