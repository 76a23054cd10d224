"""Tracks as files: bigWig, or bedGraph, plain or bgzip with an index; a line for each base that has a value."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dnamamba.errors import InputError, UsageError
from dnamamba.files import beside, sync
from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.regions import Region
from dnamamba.pipelines.variant_files import quiet_htslib
from dnamamba.scoring.base_track import Values

Blocks = Iterable[tuple[Region, int, Values]]
"""Region, first base of the values on its contig (0-based), the values; in the order of the genome, none twice."""
_BIGWIG, _BEDGRAPH = (".bw", ".bigwig"), (".bedgraph", ".bdg", ".bg")


def is_bigwig(out: str) -> bool:
    """Which of the two a name means.

    Raises:
        InputError: neither.
    """
    name = out.lower()
    if name.endswith(_BIGWIG):
        return True
    if out == "-" or name.removesuffix(".gz").endswith(_BEDGRAPH):
        return False
    raise UsageError(f"{out}: want a name that ends in .bw, .bedgraph or .bedgraph.gz, or - for bedGraph")


def write_track(out: str, sizes: Mapping[str, int], blocks: Blocks) -> int:
    """Write a track; the file appears whole.

    Args:
        out: path that ends in .bw, .bigwig, .bedgraph, .bdg or .bg, the latter perhaps with .gz; or "-".
        sizes: contig -> bases, of the whole genome.
        blocks: the values.

    Returns:
        Bases that have a value.

    Raises:
        InputError: a name that says no format, no base has a value, or the file cannot be written.
    """
    if out == "-":
        return _write_text(sys.stdout.buffer, blocks)
    path = Path(out)
    suffix = ".bw" if is_bigwig(out) else path.suffix.lower()
    aside = beside(path, suffix)
    try:
        if suffix == ".bw":
            count = _write_bigwig(aside, sizes, blocks)
        else:
            with open(aside, "wb") as file:
                if suffix == ".gz":
                    with BgzipWriter(file) as packed:
                        count = _write_text(packed, blocks)
                else:
                    count = _write_text(file, blocks)
        if not count:
            raise InputError(f"{out}: no base of the region has a value: all of them are N or ambiguous")
        sync(aside)
        index = _index(aside) if suffix == ".gz" else None
        path.with_name(path.name + ".tbi").unlink(missing_ok=True)
        path.with_name(path.name + ".csi").unlink(missing_ok=True)
        aside.replace(path)
        if index is not None:
            index.replace(path.with_name(path.name + ".csi"))
    finally:
        for end in ("", ".csi"):
            aside.with_name(aside.name + end).unlink(missing_ok=True)
    return count


def _index(aside: Path) -> Path:
    import pysam

    with quiet_htslib():
        pysam.tabix_index(str(aside), preset="bed", force=True, csi=True)  # contigs of any length
    return aside.with_name(aside.name + ".csi")


def _write_text(file: Any, blocks: Blocks) -> int:
    count = 0
    for region, start, values in blocks:
        places = np.flatnonzero(~np.isnan(values))
        count += len(places)
        rows = zip((places + start).tolist(), values[places].tolist(), strict=True)
        file.write("".join(f"{region.contig}\t{at}\t{at + 1}\t{value:.6g}\n" for at, value in rows).encode())
    return count


def _write_bigwig(path: Path, sizes: Mapping[str, int], blocks: Blocks) -> int:
    import pybigtools

    rows = _Rows(blocks)
    first = next(rows, None)
    if rows.error is not None:
        raise rows.error
    if first is None:  # the library refuses a file without values, in its own words
        return 0
    try:
        pybigtools.open(str(path), "w").write(dict(sizes), chain((first,), rows))
    except Exception as error:  # the library has no other kind
        raise rows.error or InputError(f"{path}: cannot be written: {error}") from None
    if rows.error is not None:
        raise rows.error
    return rows.count


class _Rows:
    """The values as the library wants them, one by one. It prints an error of ours and raises one of its own: an error
    ends the rows, and is kept."""

    def __init__(self, blocks: Blocks) -> None:
        self.count = 0
        self.error: BaseException | None = None
        self._rows = self._all(blocks)

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> tuple[str, int, int, float]:
        return next(self._rows)

    def _all(self, blocks: Blocks) -> Iterator[tuple[str, int, int, float]]:
        try:
            for region, start, values in blocks:
                places = np.flatnonzero(~np.isnan(values))
                self.count += len(places)
                for at, value in zip((places + start).tolist(), values[places].tolist(), strict=True):
                    yield region.contig, at, at + 1, value
        except BaseException as error:
            self.error = error
