"""What far context is worth: the gain per doubling of a reader who has the map of the private families."""

from functools import cache
from math import comb

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.base_process import entropy
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.far_repeats import CPG, FARTHEST, GC, NEAREST, FarCopies
from dnamamba.pipelines.simulate.intervals import Ints
from dnamamba.pipelines.simulate.tree import TARGETS, expected_substitutions

Floats = npt.NDArray[np.float64]

CONTEXTS = tuple(range(NEAREST, FARTHEST + 1))
"""Log2 of the contexts in the tables."""
_MOST_COPIES = 8  # more earlier copies than this improve the prediction by under a hundredth of a bit


def letter_error(config: SimulateConfig) -> float:
    """Share of a present copy's bases that differ from its family's consensus.

    The ancestral copies' divergence, and then the way from the ancestor to the present: half of the height of the root.
    """
    lineage = expected_substitutions(TARGETS[-1]) / 2
    return 1.0 - (1.0 - config.far_divergence) * (1.0 - lineage)


@cache
def copy_cost(copies: int, error: float) -> float:
    """Bits a base that a reader pays who sees `copies` earlier copies, aligned.

    The hidden consensus base is uniform over four letters; each copy shows it, or with probability `error` one of the
    three others. The cost is H(x_1 .. x_{m+1}) - H(x_1 .. x_m), summed over all counts of letters.
    """
    if copies == 0:
        return entropy(GC, CPG)
    copies = min(copies, _MOST_COPIES)
    return _joint_entropy(copies + 1, error) - _joint_entropy(copies, error)


@cache
def _joint_entropy(m: int, error: float) -> float:
    total = 0.0
    for a in range(m + 1):
        for b in range(m + 1 - a):
            for c in range(m + 1 - a - b):
                counts = np.array([a, b, c, m - a - b - c])
                ways = comb(m, a) * comb(m - a, b) * comb(m - a - b, c)
                p = float(np.mean((1.0 - error) ** counts * (error / 3.0) ** (m - counts)))
                total -= ways * p * np.log2(p) if p > 0 else 0.0
    return total


def copies_in_sight(far: FarCopies, log2_context: int) -> npt.NDArray[np.int64]:
    """How many earlier copies of its family each copy has within a context, start to start, [K]."""
    seen = np.zeros(len(far.start), np.int64)
    at = far.previous.copy()
    while (at >= 0).any():
        seen += (at >= 0) & (far.start - far.start[at] < 1 << log2_context)
        at = np.where(at >= 0, far.previous[at], -1)
    return seen


def far_bits(far: FarCopies, error: float) -> Floats:
    """Bits saved in one contig by each context of `CONTEXTS`, against a reader who sees no earlier copy, [13]."""
    saved = np.zeros(len(CONTEXTS))
    for i, context in enumerate(CONTEXTS):
        seen = np.minimum(copies_in_sight(far, context), _MOST_COPIES)
        gain = np.array([copy_cost(0, error) - copy_cost(m, error) for m in range(_MOST_COPIES + 1)])
        saved[i] = float((far.length * gain[seen]).sum())
    return saved


def gain_at(far: FarCopies, positions: Ints, starts: Ints, error: float) -> Floats:
    """Bits saved at single bases by a reader who sees the contig from `starts` on, against one who sees no copy, [K].

    A base of a copy is predicted from the base that stands for it in each earlier copy of the family, where the reader
    has seen that one; bases outside the copies gain nothing.

    Args:
        far: map of the families, in the positions of the sequence.
        positions: bases to predict, 0-based, [K].
        starts: first base that is seen for each of them, [K].
        error: as of `letter_error`.
    """
    gain = np.zeros(len(positions))
    if not len(far.start):
        return gain
    copy = np.searchsorted(far.start, positions, side="right") - 1
    inside = (copy >= 0) & (positions < far.start[copy] + far.length[copy])
    seen = np.zeros(len(positions), np.int64)
    at = np.where(inside, far.previous[copy], -1)
    while (at >= 0).any():
        seen += (at >= 0) & (positions - (far.start[copy] - far.start[at]) >= starts)
        at = np.where(at >= 0, far.previous[at], -1)
    saved = np.array([copy_cost(0, error) - copy_cost(m, error) for m in range(_MOST_COPIES + 1)])
    gain[inside] = saved[np.minimum(seen[inside], _MOST_COPIES)]
    return gain


def gain_table(bits: Floats, bases: int) -> dict[str, list[float]]:
    """The table that the store keeps: contexts, bits a base saved up to each, and by each doubling."""
    gain = bits / max(bases, 1)
    return {
        "log2_context": [float(c) for c in CONTEXTS],
        "gain_bits_per_base": [round(float(g), 6) for g in gain],
        "gain_of_the_last_doubling": [round(float(g), 6) for g in np.diff(gain, prepend=0.0)],
    }
