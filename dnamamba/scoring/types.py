"""What a score is made of."""

from dataclasses import dataclass

from dnamamba.pipelines.variants import Variant


@dataclass(frozen=True, slots=True)
class VariantScore:
    """The score of one allele, in nats: log-probability of the alternate over the reference. Positive is likelier.

    With both strands every number is the mean of the two strands' but `upstream` and `horizon`, the lesser of the two.
    """

    chrom: str
    pos: int
    """1-based, as in VCF; chrom, pos, id, ref and alt are those that were given."""
    id: str
    ref: str
    alt: str
    score: float | None
    """`allele` + `downstream`; None when skipped."""
    allele: float | None
    """Log-probability of the alternate letters less that of the reference letters, trimmed to what differs. Where they
    differ in number each side is taken against a null of its own length: the mean log-probability of a base of the
    stream, times its letters."""
    downstream: float | None
    """The difference over the same next `horizon` reference bases."""
    forward: float | None
    """Score of the forward strand."""
    reverse: float | None
    """Score of the reverse strand; None when only the forward one was read."""
    upstream: int | None
    """Reference bases that the model saw before the first base that differs."""
    horizon: int | None
    """Reference bases read after the alleles; fewer than asked for where the contig ends."""
    quantile: float | None = None
    """Share of matched random variants with a lower score; None unless calibrated."""
    skipped: str | None = None
    """Why there is no score, one of `dnamamba.pipelines.variants.SKIPS`; None when there is one."""


@dataclass(frozen=True, slots=True)
class HaplotypeScore:
    """The score of several variants that lie on one haplotype, read together. Numbers as in `VariantScore`."""

    variants: tuple[Variant, ...]
    score: float | None
    allele: float | None
    """Over the letters of the alleles alone, all variants together."""
    downstream: float | None
    """Over the reference bases that follow: those between the variants, and the next `horizon` after the last."""
    forward: float | None
    reverse: float | None
    upstream: int | None
    horizon: int | None
    skipped: str | None = None
    """Why there is no score: the reason of the first variant that cannot be scored."""


@dataclass(frozen=True, slots=True)
class StrandParts:
    """The parts of a score on one strand, in nats."""

    allele: float
    downstream: float
    upstream: int
    horizon: int
    null: float = 0.0
    """What the null took off `allele`: the mean log-probability of the stream's bases times the letters that the
    alternate has more than the reference. With it added the score is the plain log-likelihood ratio."""

    @property
    def total(self) -> float:
        """The strand's score."""
        return self.allele + self.downstream
