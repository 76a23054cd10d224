"""Regions as samtools writes them: text in, 0-based half-open intervals out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from dnamamba.errors import InputError
from dnamamba.pipelines.contig_kinds import other_spelling


@dataclass(frozen=True, order=True)
class Region:
    """Bases start to end of a contig, 0-based and half-open."""

    contig: str
    start: int
    end: int

    def __len__(self) -> int:
        """Number of bases."""
        return self.end - self.start

    def __str__(self) -> str:
        """The region as samtools writes it, 1-based with both ends included; `parse_region` reads it back."""
        return f"{self.contig}:{self.start + 1}-{self.end}"


def parse_region(text: str, sizes: Mapping[str, int], aliases: Mapping[str, str] = MappingProxyType({})) -> Region:
    """Read a region the way samtools writes one.

    Args:
        text: "chr1", "chr1:1,001-2,000", "chr1:1,001" (from there to the contig's end) or "chr1:-2,000". Bases,
            1-based, both ends included. Braces around the contig, "{HLA:01}:1-9", settle what a colon means.
        sizes: length of every contig, in bases.
        aliases: other name -> contig (`Assembly.aliases`). A contig's own name goes before an alias.

    Returns:
        The same bases, under the contig's own name, 0-based and half-open; the second example above holds 1,000 of
        them.

    Raises:
        InputError: another form, an unknown contig, bases outside the contig, or a text that is a contig's name and
            also a region of another one.

    Source: the samtools manual, region syntax (samtools faidx, samtools view).
    """
    braced = re.fullmatch(r"\{(.+)\}(:.*)?", text)
    if (whole := _contig(text, sizes, aliases)) is not None:  # also the HLA contigs, whose names hold colons
        _check_unambiguous(text, sizes, aliases)
        return Region(whole, 0, sizes[whole])
    name, colon, rest = (braced[1], *(braced[2] or "").partition(":")[1:]) if braced else text.rpartition(":")
    contig, numbers = _contig(name, sizes, aliases), re.fullmatch(r"([0-9,]*)(?:-([0-9,]*))?", rest)
    if contig is None or numbers is None:
        near = get_close_matches(name or text, [*sizes, *aliases], n=1)
        hint = f"; is {near[0]!r} meant?" if near and near[0] != name else ""
        raise InputError(f"region {text!r}: want contig:start-end, the contig in this genome{hint}")
    if colon and not (numbers[1] or numbers[2]):
        raise InputError(f"region {text!r}: want contig:start-end, with a start or an end after the colon")
    size = sizes[contig]
    if not colon:
        return Region(contig, 0, size)
    first = _position(numbers[1], text) if numbers[1] else 1
    last = _position(numbers[2], text) if numbers[2] else size
    if not 1 <= first <= last <= size:
        raise InputError(f"region {text!r}: want 1 <= start <= end <= {size:,}")
    return Region(contig, first - 1, last)


def _contig(name: str, sizes: Mapping[str, int], aliases: Mapping[str, str]) -> str | None:
    if name in sizes:
        return name
    if name in aliases:
        return aliases[name]
    other = other_spelling(name)
    return other if other in sizes else None


def _check_unambiguous(text: str, sizes: Mapping[str, int], aliases: Mapping[str, str]) -> None:
    """Refuse the name of a contig that reads as a region of another contig too."""
    contig, _, rest = text.rpartition(":")
    if _contig(contig, sizes, aliases) is not None and re.fullmatch(r"[0-9,]+-?[0-9,]*|-[0-9,]+", rest):
        raise InputError(
            f"region {text!r}: is a contig and also a region of contig {contig!r}; "
            f"write {{{text}}} or {{{contig}}}:{rest}"
        )


def _position(digits: str, text: str) -> int:
    """A number with or without commas between its thousands."""
    if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{3}){1,5}|[0-9]{1,18}", digits):
        raise InputError(f"region {text!r}: {digits!r} is no position; want digits, as in 1,001 or 1001")
    return int(digits.replace(",", ""))
