"""A fork: where a haplotype leaves the reference, as one strand reads it, and what is read from there on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.variants import Edit, check_apart, strand_edit
from dnamamba.scoring.strand import Strand, Tokens

Alleles = tuple[int, str, str]
"""First base of REF on the forward strand (0-based), REF, ALT."""


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """A haplotype from its first base that differs to the last base of the horizon. Positions are along the strand."""

    start: int
    """First base that differs."""
    end: int
    """One past the last reference base that is replaced."""
    tokens: Tokens
    """What the haplotype has in place of [start, end)."""
    own: NDArray[np.bool_]
    """Which of `tokens` are letters of an allele; the others are reference bases between two variants."""
    spans: tuple[tuple[int, int], ...]
    """Reference bases that are letters of an allele, inside [start, end)."""
    uneven: bool
    """Whether an allele has another number of letters than the reference there."""
    horizon: int
    """Reference bases read from `end` on."""

    @property
    def reach(self) -> int:
        """One past the last reference base that is read."""
        return self.end + self.horizon


def make_fork(strand: Strand, alleles: Sequence[Alleles], horizon: int) -> Fork:
    """The fork of a haplotype with one or several variants.

    Args:
        strand: that reads it.
        alleles: of the variants, in any order.
        horizon: reference bases to read after the last one; the contig's end cuts it.

    Raises:
        InputError: two variants overlap.
    """
    if len(alleles) == 1:  # most haplotypes have one variant
        edit = strand_edit(*alleles[0], strand.length, reverse=strand.reverse)
        letters = _letters(edit)
        uneven = len(letters) != edit.end - edit.start
        own = np.ones(len(letters), np.bool_)
        horizon = min(horizon, strand.length - edit.end)
        return Fork(edit.start, edit.end, letters, own, ((edit.start, edit.end),), uneven, horizon)
    edits = sorted(
        (strand_edit(*each, strand.length, reverse=strand.reverse) for each in alleles),
        key=lambda edit: (edit.start, edit.end),
    )
    check_apart(edits)
    start, end = edits[0].start, edits[-1].end
    pieces: list[Tokens] = []
    marks: list[NDArray[np.bool_]] = []
    at = start
    for edit in edits:
        if edit.start > at:
            pieces.append(strand.tokens(at, edit.start))
            marks.append(np.zeros(edit.start - at, np.bool_))
        pieces.append(_letters(edit))
        marks.append(np.ones(len(edit.alt), np.bool_))
        at = edit.end
    spans = tuple((edit.start, edit.end) for edit in edits)
    horizon = min(horizon, strand.length - end)
    uneven = any(len(edit.alt) != edit.end - edit.start for edit in edits)
    return Fork(start, end, np.concatenate(pieces), np.concatenate(marks), spans, uneven, horizon)


def _letters(edit: Edit) -> Tokens:
    return np.take(DNA.table, np.frombuffer(edit.alt.encode(), np.uint8))
