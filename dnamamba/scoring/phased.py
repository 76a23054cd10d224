"""Haplotypes of a phased VCF: which alleles a sample carries together, in blocks that are scored as one sequence.

A block is a run of alleles on one haplotype of one sample, each at most `horizon` bases behind the last and in the same
phase set: nearer than that, the score of one allele has read the place of the next. Phased genotypes (0|1) without a
phase set (FORMAT PS) are of one set, the whole contig. A homozygous or haploid genotype needs no phase and joins the
block that is there. An unphased heterozygous one (0/1) could lie on either haplotype: each of its alleles is a block of
its own, haplotype ".", and counted. Alleles that cannot be scored, and alleles that overlap one before them on their
haplotype, are left out of its blocks and counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dnamamba.errors import InputError
from dnamamba.in_lists import in_lists
from dnamamba.pipelines.variant_files import VariantFile, VariantRecord
from dnamamba.pipelines.variants import Variant, check_apart, strand_edit
from dnamamba.scoring.types import HaplotypeScore, VariantScore
from dnamamba.table_writer import Cell, Kind

COLUMNS: dict[str, Kind] = {
    "chrom": "str", "start": "int", "end": "int", "sample": "str", "haplotype": "str", "phase_set": "str",
    "alleles": "int", "variants": "str", "score": "float", "allele": "float", "downstream": "float",
    "forward": "float", "reverse": "float", "upstream": "int", "horizon": "int", "alone": "float",
}  # fmt: skip
"""A row a block. start and end, 1-based and both included, span the REF alleles; `variants` lists POS:REF>ALT; `alone`
is the sum of the alleles' single scores, so that score - alone is what they do together."""
_BLOCKS_AT_ONCE = 4096  # equal ones among so many are scored once
UNPHASED, OVERLAP = "heterozygous and not phased, scored alone", "overlaps another allele of its haplotype"


class Genotype(NamedTuple):
    """A sample's alleles in one record."""

    alleles: tuple[int | None, ...]
    """0 is REF; None is missing."""
    phased: bool
    phase_set: str
    """"." where the file names none."""


@dataclass(slots=True)
class Block:
    """Alleles that one haplotype carries together."""

    chrom: str
    sample: str
    haplotype: str
    phase_set: str | None
    """None until an allele that needs a phase has come."""
    variants: list[VariantScore] = field(default_factory=list)

    @property
    def end(self) -> int:
        """One past the last reference base of the alleles, 0-based: their last base, 1-based."""
        return max(v.pos + len(v.ref) - 1 for v in self.variants)


class Scorer(Protocol):
    """What is asked of a `VariantScorer` here."""

    horizon: int

    def score_many(self, variants: Iterable[Variant]) -> Iterator[VariantScore]: ...
    def score_haplotypes(self, haplotypes: Iterable[Sequence[Variant]]) -> Iterator[HaplotypeScore]: ...


def genotypes(record: VariantRecord) -> Iterator[Genotype | None]:
    """The genotype of every sample; None where the record has none.

    Source: the VCF 4.3 specification, 1.6.2; of 4.4, the mark before the first allele.
    """
    columns = record.line.decode(errors="surrogateescape").split("\t")
    keys = columns[8].split(":") if len(columns) > 8 else []
    if "GT" not in keys:
        yield from (None for _ in columns[9:])
        return
    at, of_set = keys.index("GT"), keys.index("PS") if "PS" in keys else -1
    for text in columns[9:]:
        values = text.split(":")
        yield _genotype(values[at] if at < len(values) else ".", values[of_set] if 0 <= of_set < len(values) else ".")


def _genotype(text: str, phase_set: str) -> Genotype:
    body = text[1:] if text[:1] in "|/" else text
    alleles = body.replace("|", "/").split("/")
    phased = "/" not in body and (len(alleles) > 1 or text[:1] != "/")
    return Genotype(tuple(int(a) if a.isdigit() else None for a in alleles), phased, phase_set)


class Blocks:
    """Cuts scored records into blocks."""

    def __init__(self, samples: Sequence[str], horizon: int, length: Callable[[str], int]) -> None:
        """
        Args:
            samples: names, in the order of their columns.
            horizon: bases, the furthest that two neighbours of a block may lie apart.
            length: of the contig that a file's name means, in bases.
        """
        self._samples, self._horizon, self._length = samples, horizon, length
        self._open: dict[tuple[int, int], Block] = {}
        self._chrom, self._swept = "", 0
        self.left_out: Counter[str] = Counter()
        """Reason -> alleles carried by a haplotype (or, of the unphased, by a sample)."""

    def add(self, record: VariantRecord, scores: Sequence[VariantScore]) -> Iterator[Block]:
        """Take in a record with the scores of its alleles; gives the blocks that are finished."""
        if record.chrom != self._chrom or record.pos < self._swept:
            yield from self.finish()
            self._chrom, self._swept = record.chrom, record.pos
        elif record.pos - self._swept > self._horizon:
            yield from self._sweep(record.pos)
        for number, genotype in enumerate(genotypes(record)):
            if genotype is not None:
                yield from self._take(number, genotype, scores)

    def finish(self) -> Iterator[Block]:
        """The blocks that are still open."""
        yield from self._open.values()
        self._open = {}

    def _sweep(self, pos: int) -> Iterator[Block]:
        self._swept = pos
        for key in [key for key, block in self._open.items() if pos - 1 - block.end > self._horizon]:
            yield self._open.pop(key)

    def _take(self, number: int, genotype: Genotype, scores: Sequence[VariantScore]) -> Iterator[Block]:
        carried = [a if a is not None and 0 < a <= len(scores) else 0 for a in genotype.alleles]
        settled = len(set(genotype.alleles)) == 1  # haploid or homozygous: no phase is needed
        if not settled and not genotype.phased:
            for allele in sorted(set(carried) - {0}):
                if self._scored(scores[allele - 1]):
                    self.left_out[UNPHASED] += 1
                    yield Block(self._chrom, self._samples[number], ".", None, [scores[allele - 1]])
            return
        for haplotype, allele in enumerate(carried):
            if allele and self._scored(scores[allele - 1]):
                phase_set = None if settled else genotype.phase_set
                yield from self._join(number, haplotype, phase_set, scores[allele - 1])

    def _scored(self, score: VariantScore) -> bool:
        if score.skipped is not None:
            self.left_out[score.skipped] += 1
        return score.skipped is None

    def _join(self, number: int, haplotype: int, phase_set: str | None, score: VariantScore) -> Iterator[Block]:
        block = self._open.get((number, haplotype))
        if block is not None:
            same_set = phase_set is None or block.phase_set in (None, phase_set)
            if not same_set or score.pos - 1 - block.end > self._horizon:
                yield self._open.pop((number, haplotype))
                block = None
            elif self._overlaps(block, score):
                self.left_out[OVERLAP] += 1
                return
        if block is None:
            block = Block(self._chrom, self._samples[number], str(haplotype + 1), None)
            self._open[number, haplotype] = block
        block.phase_set = block.phase_set if phase_set is None else phase_set
        block.variants.append(score)

    def _overlaps(self, block: Block, score: VariantScore) -> bool:
        """Whether two alleles replace the same bases, on either strand: in repeats the strands trim differently."""
        length = self._length(score.chrom)
        for reverse in (False, True):
            edits = [strand_edit(v.pos - 1, v.ref, v.alt, length, reverse=reverse) for v in (*block.variants, score)]
            try:
                check_apart(sorted(edits, key=lambda edit: (edit.start, edit.end)))
            except InputError:
                return True
        return False


def score_blocks(scorer: Scorer, blocks: Iterable[Block]) -> Iterator[tuple[Cell, ...]]:
    """Rows of `COLUMNS`, in the order of the blocks; a block that several samples carry is scored once, mostly."""
    for some in in_lists(blocks, _BLOCKS_AT_ONCE):
        joint = {_key(block): [_variant(v) for v in block.variants] for block in some if len(block.variants) > 1}
        scores = dict(zip(joint, scorer.score_haplotypes(joint.values()), strict=True))
        for block in some:
            yield _row(block, scores.get(_key(block), block.variants[0]))


def _key(block: Block) -> tuple[tuple[str, int, str, str], ...]:
    return tuple((v.chrom, v.pos, v.ref, v.alt) for v in block.variants)


def _variant(score: VariantScore) -> Variant:
    return Variant(score.chrom, score.pos, score.id, score.ref, score.alt)


def _row(block: Block, score: VariantScore | HaplotypeScore) -> tuple[Cell, ...]:
    variants = block.variants
    listed = ",".join(f"{v.pos}:{v.ref}>{v.alt}" for v in variants)
    return (
        block.chrom, min(v.pos for v in variants), block.end, block.sample, block.haplotype, block.phase_set or ".",
        len(variants), listed, score.score, score.allele, score.downstream, score.forward, score.reverse,
        score.upstream, score.horizon, sum(v.score or 0.0 for v in variants),
    )  # fmt: skip


def check_samples(file: VariantFile) -> None:
    """
    Raises:
        InputError: a file without genotypes.
    """
    if not file.samples:
        raise InputError(f"{file.label}: --phased wants genotypes (FORMAT GT), and the file has no samples")
