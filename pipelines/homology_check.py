"""No locus may be trained on in one species and held out in another: checked for every split, however it was made."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple, Protocol

from dnamamba.errors import InputError
from dnamamba.pipelines.homology import Family, Locus


class _Region(Protocol):
    """Bases of a contig, 0-based, half-open; a SplitRegion is one."""

    @property
    def assembly(self) -> str: ...
    @property
    def contig(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class _Place(NamedTuple):
    """Where a region lies along its family."""

    start: float
    end: float
    part: str
    locus: Locus


def refuse_parted_families(families: Sequence[Family], labelled: Iterable[tuple[str, _Region]]) -> None:
    """Raise InputError when homologous bases of two contigs are in two parts; both contigs are named.

    Args:
        families: of all contigs.
        labelled: every region of the split with its part.
    """
    placed: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for part, region in labelled:
        placed.setdefault((region.assembly, region.contig), []).append((part, region.start, region.end))
    for family in families:
        if len(family.loci) > 1:
            _refuse_parted(family, placed)


def _refuse_parted(family: Family, placed: dict[tuple[str, str], list[tuple[str, float, float]]]) -> None:
    lengths = [locus.length for locus in family.main]
    longest = max(lengths)
    # Between contigs of different length a locus may have moved by the difference.
    spread = longest - min(lengths) if family.collinear else 0
    places = []
    for locus in family.loci:
        for part, start, end in placed.get((locus.assembly, locus.contig), ()):
            if family.collinear and locus in family.main:  # fractions of the contig are the same place in all
                scale = longest / locus.length
                places.append(_Place(start * scale, end * scale, part, locus))
            else:  # any two places may be one
                places.append(_Place(-inf, inf, part, locus))
    places.sort(key=lambda place: place[:3])
    reach: dict[str, tuple[float, Locus]] = {}
    for start, end, part, locus in places:
        for other, (until, whose) in reach.items():
            if other != part and whose != locus and start < until - spread:
                raise InputError(
                    f"split: {locus} is {part} where {whose}, its homolog ({family.name}), is {other}: the same "
                    f"sequence in both; put {family.name} into one part in every species"
                )
        if part not in reach or reach[part][0] < end:
            reach[part] = (end, locus)
