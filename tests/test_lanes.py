"""Lanes: windows that follow one another along the stretches, each base once an epoch, a function of their number."""

from itertools import pairwise

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_dna

from dnamamba.errors import InputError
from dnamamba.lanes import LaneOrder, read_lanes
from dnamamba.pipelines.alphabet import DNA
from dnamamba.stretches import Stretches
from dnamamba.windows import Source

ROWS = {
    "one long": [("a", 5, 5000)],
    "several": [("a", 10, 700), ("b", 0, 15), ("b", 20, 360), ("c", 1, 2), ("d", 0, 31)],
    "short ones": [(f"c{i}", 0, 3 + i % 5) for i in range(60)],
    "an empty one": [("a", 0, 300), ("a", 300, 300), ("b", 0, 200)],
}
CONTEXT, LANES = 16, 3


def _source(rows, weight=1.0, name="store"):
    table = np.array([(0, start, end) for _, start, end in rows], dtype=np.int64)
    return Source(
        name, Stretches(table[:, 0], tuple(contig for contig, _, _ in rows), table[:, 1], table[:, 2]), weight
    )


def _order(rows, lanes=LANES, **options):
    return LaneOrder([_source(rows)], CONTEXT, lanes=lanes, **{"seed": 4, "stage": 1, **options})


def _places(window):
    """(contig, position, reverse) of each base of a window in reading order, and of the one before."""
    places = []
    for (piece,), reverse in ([window.before] if window.before else []) + list(window.pieces):
        positions = range(piece.start, piece.end)
        places += [(piece.contig, p, reverse) for p in (reversed(positions) if reverse else positions)]
    return places


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_an_epoch_reads_no_base_twice_and_leaves_less_than_a_step(rows):
    order = _order(rows)
    steps, bases = order.indices[0].steps, sum(end - start for _, start, end in rows)
    assert bases - steps * LANES * CONTEXT < LANES * CONTEXT
    for epoch in range(4):
        seen = set()
        for window in order.windows(np.arange(epoch * steps * LANES, (epoch + 1) * steps * LANES)):
            here = [place[:2] for place in _places(window._replace(before=None))]
            assert len(here) == CONTEXT
            assert not seen & set(here)
            seen |= set(here)
        assert all(any(c == contig and a <= p < b for c, a, b in rows) for contig, p in seen)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_a_lane_goes_on_where_it_stopped_and_starts_anew_at_stretches(rows):
    order = _order(rows)
    first_bases = {(contig, start, False) for contig, start, end in rows} | {(c, end - 1, True) for c, _, end in rows}
    for lane in range(LANES):
        last = None
        for step in range(2 * order.indices[0].steps):
            (window,) = order.windows(np.array([step * LANES + lane]))
            places = _places(window)
            fresh = step % order.indices[0].steps == 0
            assert (window.before is None) == (fresh or places[window.before is not None] in first_bases)
            if window.before is not None:
                assert places[0] == last
            for here, there in pairwise(places):
                neighbours = here[0] == there[0] and here[2] == there[2] and there[1] - here[1] == (-1) ** here[2]
                assert neighbours or there in first_bases
            for (piece,), reverse in window.pieces[1:]:
                assert (piece.contig, piece.end - 1 if reverse else piece.start, reverse) in first_bases
            last = places[-1]


def test_a_window_is_a_function_of_its_number():
    order, again = _order(ROWS["several"]), _order(ROWS["several"])
    together = order.windows(np.arange(300))
    for sample in (299, 7, 120):
        assert again.windows(np.array([sample])) == [together[sample]]
    assert _order(ROWS["several"], seed=5).windows(np.arange(300)) != together
    assert _order(ROWS["several"], stage=2).windows(np.arange(300)) != together


def test_strands_order_and_phase_are_drawn_anew_each_epoch():
    rows = ROWS["several"]
    order = _order(rows)
    steps = order.indices[0].steps
    epochs = [order.windows(np.arange(e * steps * LANES, (e + 1) * steps * LANES)) for e in range(20)]
    strands = [
        {
            p.contig: reverse
            for window in epoch
            for (p,), reverse in window.pieces
            if (p.contig, p.start > 700) != ("b", 1)
        }
        for epoch in epochs
    ]
    assert 4 < sum(one["a"] for one in strands) < 16
    assert len({epoch[0].pieces for epoch in epochs}) > 15
    forward = _order(rows, reverse_complement=False).windows(np.arange(300))
    assert not any(reverse for window in forward for _, reverse in window.pieces)


def test_sources_get_lanes_by_weight():
    sources = [_source(ROWS["one long"], 3.0, "A"), _source([("z", 0, 900)], 1.0, "B")]
    order = LaneOrder(sources, CONTEXT, lanes=8, seed=0, stage=0)
    names = [window.pieces[0].pieces[0].contig for window in order.windows(np.arange(80))]
    assert names.count("a") == 60
    assert names.count("z") == 20
    assert names[:8] == names[8:16]  # a lane keeps its source
    with pytest.raises(InputError, match="B: gets none of the 1 windows of an optimiser step at context 16"):
        LaneOrder(sources, CONTEXT, lanes=1, seed=0, stage=0)


def test_a_source_shorter_than_a_step_is_refused():
    with pytest.raises(
        InputError, match=r"store: its training part holds 40 bases, less than the 48 that an optimiser"
    ):
        _order([("a", 0, 40)])


def test_what_is_read_is_the_stretches_letter_by_letter():
    genome = MemoryGenome("g", {contig: random_dna(5000, seed) for seed, contig in enumerate("abcd")})
    order = _order(ROWS["several"])
    windows = order.windows(np.arange(1000))
    out = np.empty((1000, CONTEXT), np.uint8)
    before, reset = read_lanes(windows, [genome], DNA, out)

    def letter(contig, position, reverse):
        token = int(DNA.encode(genome[contig, slice(position, position + 1)])[0])
        return int(DNA.complement[token]) if reverse else token

    seen = set()
    for i, window in enumerate(windows):
        places = _places(window)
        tokens = [letter(*place) for place in places]
        expected = tokens if window.before else [DNA.start, *tokens]
        assert [int(before[i]), *out[i].tolist()] == expected
        starts = np.cumsum([0] + [p.end - p.start for (p,), _ in window.pieces])[:-1].tolist()
        assert np.flatnonzero(reset[i]).tolist() == (starts[1:] if window.before else starts)
        seen.add((len(window.pieces) > 1, window.before is None))
    assert len(seen) == 4, "not every kind of window was tried"


def test_no_reset_is_no_mask():
    genome = MemoryGenome("g", {"a": random_dna(5000)})
    windows = [w for w in _order(ROWS["one long"]).windows(np.arange(30)) if w.before and len(w.pieces) == 1]
    _, reset = read_lanes(windows, [genome], DNA, np.empty((len(windows), CONTEXT), np.uint8))
    assert reset is None
