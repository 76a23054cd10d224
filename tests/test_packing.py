"""The packed stream of an epoch: every leftover base once, cut anywhere."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamamba.packing import pack_epoch


@st.composite
def _stretches(draw):
    rows, at = [], 0
    for _ in range(draw(st.integers(1, 12))):
        start = at + draw(st.integers(0, 5))
        length = draw(st.integers(1, 40))
        first = draw(st.integers(0, length))
        last = draw(st.integers(first, length))
        rows.append((start, start + length, start + first, start + last))
        at = start + length
    return np.array(rows, dtype=np.int64).T


@settings(deadline=None)
@given(table=_stretches(), key=st.integers(0, 2**63), data=st.data())
def test_every_leftover_base_comes_once(table, key, data):
    start, end, first, last = table
    packed = pack_epoch(start, end, first, last, key)
    total = int(packed.border[-1])
    cuts = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=8))})
    seen = []
    for a, b in pairwise(cuts):
        stretch, begin, finish = packed.cut(a, b)
        assert (finish - begin).sum() == b - a
        assert (finish > begin).all()
        for s, x, y in zip(stretch, begin, finish, strict=True):
            assert start[s] <= x < y <= end[s]
            seen += range(x, y)
    wanted = [x for i in range(len(start)) for x in (*range(start[i], first[i]), *range(last[i], end[i]))]
    assert sorted(seen) == sorted(wanted)


def test_the_order_is_keyed():
    start = np.arange(0, 1000, 10)
    pieces = [pack_epoch(start, start + 7, start, start, key).stretch for key in (1, 2, 1)]
    assert sorted(pieces[0]) == list(range(100))
    assert (pieces[0] == pieces[2]).all()
    assert (pieces[0] == pieces[1]).mean() < 0.1
