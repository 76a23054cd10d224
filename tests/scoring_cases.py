"""Made genomes and variants for the tests of scoring, and scores by the naive engine."""

import random

from dnamamba.pipelines.reference import Reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.naive import naive_parts
from dnamamba.scoring.strand import Strand

LETTERS = "ACGTacgtACGTACGT"
COMPLEMENT = str.maketrans("ACGTacgtNRYSWKMBDHVnryswkmbdhv", "TGCAtgcaNYRSWMKVHDBnyrswmkvhdb")


def made_sequence(length: int, seed: int, odd: str = "NR") -> str:
    """Random letters of both cases; one in forty is odd, and there is one long run of N."""
    rng = random.Random(seed)
    letters = [rng.choice(LETTERS) if rng.random() > 1 / 40 or not odd else rng.choice(odd) for _ in range(length)]
    gap = length // 3
    letters[gap : gap + 70] = "N" * len(letters[gap : gap + 70]) if odd else letters[gap : gap + 70]
    return "".join(letters)


def made_variants(sequence: str, count: int, seed: int, contig: str = "c1") -> list[Variant]:
    """Substitutions, insertions and deletions at random places, and at both ends; some cannot be scored."""
    rng = random.Random(seed)
    variants = []
    for number in range(count):
        start = rng.randrange(len(sequence))
        ref = sequence[start : start + rng.choice([1, 1, 1, 2, 5, 40])]
        alt = "".join(rng.choice("ACGTacgt") for _ in range(rng.choice([1, 1, 1, 3, 90])))
        variants.append(Variant(contig, start + 1, f"v{number}", ref, alt))
    end = len(sequence)
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    first, last = sequence[0], sequence[-1]
    variants += [
        Variant(contig, 1, "first", first, other.get(first.upper(), "A")),
        Variant(contig, 1, "before", first, "GATTACA" + first),
        Variant(contig, end, "last", last, other.get(last.upper(), "A")),
        Variant(contig, end, "behind", last, last + "GATTACA"),
        Variant(contig, end - 20, "to the end", sequence[-21:], sequence[-21]),
        Variant(contig, 50, "long", sequence[49 : 49 + end // 2], sequence[49]),
    ]
    return variants


def reversed_variant(variant: Variant, length: int) -> Variant:
    """The same variant on the reverse complement of its contig."""
    ref, alt = (allele.translate(COMPLEMENT)[::-1] for allele in (variant.ref, variant.alt))
    return Variant(variant.chrom, length - (variant.pos - 1 + len(variant.ref)) + 1, variant.id, ref, alt)


def naive_scores(model, reference: Reference, variants: list[Variant], context: int | None, horizon: int):
    """(forward, reverse) parts of variants on one haplotype."""
    contig = reference.resolve(variants[0].chrom)
    strands = (Strand(reference, contig, reverse=reverse) for reverse in (False, True))
    return [naive_parts(model, strand, variants, context=context, horizon=horizon) for strand in strands]


def write_fasta(path, **contigs: str):
    """Contigs as FASTA, 60 letters a line."""
    lines = []
    for name, sequence in contigs.items():
        lines += [f">{name} a comment", *(sequence[i : i + 60] for i in range(0, len(sequence), 60))]
    path.write_text("\n".join(lines) + "\n")
    return path
