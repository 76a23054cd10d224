"""A split written as BED: contig, start, end and, in the fourth column, the part. HyenaDNA's and Basenji's files read
as they are."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from dnamamba.errors import InputError

PART_NAMES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}


class BedInterval(NamedTuple):
    """One line. 0-based, half-open, as BED is."""

    path: Path
    line: int
    contig: str
    start: int
    end: int
    part: str


def read_split_bed(
    path: Path, sizes: Mapping[str, int], resolve: Callable[[str], str] | None = None
) -> list[BedInterval]:
    """Read and check a BED file of a split, tabs or blanks between columns; comments, track and browser lines are
    passed over. A contig may be called track or browser.

    Args:
        path: of the file.
        sizes: contig -> bases of the genome that the file speaks of.
        resolve: turns an alias into the contig's name; raises InputError where there is none.

    Raises:
        InputError: with the line's number: too few columns, no number, an unknown part or contig, an interval that is
            empty or ends past its contig; or a file without intervals.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # with or without a byte order mark
    except OSError as error:
        raise InputError(f"split.bed: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"split.bed: {path}: not a text file") from None
    found = []
    for number, line in enumerate(lines, 1):
        columns = [column.strip() for column in (line.split("\t") if "\t" in line else line.split())]
        if line.strip() and not line.startswith("#") and not _is_display_line(columns):
            found.append(_read_line(path, number, columns, sizes, resolve))
    if not found:
        raise InputError(f"split.bed: {path}: holds no intervals")
    return found


def _is_display_line(columns: list[str]) -> bool:
    """Whether a line tells a genome browser how to show what follows."""
    numbers = len(columns) > 2 and all(column.isdecimal() for column in columns[1:3])  # a contig may have that name
    return columns[0].split()[:1] in (["track"], ["browser"]) and not numbers


def _read_line(
    path: Path, line: int, columns: list[str], sizes: Mapping[str, int], resolve: Callable[[str], str] | None
) -> BedInterval:
    where = f"{path}, line {line}"
    if len(columns) < 4:
        raise InputError(f"{where}: want contig, start, end and train, valid or test; got {' '.join(columns)!r}")
    contig, first, last, part = columns[:4]
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise InputError(f"{where}: want whole numbers for start and end, got {first!r} and {last!r}")
    if part.lower() not in PART_NAMES:
        raise InputError(f"{where}: want train, valid or test in the fourth column, got {part!r}")
    if contig not in sizes and resolve is not None:
        with suppress(InputError):  # the message below names the line
            contig = resolve(contig)
    if contig not in sizes:
        near = get_close_matches(contig, sizes, n=1)
        hint = f"; is {near[0]!r} meant?" if near else f"; it has {', '.join(list(sizes)[:8])}"
        raise InputError(f"{where}: no contig {contig!r} in the genome{hint}")
    if not int(first) < int(last) <= sizes[contig]:
        raise InputError(f"{where}: want start < end <= {sizes[contig]:,} (the length of {contig}), got {first}-{last}")
    return BedInterval(path, line, contig, int(first), int(last), PART_NAMES[part.lower()])


def merge_intervals(intervals: list[BedInterval]) -> list[BedInterval]:
    """Join what overlaps or touches within a part, in order of contig and start. A joint one is of the line that
    reaches furthest.

    Raises:
        InputError: a base that is in two parts; both lines are named.
    """
    merged: list[BedInterval] = []
    for interval in sorted(intervals, key=lambda one: (one.contig, one.start, one.end)):
        last = merged[-1] if merged else None
        if last is None or last.contig != interval.contig or last.end < interval.start:
            merged.append(interval)
        elif last.part == interval.part:
            if interval.end > last.end:
                merged[-1] = interval._replace(start=last.start)
        elif last.end == interval.start:
            merged.append(interval)
        else:
            there = f"line {last.line}" if last.path == interval.path else f"{last.path}, line {last.line}"
            raise InputError(
                f"{interval.path}, line {interval.line}: {interval.contig}:{interval.start}-{interval.end} is "
                f"{interval.part} but overlaps {last.part} of {there}; a base may be in one part only"
            )
    return merged
