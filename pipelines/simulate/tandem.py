"""Tandem repeats of the ancestor: microsatellites and minisatellites with units of their own."""

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.simulate.intervals import Ints, offsets, positions
from dnamamba.pipelines.simulate.streams import stream

Bytes = npt.NDArray[np.uint8]

# Unit lengths of microsatellites with their share of loci: A-runs and pairs lead (Lander et al. 2001, table 14).
MICRO_UNITS = np.array([1, 2, 3, 4, 5, 6])
MICRO_SHARE = np.array([0.17, 0.33, 0.10, 0.20, 0.12, 0.08])
MICRO_SHORTEST, MICRO_MEAN = 14, 36
MINI_UNITS = (9, 64)
MINI_COPIES = 12
IMPURITY = 0.05
"""Substitutions a base among the units of one array."""


def _sow(
    rng: np.random.Generator, bases: Bytes, masked: npt.NDArray[np.bool_], unit: Ints, size: Ints, at_rich: float
) -> None:
    place = rng.integers(0, max(len(bases) - 1, 1), size=len(size))
    gc_half = (1.0 - at_rich) / 2
    units = rng.choice(4, size=int(unit.sum()), p=[at_rich / 2, gc_half, gc_half, at_rich / 2]).astype(np.uint8)
    within = positions(np.zeros(len(size), np.int64), size)
    owner = np.repeat(np.arange(len(size)), size)
    letters = units[offsets(unit)[owner] + within % unit[owner]]
    worn = np.flatnonzero(rng.random(len(letters)) < IMPURITY)
    letters[worn] = (letters[worn] + rng.integers(1, 4, size=len(worn))) % 4
    to = place[owner] + within
    fits = to < len(bases)
    bases[to[fits]] = letters[fits]
    masked[to[fits]] = True


def sow_tandem(
    seed: int, contig: int, bases: Bytes, masked: npt.NDArray[np.bool_], micro_share: float, mini_share: float
) -> None:
    """Write tandem arrays into a contig, in place, and mark them in `masked`.

    Args:
        seed, contig: whose random streams to use.
        bases: bases 0..3, uint8 [L]. masked: soft mask, bool [L]. Both are changed.
        micro_share: share of bases in microsatellites (units of 1 to 6).
        mini_share: share of bases in minisatellites (units of 9 to 64).
    """
    length = len(bases)
    rng = stream(seed, "microsatellites", contig)
    k = int(rng.poisson(length * micro_share / MICRO_MEAN))
    size = MICRO_SHORTEST + rng.exponential(MICRO_MEAN - MICRO_SHORTEST, size=k).astype(np.int64)
    _sow(rng, bases, masked, rng.choice(MICRO_UNITS, size=k, p=MICRO_SHARE).astype(np.int64), size, 0.72)
    rng = stream(seed, "minisatellites", contig)
    k = int(rng.poisson(length * mini_share / (sum(MINI_UNITS) / 2 * MINI_COPIES)))
    unit = rng.integers(MINI_UNITS[0], MINI_UNITS[1] + 1, size=k)
    size = (unit * (2.0 + rng.exponential(MINI_COPIES - 2.0, size=k))).astype(np.int64)
    _sow(rng, bases, masked, unit, size, 0.48)
