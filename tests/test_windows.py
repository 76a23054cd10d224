"""Windows: leak-free, each base once an epoch, a pure function of the sample's number."""

import tracemalloc

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_dna, random_genome

from dnamamba.errors import InputError
from dnamamba.pipelines.splits import SplitRegion
from dnamamba.stretches import Stretches, lay_stretches
from dnamamba.windows import Source, WindowIndex, WindowOrder


def _stretches(*rows):
    """From (contig, start, end)."""
    table = np.array([(0, start, end) for _, start, end in rows], dtype=np.int64).reshape(-1, 3)
    return Stretches(table[:, 0], tuple(contig for contig, _, _ in rows), table[:, 1], table[:, 2])


def _order(*rows, context=16, seed=0, stage=0, weight=1.0, **options):
    return WindowOrder([Source("store", _stretches(*rows), weight)], context, seed=seed, stage=stage, **options)


ROWS = {
    "one long": [("a", 5, 5000)],
    "exact multiple": [("a", 0, 64), ("b", 3, 35)],
    "shorter than a window": [(f"c{i}", 0, 3 + i % 5) for i in range(50)],
    "mixed": [("a", 10, 700), ("b", 0, 15), ("b", 20, 36), ("c", 1, 2), ("d", 0, 31)],
    "window of one stretch": [("a", 0, 17)],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("context", [1, 4, 16])
def test_windows_are_whole_and_inside_their_stretches(rows, context):
    for window in _order(*rows, context=context).windows(np.arange(3000 // context)):
        assert sum(piece.end - piece.start for piece in window.pieces) == context
        for piece in window.pieces:
            assert any(piece.contig == c and start <= piece.start < piece.end <= end for c, start, end in rows)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("context", [1, 4, 16])
def test_every_base_is_read_equally_often(rows, context):
    """After whole epochs, each base was read once an epoch."""
    index = WindowIndex(Source("store", _stretches(*rows), 1.0), context, key=7)
    epochs = context  # then the packed stream ends at a window's border too
    counts = {row: np.zeros(row[2] - row[1], dtype=int) for row in rows}
    for pieces in index.locate(np.arange(epochs * index.bases // context)):
        for piece in pieces:
            row = next(r for r in rows if r[0] == piece.contig and r[1] <= piece.start and piece.end <= r[2])
            counts[row][piece.start - row[1] : piece.end - row[1]] += 1
    assert {int(n) for count in counts.values() for n in count} == {epochs}


def test_windows_alone_are_windows_of_the_full_iteration():
    order = _order(*ROWS["mixed"])
    together = order.windows(np.arange(500))
    fresh = _order(*ROWS["mixed"])
    for i in (499, 0, 250, 13):
        assert fresh.windows(np.array([i])) == [together[i]]
    assert fresh.windows(np.array([70, 3, 402])) == [together[i] for i in (70, 3, 402)]


def test_seed_and_stage_change_the_order():
    orders = [_order(("a", 0, 5000), seed=seed, stage=stage) for seed, stage in ((0, 0), (1, 0), (0, 1), (0, 0))]
    starts = [[w.pieces[0].start for w in order.windows(np.arange(200))] for order in orders]
    assert starts[0] == starts[3]
    assert np.mean(np.equal(starts[0], starts[1])) < 0.1
    assert np.mean(np.equal(starts[0], starts[2])) < 0.1


def test_borders_move_from_epoch_to_epoch():
    order = _order(("a", 0, 16 * 50), context=16)
    phases = {w.pieces[0].start % 16 for w in order.windows(np.arange(50 * 60)) if len(w.pieces) == 1}
    assert len(phases) == 16


def test_every_epoch_has_an_order_of_its_own():
    order = _order(("a", 0, 16 * 100), context=16)
    epochs = [[w.pieces[0].start // 16 for w in order.windows(np.arange(n, n + 100))] for n in (0, 100)]
    assert np.mean(np.equal(*epochs)) < 0.1
    packed = _order(*((f"c{i}", 0, 4) for i in range(400)), context=16)
    first, second = (
        [frozenset(p.contig for p in w.pieces) for w in packed.windows(np.arange(n, n + 100))] for n in (0, 100)
    )
    assert frozenset.union(*first) == frozenset.union(*second)
    assert len(set(first) & set(second)) < 5  # other contigs meet in a window


def test_reverse_complement_is_a_fair_coin_that_can_be_off():
    rows = ("a", 0, 5000)
    assert 0.45 < np.mean([w.reverse for w in _order(rows).windows(np.arange(4000))]) < 0.55
    assert not any(w.reverse for w in _order(rows, reverse_complement=False).windows(np.arange(500)))


def test_sources_take_turns_by_weight():
    sources = [
        Source("long", _stretches(("a", 0, 100_000)), 1.0),
        Source("short", _stretches(("b", 0, 2000)), 3.0),
    ]
    windows = WindowOrder(sources, 64, seed=0, stage=0).windows(np.arange(4000))
    assert sum(w.pieces[0].contig == "b" for w in windows) == pytest.approx(3000, abs=2)


def test_ten_thousand_tiny_contigs():
    order = _order(*((f"c{i}", 0, 4) for i in range(10_000)), context=1024)
    windows = order.windows(np.arange(39))
    assert order.indices[0].n_full == 0
    assert all(len(window.pieces) in (256, 257) for window in windows)
    assert len({piece.contig for window in windows for piece in window.pieces}) > 9900


def test_a_chromosome_costs_nothing():
    tracemalloc.start()
    order = _order(("chr1", 0, 248_956_422), context=1024)
    windows = order.windows(np.arange(10**9, 10**9 + 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(0 <= p.start < p.end <= 248_956_422 for window in windows for p in window.pieces)
    assert peak < 1_000_000


def test_stand_ins_are_other_windows_of_the_same_source():
    order = _order(("a", 0, 5000))
    first, second = (order.windows(np.arange(50), attempt) for attempt in (0, 1))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 10
    assert second == order.windows(np.arange(50), 1)


@pytest.mark.parametrize(
    "rows, weight, message",
    [
        (
            [("a", 0, 40), ("b", 0, 90)],
            1.0,
            "store: its training part holds 130 bases .longest stretch 90., less than one window of the context 1,024; "
            "contexts up to 128 can be served",
        ),
        ([], 1.0, "holds 0 bases"),
        ([("a", 0, 4000)], 0.0, "store: its weight must be above 0, got 0"),
        ([("a", 0, 4000)], float("nan"), "weight must be above 0"),
    ],
)
def test_what_cannot_be_served_is_said(rows, weight, message):
    with pytest.raises(InputError, match=message):
        _order(*rows, context=1024, weight=weight)


def test_no_source_is_an_error():
    with pytest.raises(InputError, match="no training windows"):
        WindowOrder([], 16, seed=0, stage=0)


# Stretches and gaps of N.


def _with_gap(length, gap_start, gap_end):
    sequence = random_dna(length).copy()
    sequence[gap_start:gap_end] = ord("N")
    return MemoryGenome("g", {"c": sequence})


@pytest.mark.parametrize(
    "context, kept",
    [
        (2**10, [(0, 20480), (30720, 65536)]),
        (20479, [(0, 20480), (30720, 65536)]),  # the gap has 10,240 bases
        (20480, [(0, 65536)]),
    ],
)
def test_gaps_longer_than_half_the_context_are_cut_out(context, kept):
    genome = _with_gap(65536, 20480, 30720)
    got = lay_stretches([genome], [SplitRegion("g", "c", 0, 65536)], context, leave_n_out=True)
    assert list(zip(got.start.tolist(), got.end.tolist(), strict=True)) == kept


def test_stretches_stay_inside_their_region():
    genome = _with_gap(65536, 20000, 40000)
    got = lay_stretches([genome], [SplitRegion("g", "c", 25_000, 50_000)], 1024, leave_n_out=True)
    # 40,000 lies in block 39, from 39,936, which has 64 N only.
    assert list(zip(got.start.tolist(), got.end.tolist(), strict=True)) == [(39_936, 50_000)]


def test_short_contigs_of_n_are_left_out():
    genome = MemoryGenome("g", {"n": np.full(3000, ord("n")), "c": random_dna(3000), "tail": random_dna(1500)})
    genome.contigs["tail"][1100:] = ord("N")
    regions = [SplitRegion("g", contig, 0, size) for contig, size in genome.sizes.items()]
    got = lay_stretches([genome], regions, 2**20, leave_n_out=True)
    assert got.contig == ("c", "tail")
    assert lay_stretches([genome], regions, 2**20, leave_n_out=False).contig == ("n", "c", "tail")
    assert lay_stretches([genome], regions, 64, leave_n_out=True).length.tolist() == [3000, 1024]


def test_regions_of_other_assemblies_are_passed_over():
    genomes = [random_genome("x", {"c": 100}), random_genome("y", {"c": 200})]
    regions = [SplitRegion("y", "c", 0, 200), SplitRegion("z", "c", 0, 300)]
    got = lay_stretches(genomes, regions, 16, leave_n_out=True)
    assert (got.assembly.tolist(), got.length.tolist()) == ([1], [200])
