"""Random variants of a genome, as many of each stratum: what a score is compared with.

They are drawn from stretches of the genome, so that they share streams: spread over the whole genome, each would need
a stream of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.reference import Reference
from dnamamba.pipelines.variants import Variant, trimmed
from dnamamba.scoring.strata import (
    REGIONS,
    length_bounds,
    longer_kinds,
    stratum_of,
    substitution_types,
    type_name,
)

Places = NDArray[np.int64]
_TRIES = 20  # draws of a longer variant before it is given up: N in the way, or another length after trimming


@dataclass(frozen=True)
class Stretches:
    """Pieces of the genome side by side, an N between each two."""

    letters: NDArray[np.uint8]
    """Bytes, case kept, [n]"""
    tokens: NDArray[np.uint8]
    """[n]; 0..3 are A, C, G, T"""
    contigs: tuple[str, ...]
    starts: Places
    """Where each piece starts in `letters`."""
    firsts: Places
    """Its first base in its contig, 0-based."""

    def text(self, start: int, end: int) -> str:
        """Letters, upper case."""
        return self.letters[start:end].tobytes().decode("latin-1").upper()

    def variant(self, at: int, ref: str, alt: str) -> Variant:
        """A variant whose REF starts at a place of `letters`."""
        piece = int(np.searchsorted(self.starts, at, "right")) - 1
        return Variant(self.contigs[piece], int(self.firsts[piece] + at - self.starts[piece]) + 1, ".", ref, alt)


def draw_variants(
    reference: Reference, count: int, length: int, stretches: int, seed: int
) -> list[tuple[Variant, str]]:
    """Variants with their strata.

    Args:
        reference: the genome.
        count: variants of each stratum; fewer where the stretches have no more places for it.
        length: bases of a stretch, at most.
        stretches: how many.
        seed: the same one gives the same variants.
    """
    rng = np.random.default_rng(seed)
    pieces = _read(reference, length, stretches, rng)
    masked = (pieces.letters & 0x20) != 0
    base = pieces.tokens < 4
    whole = np.zeros(len(base), np.bool_)  # the bases on both sides are known
    whole[1:-1] = base[:-2] & base[1:-1] & base[2:]
    code = np.zeros(len(base), np.int64)
    tokens = np.where(base, pieces.tokens, 0).astype(np.int64)
    code[1:-1] = 16 * tokens[:-2] + 4 * tokens[1:-1] + tokens[2:]
    variants: list[tuple[Variant, str]] = []
    for region, here in zip(REGIONS, (~masked, masked), strict=True):
        order = np.flatnonzero(whole & here)
        order = order[np.argsort(code[order], kind="stable")]
        bounds = np.searchsorted(code[order], np.arange(65))
        variants += _substitutions(pieces, region, order, bounds, count, rng)
        variants += _longer(reference, pieces, region, order, count, rng)
    return variants


def _read(reference: Reference, length: int, count: int, rng: np.random.Generator) -> Stretches:
    """Each base of the genome as likely as any other; all of it where it has no more."""
    cells = [
        (contig, start, min(start + length, size))
        for contig, size in reference.contigs.items()
        for start in range(0, size, length)
    ]
    if len(cells) > count:
        sizes = np.array([end - start for _, start, end in cells], np.float64)
        chosen = rng.choice(len(cells), count, replace=False, p=sizes / sizes.sum())
        cells = [cells[i] for i in sorted(chosen.tolist())]
    gap = np.frombuffer(b"N", np.uint8)
    parts = [part for contig, start, end in cells for part in (reference.fetch(contig, start, end), gap)]
    letters = np.concatenate([gap, *parts])
    lengths = np.array([end - start for _, start, end in cells], np.int64)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])
    firsts = np.array([start for _, start, _ in cells], np.int64)
    return Stretches(letters, np.take(DNA.table, letters), tuple(contig for contig, _, _ in cells), starts, firsts)


def _substitutions(
    pieces: Stretches, region: str, order: Places, bounds: Places, count: int, rng: np.random.Generator
) -> Iterator[tuple[Variant, str]]:
    """Of one base: places by trinucleotide are `order[bounds[code] : bounds[code + 1]]`."""
    for around, alt in substitution_types():
        a, b, c = ("ACGT".index(letter) for letter in around)
        same, turned = 16 * a + 4 * b + c, 16 * (3 - c) + 4 * (3 - b) + (3 - a)
        pool = np.concatenate([order[bounds[code] : bounds[code + 1]] for code in (same, turned)])
        for at in np.sort(rng.choice(pool, min(count, len(pool)), replace=False)).tolist():
            ref = pieces.text(at, at + 1)
            letter = alt if ref == around[1] else "TGCA"["ACGT".index(alt)]
            yield pieces.variant(at, ref, letter), type_name(around, alt, region)


def _longer(
    reference: Reference, pieces: Stretches, region: str, pool: Places, count: int, rng: np.random.Generator
) -> Iterator[tuple[Variant, str]]:
    """Of several bases, and indels. What is put in is a piece of the genome from elsewhere: letters of another
    composition would score by that."""
    for kind, bound in longer_kinds():
        low, high = length_bounds(bound)
        wanted = f"{kind} {bound} {region}"
        for _ in range(count if len(pool) else 0):
            for _ in range(_TRIES):
                at, other = (int(pool[i]) for i in rng.integers(len(pool), size=2))
                size = int(rng.integers(low, high + 1))
                new = pieces.text(other, other + size)
                before = pieces.text(at - 1, at)
                old = pieces.text(at, at + size) if kind != "insertion" else ""
                alt = before + (new if kind != "deletion" else "")
                if len(new) < size or len(alt) + len(old) < 2 or not set(before + old + alt) <= set("ACGT"):
                    continue
                variant = pieces.variant(at - 1, before + old, alt)
                edit = trimmed(variant.pos - 1, variant.ref, variant.alt)
                if variant.ref != variant.alt and stratum_of(reference, variant.chrom, edit) == wanted:
                    yield variant, wanted
                    break
