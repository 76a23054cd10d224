"""`VariantScorer`: variants in, scores out, in the order they came."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dnamamba.config import parse_size
from dnamamba.device import Device, Precision, autocast_dtype, choose_device, settled_precision
from dnamamba.errors import InputError, UsageError
from dnamamba.in_lists import in_lists
from dnamamba.model import MambaLM
from dnamamba.model_directory import load, weights_digest
from dnamamba.pipelines.reference import Reference, open_reference
from dnamamba.pipelines.variants import (
    AMBIGUOUS,
    MISMATCH,
    OUTSIDE,
    UNKNOWN_CONTIG,
    Variant,
    allele_problem,
    ref_matches,
    trimmed,
)
from dnamamba.scoring.calibration import Calibration, load_calibration
from dnamamba.scoring.fork import Alleles, make_fork
from dnamamba.scoring.passes import Passes
from dnamamba.scoring.strand import Strand, stream_start
from dnamamba.scoring.strata import stratum_of
from dnamamba.scoring.stream import score_forks
from dnamamba.scoring.types import HaplotypeScore, StrandParts, VariantScore

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dnamamba.pipelines.regions import Region
    from dnamamba.scoring.saturation import Saturation

Strands = Literal["both", "forward"]
_BASES = frozenset("ACGT")
_WINDOW = 4096, 2**18  # variants held at once, at least and at most


class _Job:
    """A haplotype that can be scored, one variant or several, and its parts so far."""

    __slots__ = ("alleles", "contig", "parts")

    def __init__(self, contig: str, alleles: list[Alleles]) -> None:
        self.contig, self.alleles = contig, alleles
        self.parts: list[StrandParts] = []


class VariantScorer:
    """Scores variants with a model: log-probability of the alternate over the reference, in nats.

    >>> scorer = VariantScorer("runs/demo", "hg38.2bit", context=131_072)
    >>> scorer.score("chr17", 43_044_295, "A", "G").score

    The reference is read once a strand, in streams that start at the multiples of context / 2; a variant has between
    context / 2 and context bases before it (fewer near the contig's start), whatever else is scored. Each alternate
    allele leaves its stream at the first base that differs and reads its letters and `horizon` bases more. Streams
    without a variant are not read. What it costs, on each strand, in bases read: at most twice the contig's length,
    and for each allele its letters, the horizon and 32 bases. Memory depends on none of the three numbers.

    Near a contig's end the horizon is what is left, 0 at the last base, where `downstream` is 0. N and ambiguous
    letters are read as they stand and counted in no sum; lower case is the same base.
    """

    def __init__(
        self,
        model: MambaLM | str | os.PathLike[str],
        reference: Reference | str | os.PathLike[str],
        *,
        assembly: str | None = None,
        context: int | str = 131_072,
        horizon: int | str = 512,
        strands: Strands = "both",
        device: Device | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
        early_stop: bool = True,
        window: int | None = None,
        calibration: Calibration | str | os.PathLike[str] | None = None,
    ) -> None:
        """
        Args:
            model: a model of the dna alphabet, or a model directory.
            reference: an open reference, or a store, FASTA or 2bit file (`open_reference`).
            assembly: which one of a store.
            context: bases of a stream, even, such as 131_072 or "128k"; "full" is one stream a contig, from its start.
            horizon: reference bases read after an allele, written in the same ways.
            strands: "both" takes the mean of the two strands' scores.
            device: where the model runs; None leaves an open model where it is and is "auto" for a directory.
            precision: of matrix products. "float32" uses no TF32; "auto" is bfloat16 where a GPU has it.
            batch_size: tokens of a batch of alleles; None is chosen for the device. Scores do not depend on it.
            early_stop: end an allele's reading where its state has come back to the reference's, so that what is left
                would move the score by less than some 2e-4 nats (`rows.SAME_SCORE`).
            window: variants held in memory and sorted at a time; None is chosen for the context. Variants far from the
                sorted order are scored just as well, but share no stream across windows.
            calibration: fills in `quantile`; made by `calibrate`, or its file.

        Raises:
            InputError: a model of another alphabet, a number out of range, a calibration made with another model,
                genome or option, or anything wrong with a file.
        """
        if isinstance(model, str | os.PathLike):
            model = load(model, device=choose_device(device or "auto"))
        elif device is not None:
            model = model.to(choose_device(device))
        if model.config.alphabet != "dna":
            raise InputError(f"scoring wants a model of the dna alphabet, got one of {model.config.alphabet!r}")
        length = None if context == "full" else _size(context, "context")
        if length is not None and (length < 2 or length % 2):
            raise UsageError(f"context: want an even number of bases, or full; got {context}")
        horizon = _size(horizon, "horizon")
        if horizon < 0:
            raise UsageError(f"horizon: want 0 bases or more, got {horizon}")
        if strands not in ("both", "forward"):
            raise UsageError(f"strands: want both or forward, got {strands!r}")
        batch_size, window = _count(batch_size, "batch_size"), _count(window, "window")
        self.reference = reference if isinstance(reference, Reference) else open_reference(reference, assembly)
        self.context: int | Literal["full"] = length or "full"
        self.horizon, self.strands, self.early_stop = horizon, strands, early_stop
        self.precision = settled_precision(precision, model.device)
        self.model = model.eval()
        self._passes = Passes(self.model, autocast_dtype(self.precision, model.device), batch_size)
        self._context = length
        least, most = _WINDOW
        self.window = window or (most if self._context is None else min(max(self._context // 16, least), most))

        if isinstance(calibration, str | os.PathLike):
            calibration = load_calibration(calibration)
        if calibration is not None:
            calibration.check(self.made_with())
        self.calibration = calibration

    def score(self, chrom: str, pos: int, ref: str, alt: str, id: str = ".") -> VariantScore:
        """Score one allele. A file of variants is faster by `score_many`.

        Args:
            chrom: contig, under any name that the reference knows.
            pos: first base of `ref`, 1-based.
            ref, alt: as VCF writes them.
            id: handed on.

        Raises:
            InputError: `pos` is no whole number, or `chrom` no name.
        """
        if not isinstance(pos, int | np.integer):
            raise InputError(f"pos: want a whole number, 1-based; got {pos!r}")
        return next(self.score_many([Variant(chrom, pos, id, ref, alt)]))

    def score_many(self, variants: Iterable[Variant]) -> Iterator[VariantScore]:
        """Score variants, any number, lazily; the scores come in the order of the variants."""
        for window in in_lists(variants, self.window):
            jobs = [self.prepare([variant]) for variant in window]
            self._run([job for job in jobs if isinstance(job, _Job)])
            for variant, job in zip(window, jobs, strict=True):
                numbers = _numbers(job)
                if self.calibration is not None and isinstance(job, _Job):
                    stratum = stratum_of(self.reference, job.contig, trimmed(*job.alleles[0]))
                    numbers["quantile"] = self.calibration.quantile(stratum, numbers["score"])
                yield VariantScore(variant.chrom, variant.pos, variant.id, variant.ref, variant.alt, **numbers)

    def score_haplotype(self, variants: Sequence[Variant]) -> HaplotypeScore:
        """Score variants that lie on one haplotype together: each is read with those before it in place.

        Args:
            variants: of one contig, in any order, not overlapping.

        Raises:
            InputError: no variant, two contigs, or variants that overlap.
        """
        return next(self.score_haplotypes([variants]))

    def score_haplotypes(self, haplotypes: Iterable[Sequence[Variant]]) -> Iterator[HaplotypeScore]:
        """Score haplotypes, any number, lazily and in order; errors as `score_haplotype`."""
        for window in in_lists(haplotypes, self.window):
            jobs = [self.prepare(haplotype) for haplotype in window]
            self._run([job for job in jobs if isinstance(job, _Job)])
            for haplotype, job in zip(window, jobs, strict=True):
                yield HaplotypeScore(tuple(haplotype), **_numbers(job))

    def score_vcf(self, path: str | os.PathLike[str]) -> "pd.DataFrame":
        """Score every allele of a VCF, BCF or TSV file, in its order.

        Args:
            path: the file; "-" is standard input.

        Returns:
            A row an allele: chrom, pos, id, ref, alt, and the other fields of `VariantScore`.

        Raises:
            InputError: a damaged file, or one whose contigs the reference does not have.
        """
        return self.score_arrow(path).to_pandas()

    def score_arrow(self, path: str | os.PathLike[str]) -> "pa.Table":
        """As `score_vcf`, an Arrow table."""
        from dnamamba.scoring.files import score_table

        return score_table(self.score_many, self.reference, path)

    def saturation(self, region: "str | Region") -> "Saturation":
        """Score every substitution of a region, such as "chr20:1,001-1,100"; see `saturation.saturate`."""
        from dnamamba.scoring.saturation import saturate

        return saturate(self, region)

    def made_with(self) -> dict[str, Any]:
        """All that a score depends on beside the variant: digests of model and genome, and the options that count."""
        return {
            "model": weights_digest(self.model),
            "reference": self.reference.digest,
            "context": self.context,
            "horizon": self.horizon,
            "strands": self.strands,
            "precision": self.precision,
        }

    def prepare(self, variants: Sequence[Variant]) -> "_Job | str":
        """The variants as a job, or why they cannot be scored."""
        if not variants:
            raise InputError("a haplotype wants at least one variant")
        alleles: list[Alleles] = []
        contigs = set()
        for variant in variants:
            contig = self.reference.resolve(variant.chrom)
            problem = allele_problem(variant.ref, variant.alt) or self._problem(variant, contig)
            if problem is not None:
                return problem
            assert contig is not None
            contigs.add(contig)
            alleles.append((variant.pos - 1, variant.ref, variant.alt))
        if len(contigs) > 1:
            raise InputError(f"a haplotype lies on one contig, got variants on {', '.join(sorted(contigs))}")
        return _Job(contigs.pop(), alleles)

    def _problem(self, variant: Variant, contig: str | None) -> str | None:
        """What of the reference speaks against scoring an allele."""
        if contig is None:
            return UNKNOWN_CONTIG
        start, end = variant.pos - 1, variant.pos - 1 + len(variant.ref)
        if start < 0 or end > self.reference.contigs[contig]:
            return OUTSIDE
        bases = self.reference.fetch(contig, start, end).tobytes().decode("latin-1").upper()
        if not ref_matches(variant.ref, bases):
            return MISMATCH
        if len(variant.ref) != len(variant.alt) or set(bases) <= _BASES:
            return None
        # An N has no log-probability: a letter in its place cannot be weighed against it. What an indel takes out can.
        edit = trimmed(start, variant.ref, variant.alt)
        return None if set(bases[edit.start - start : edit.end - start]) <= _BASES else AMBIGUOUS

    def _run(self, jobs: Sequence[_Job]) -> None:
        """Fill in the parts of jobs, strand by strand and stream by stream."""
        by_contig: dict[str, list[_Job]] = defaultdict(list)
        for job in jobs:
            by_contig[job.contig].append(job)
        for contig, here in by_contig.items():
            for reverse in (False, True) if self.strands == "both" else (False,):
                strand = Strand(self.reference, contig, reverse=reverse)
                forks = [make_fork(strand, job.alleles, self.horizon) for job in here]
                streams: dict[int, list[int]] = defaultdict(list)
                for i, fork in enumerate(forks):
                    streams[stream_start(fork.start, self._context)].append(i)
                for start in sorted(streams):
                    rows = streams[start]
                    parts = score_forks(
                        self._passes, strand, start, self._context, [forks[i] for i in rows], early_stop=self.early_stop
                    )
                    for i, part in zip(rows, parts, strict=True):
                        here[i].parts.append(part)


def _numbers(job: "_Job | str") -> dict[str, Any]:
    """What a score says of a job: the strands' parts brought together."""
    if isinstance(job, str):
        names = ("score", "allele", "downstream", "forward", "reverse", "upstream", "horizon")
        return {**dict.fromkeys(names), "skipped": job}
    parts = job.parts
    allele = sum(part.allele for part in parts) / len(parts)
    downstream = sum(part.downstream for part in parts) / len(parts)
    return {
        "score": allele + downstream,
        "allele": allele,
        "downstream": downstream,
        "forward": parts[0].total,
        "reverse": parts[1].total if len(parts) > 1 else None,
        "upstream": min(part.upstream for part in parts),
        "horizon": min(part.horizon for part in parts),
        "skipped": None,
    }


def _size(value: object, key: str) -> int:
    if isinstance(value, str):
        return parse_size(value, key)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise UsageError(f"{key}: want a whole number, got {value!r}")
    return int(value)


def _count(value: object, key: str) -> int | None:
    if value is None:
        return None
    count = _size(value, key)
    if count < 1:
        raise UsageError(f"{key}: want 1 or more, got {value}")
    return count
