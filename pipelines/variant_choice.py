"""Which records of a variant file are wanted: those in regions, or a BED file's, and not on contigs that are left out.

A record belongs to a region when its POS lies in it: of regions that do not overlap, each record is in one.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dnamamba.errors import InputError, UsageError
from dnamamba.pipelines.contig_kinds import CLASSES, contig_kind
from dnamamba.pipelines.ingest_source import name_fits
from dnamamba.pipelines.regions import Region, parse_region
from dnamamba.pipelines.variant_files import VariantFile, VariantRecord

Resolve = Callable[[str], str | None]


class VariantChoice:
    """Says of a position whether it is wanted."""

    def __init__(self, resolve: Resolve, regions: Sequence[Region] | None, exclude: Sequence[str]) -> None:
        """
        Args:
            resolve: a file's name of a contig -> the genome's, None where it has none.
            regions: the wanted ones, under the genome's names; None wants all, and contigs that it does not know too.
            exclude: names, patterns ("chrUn_*") or classes ("@alt") of contigs that are not wanted.

        Raises:
            InputError: "@" before a word that is no class.
        """
        for pattern in exclude:
            if pattern.startswith("@") and pattern[1:] not in CLASSES:
                raise UsageError(f"--exclude {pattern}: no such class; want @{', @'.join(CLASSES)}")
        self._resolve, self._exclude = resolve, tuple(exclude)
        self._merged = None if regions is None else merge(regions)
        self._known: dict[str, tuple[list[int], list[int]] | None] = {}  # name in the file -> starts, ends of regions

    def __call__(self, chrom: str, pos: int) -> bool:
        """Whether a record of contig `chrom` at `pos`, 1-based, is wanted."""
        if chrom not in self._known:
            self._known[chrom] = self._intervals(chrom)
        intervals = self._known[chrom]
        if intervals is None:
            return False
        starts, ends = intervals
        at = bisect_right(starts, pos - 1) - 1
        return not starts or (at >= 0 and pos - 1 < ends[at])

    def pieces(self, chroms: Iterable[str]) -> list[tuple[str, int, int]] | None:
        """The wanted bases of contigs of a file, in its order; None where contigs are wanted whole."""
        if self._merged is None:
            return None
        found = ((chrom, self._intervals(chrom) or ([], [])) for chrom in chroms)
        return [(chrom, start, end) for chrom, both in found for start, end in zip(*both, strict=True)]

    def _intervals(self, chrom: str) -> tuple[list[int], list[int]] | None:
        """None: the contig is not wanted; no intervals: all of it is."""
        contig = self._resolve(chrom)
        names = {chrom} if contig is None else {chrom, contig}
        if any(name_fits(p, name, None, contig_kind(name)) for p in self._exclude for name in names):
            return None
        if self._merged is None:
            return [], []
        if contig is None or contig not in self._merged:
            return None
        return [start for start, _ in self._merged[contig]], [end for _, end in self._merged[contig]]


def wanted_records(file: VariantFile, choice: VariantChoice | None) -> Iterator[VariantRecord]:
    """The records of a file that are wanted, in its order. Regions of a file with an index are read by it.

    Raises:
        InputError: as `VariantFile.records`.
    """
    if choice is None:
        yield from file.records()
        return
    names = file.index()
    pieces = None if names is None else choice.pieces(names)
    if pieces is None:
        yield from (record for record in file.records() if choice(record.chrom, record.pos))
        return
    for piece in pieces:
        yield from file.fetch(*piece)


def merge(regions: Iterable[Region]) -> dict[str, list[tuple[int, int]]]:
    """Regions of each contig in order, joined where they overlap or touch."""
    merged: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for region in sorted(regions):
        intervals = merged[region.contig]
        if intervals and region.start <= intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], region.end))
        else:
            intervals.append((region.start, region.end))
    return dict(merged)


def choose_regions(
    regions: Sequence[str], bed: str | None, sizes: Mapping[str, int], resolve: Resolve
) -> list[Region] | None:
    """The regions that `--region` and `--bed` ask for together; None where neither is given.

    Args:
        regions: as samtools writes them, 1-based with both ends included.
        bed: path of a BED file.
        sizes: contig -> bases of the genome.
        resolve: other name of a contig -> its own.

    Raises:
        InputError: a region that the genome does not have, or a line that is no interval of it.
    """
    if not regions and bed is None:
        return None
    chosen = [_parse(text, sizes, resolve) for text in regions]
    return chosen + (read_bed(Path(bed), sizes, resolve) if bed is not None else [])


def _parse(text: str, sizes: Mapping[str, int], resolve: Resolve) -> Region:
    names = (text, text.rpartition(":")[0])
    aliases = {name: contig for name in names if name not in sizes and (contig := resolve(name)) is not None}
    return parse_region(text, sizes, MappingProxyType(aliases))


def read_bed(path: Path, sizes: Mapping[str, int], resolve: Resolve) -> list[Region]:
    """Read the first three columns of a BED file; comments, track and browser lines are passed over.

    Raises:
        InputError: with file and line: too few columns, no numbers, an unknown contig, an interval outside it; or a
            file without intervals.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"--bed {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"--bed {path}: not a text file") from None
    found = [
        _read_line(f"{path}, line {number}", line, sizes, resolve)
        for number, line in enumerate(lines, 1)
        if line.strip() and line[0] != "#" and line.split()[0] not in ("track", "browser")
    ]
    if not found:
        raise InputError(f"--bed {path}: holds no intervals")
    return found


def _read_line(where: str, line: str, sizes: Mapping[str, int], resolve: Resolve) -> Region:
    columns = line.split("\t") if "\t" in line else line.split()
    numbers = columns[1:3]
    if len(numbers) < 2 or not all(text.isascii() and text.isdigit() for text in numbers):
        raise InputError(f"{where}: want contig, start and end, got {line.strip()[:80]!r}")
    contig, (start, end) = resolve(columns[0]), map(int, numbers)
    if contig is None:
        raise InputError(f"{where}: no contig {columns[0]!r} in the genome; it has {', '.join(list(sizes)[:8])}")
    if not start < end <= sizes[contig]:
        raise InputError(f"{where}: want start < end <= {sizes[contig]:,} (the length of {contig}), got {start}-{end}")
    return Region(contig, start, end)
