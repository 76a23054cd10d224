"""What is taken of a contig's bases on their way into a store: digests, checksums, counts; in several threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba.pipelines.digests import UPPER, SequenceDigester, crc32c
from dnamamba.pipelines.store_format import N_BLOCK

BLOCK = 1 << 22  # bases worked on at a time: few enough for the cache, enough to outweigh the hand-over to threads
SMALL = 1 << 18  # below this many bases the hand-over costs more than it saves
_LANES = 4  # MD5, SHA-512, counts, writing


class Lanes:
    """A few threads for the steps of one block; the next block starts when all have ended. Use as a context manager."""

    def __init__(self, jobs: int) -> None:
        """With `jobs` 1, everything runs in the caller's thread."""
        self._pool = ThreadPoolExecutor(min(jobs, _LANES), "ingest") if jobs > 1 else None
        self._running: list[Future[None]] = []

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=error is not None)

    def run(self, size: int, *steps: Callable[[], None]) -> None:
        """Wait for the block before, then start the steps of this one, of `size` bases."""
        self.wait()
        if self._pool is None or size < SMALL:
            for step in steps:
                step()
        else:
            self._running = [self._pool.submit(step) for step in steps]

    def wait(self) -> None:
        """Wait for the steps that run; raise what one of them raised."""
        running, self._running = self._running, []
        for future in running:
            future.result()


def even_blocks(blocks: Iterable[npt.NDArray[np.uint8]], multiple: int) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """Cut a stream anew into blocks of BLOCK bases.

    Args:
        blocks: uint8 arrays of any length.
        multiple: a power of two up to BLOCK; the last block is padded with zeros to a multiple of it.

    Yields:
        A block, uint8, which the receiver may keep, and how many bases of it are not padding.
    """
    buffer, filled = np.empty(BLOCK, np.uint8), 0
    for block in blocks:
        taken = 0
        while taken < len(block):
            step = min(len(block) - taken, BLOCK - filled)
            buffer[filled : filled + step] = block[taken : taken + step]
            taken, filled = taken + step, filled + step
            if filled == BLOCK:
                yield buffer, BLOCK
                buffer, filled = np.empty(BLOCK, np.uint8), 0
    if filled:
        size = -(-filled // multiple) * multiple
        buffer[filled:size] = 0
        yield buffer[:size], filled


def count_n(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """How many of each 1,024 bytes are N or n, uint16 [len / 1024]. The length is a multiple of 1,024."""
    is_n = ((block & UPPER) == ord("N")).view(np.uint64).reshape(-1, N_BLOCK // 8)
    # Eight counters in each word: none passes 128, so that no carry reaches the next.
    counts: npt.NDArray[np.uint16] = is_n.sum(axis=1).view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.uint16)
    return counts


def chunk_checksums(block: npt.NDArray[np.uint8], chunk: int) -> npt.NDArray[np.uint32]:
    """CRC-32C of each `chunk` bytes, uint32 [len / chunk]."""
    return np.array([crc32c(block[i : i + chunk]) for i in range(0, len(block), chunk)], np.uint32)


class ContigIntake:
    """What one contig's blocks add up to."""

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self.digester = SequenceDigester()
        self.length = 0
        """Bases so far; the rest holds once the lanes have been waited for."""
        self.lower = 0
        self._checksums: list[npt.NDArray[np.uint32]] = []
        self._n_counts: list[npt.NDArray[np.uint16]] = []

    def steps(self, block: npt.NDArray[np.uint8], bases: int) -> tuple[Callable[[], None], ...]:
        """The steps that a block needs, as `even_blocks` gave it. They may run side by side."""
        self.length += bases
        upper = block[:bases] & UPPER

        def count() -> None:
            self._checksums.append(chunk_checksums(block, self._chunk))
            self._n_counts.append(count_n(block))
            self.lower += int(np.count_nonzero(block[:bases] & ~UPPER))

        return lambda: self.digester.update_refget(upper), lambda: self.digester.update_md5(upper), count

    @property
    def checksums(self) -> npt.NDArray[Any]:
        """CRC-32C of each chunk."""
        return np.concatenate([np.empty(0, np.uint32), *self._checksums])

    @property
    def n_counts(self) -> npt.NDArray[Any]:
        """N in each block of 1,024 bases."""
        return np.concatenate([np.empty(0, np.uint16), *self._n_counts])
