"""Independent random streams: one a part of the simulation, all from one seed."""

import zlib

import numpy as np


def stream(seed: int, part: str, *index: int) -> np.random.Generator:
    """A generator of its own for one part of the simulation.

    Args:
        seed: the user's seed, 0 or more.
        part: what is drawn, e.g. "gene trees"; another name is another stream.
        index: which one of that part, e.g. the contig's number.

    Returns:
        A Philox generator. Streams that differ in seed, part or index are independent, so a change in how much one
        part draws leaves every other part as it was, and contigs can be made in any order or process.

    Source: numpy.random.SeedSequence, spawn keys.
    """
    key = (zlib.crc32(part.encode()), *index)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
