"""What a model of variants has to beat: GC, CpG, the mutability of a trinucleotide, a Markov chain's log ratio.

Each gives a number a variant, higher for what it holds to be likelier (benign, common).
"""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from dnamamba.corpus import open_corpus
from dnamamba.markov import MarkovModel, fit_markov
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.reference import Reference
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.pipelines.variants import Variant, reverse_complement, trimmed

_AROUND = 50  # bases on each side for GC
_BLOCK = 50_000  # bases of a fold: a table is counted on the folds that its variants do not lie in


def gc(reference: Reference, variants: list[Variant]) -> np.ndarray:
    """Share of G and C in the 101 bases around."""
    return np.array([_share(_letters(reference, v, v.pos - 1 - _AROUND, v.pos + _AROUND)) for v in variants])


def _share(letters: str) -> float:
    return sum(x in "GC" for x in letters) / max(1, sum(x in "ACGT" for x in letters))


def cpg(reference: Reference, variants: list[Variant]) -> np.ndarray:
    """1 for a transition of a CpG, which is an order of magnitude more mutable, else 0."""
    changes = (_change(reference, v) for v in variants)
    return np.array([float(c is not None and c[0][1:] == "CG" and c[1] == "T") for c in changes])


def mutability(
    reference: Reference, variants: list[Variant], known: list[Variant], letters: str, *, same: bool
) -> np.ndarray:
    """Log of the share of a trinucleotide's places that have a common variant with this change; 0 for indels.

    Args:
        reference, variants: what is judged.
        known: common variants, of a Mb of which `letters` are the bases; changes of both strands are counted as one.
        same: the variants lie in that Mb: each is judged by a table that the 50 kb around it has no part in.
    """
    if not same:
        table = _table(known, letters, lambda _: True)
        return np.array([table.get(_change(reference, v), 0.0) for v in variants])
    tables = [_table(known, letters, lambda at, f=f: at // _BLOCK % 2 != f) for f in range(2)]
    return np.array([tables[v.pos // _BLOCK % 2].get(_change(reference, v), 0.0) for v in variants])


def _table(known, letters, counted):
    """(trinucleotide with C or T... of either strand, ALT) -> log rate."""
    places = Counter(_fold(letters[i - 1 : i + 2]) for i in range(1, len(letters) - 1) if counted(i))
    changes = Counter()
    for v in known:
        context = letters[v.pos - 2 : v.pos + 1]
        if counted(v.pos) and len(context) == 3:
            changes[_folded(context, v.alt)] += 1
    bases = "ACGT"
    every = {(a + b + c, d) for a in bases for b in "CT" for c in bases for d in bases if d != b}
    return {key: float(np.log((changes[key] + 0.5) / (places[key[0]] + 1))) for key in every}


def _fold(context: str) -> str:
    return context if context[1:2] in "CT" else reverse_complement(context)


def _folded(context: str, alt: str) -> tuple[str, str]:
    return (context, alt) if context[1] in "CT" else (reverse_complement(context), reverse_complement(alt))


def _change(reference: Reference, variant: Variant) -> tuple[str, str] | None:
    if len(variant.ref) != 1 or len(variant.alt) != 1:
        return None
    context = _letters(reference, variant, variant.pos - 2, variant.pos + 1)
    return _folded(context, variant.alt) if len(context) == 3 and set(context) <= set("ACGT") else None


def _letters(reference: Reference, variant: Variant, start: int, end: int) -> str:
    contig = reference.resolve(variant.chrom)
    assert contig is not None
    start, end = max(0, start), min(end, reference.contigs[contig])
    return reference.fetch(contig, start, end).tobytes().decode().upper()


def train_markov(files: list[Path], order: int = 11) -> MarkovModel:
    """A chain fitted on genomes other than those that are scored."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/store"
        for file in files:
            ingest(file, store)
        return fit_markov(open_corpus([store], SplitConfig()), order=order)


def markov(model: MarkovModel, reference: Reference, variants: list[Variant]) -> np.ndarray:
    """Log-likelihood of ALT over REF and of the bases whose chain they are in, mean of both strands, nats.

    Alleles of other lengths are taken against their own length times the chain's mean nats a base, as the scorer does.
    """
    mean = -min(model.validation)
    return np.array([_ratio(model, reference, v, mean) for v in variants])


def _ratio(model: MarkovModel, reference: Reference, variant: Variant, mean: float) -> float:
    edit = trimmed(variant.pos - 1, variant.ref, variant.alt)
    order = model.order
    left = _letters(reference, variant, edit.start - order, edit.start)
    right = _letters(reference, variant, edit.end, edit.end + order)
    old = _letters(reference, variant, edit.start, edit.end)
    total = 0.0
    for turn in (str, reverse_complement):
        before, after = (left, right) if turn is str else (turn(right), turn(left))
        sums = [_sum(model, before, turn(allele) + after, len(before)) for allele in (edit.alt, old)]
        total += (sums[0] - sums[1]) / 2
    return total - mean * (len(edit.alt) - len(old))


def _sum(model: MarkovModel, before: str, rest: str, first: int) -> float:
    tokens = DNA.encode(np.frombuffer((before + rest).encode(), np.uint8))
    return float(np.nansum(model.log_p(tokens, first)))
