"""One assembly cut into shares that different processes write: no two of them touch one shard."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dnamamba.pipelines.compression import TextPart
from dnamamba.pipelines.store_format import Layout


@dataclass(frozen=True, slots=True)
class KnownContig:
    """A contig of a source that has been read once. Length in bases as they will be stored."""

    name: str
    description: str
    length: int
    part: TextPart | None = None
    """Where a FASTA file has it; None for 2bit, and for compressed text that cannot be entered in its middle."""


@dataclass(frozen=True, slots=True)
class PlacedContig:
    """A contig and its offset in `sequence`, in bases."""

    contig: KnownContig
    offset: int


@dataclass(slots=True)
class Share:
    """What one process does: the contigs that start here, read whole, and all bases of shards [first, last).

    A contig of up to a shard's length may reach past `last`: the next share has it as its `tail` and writes the rest.
    """

    first: int
    last: int
    contigs: list[PlacedContig] = field(default_factory=list)
    tail: PlacedContig | None = None

    @property
    def bases(self) -> int:
        """Bases of the contigs that start here."""
        return sum(placed.contig.length for placed in self.contigs)


def place_all(contigs: Sequence[KnownContig], layout: Layout) -> list[PlacedContig]:
    """Where each contig goes: the offsets that a writer gives them one after the other."""
    placed, end = [], 0
    for contig in contigs:
        offset = layout.place(end, contig.length)
        placed.append(PlacedContig(contig, offset))
        end = layout.end(offset, contig.length)
    return placed


def cut_shares(placed: Sequence[PlacedContig], layout: Layout, *, whole: bool = False) -> list[Share]:
    """Cut an assembly at shard borders into as many shares as there can be.

    Args:
        placed: its contigs, in order.
        layout: sizes of chunk and shard, in bases.
        whole: make one share of everything: the source can be read from its start only.

    Returns:
        Shares in the order of their shards. A contig longer than a shard is never cut: one process digests it.
    """
    shares: list[Share] = []
    tail: PlacedContig | None = None
    for number, one in enumerate(placed):
        first, length = one.offset // layout.shard, one.contig.length
        last = (one.offset + max(length, 1) - 1) // layout.shard
        if not shares or (first >= shares[-1].last and not whole):
            shares.append(Share(first, first, tail=tail))
        tail = None
        share = shares[-1]
        share.contigs.append(one)
        follower = placed[number + 1].offset // layout.shard if number + 1 < len(placed) else None
        if not whole and length <= layout.shard and last > first and follower == last:
            share.last, tail = max(share.last, last), one
        else:
            share.last = max(share.last, last + 1)
    return shares
