"""What `dnamamba score` does, from paths and options to a written file and the lines that sum it up."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dnamamba.device import choose_device, settled_precision
from dnamamba.errors import InputError, UsageError
from dnamamba.files import check_output
from dnamamba.model_directory import read_record
from dnamamba.pipelines.compression import path_label
from dnamamba.pipelines.reference import Reference
from dnamamba.pipelines.variant_choice import VariantChoice, choose_regions
from dnamamba.pipelines.variant_files import VariantFile, stands_alone
from dnamamba.scoring import calibration
from dnamamba.scoring.files import About, Counts, Progress, score_file, survey
from dnamamba.scoring.journal import begun, journal_of
from dnamamba.scoring.many import ManyScorer, workers
from dnamamba.scoring.outputs import OutputFormat, output_format
from dnamamba.scoring.phased_files import score_phased
from dnamamba.scoring.plan import ScorerPlan
from dnamamba.scoring.scorer import VariantScorer
from dnamamba.table_writer import Format

_PLACES = ("model", "reference", "assembly", "aliases", "calibration", "device", "window")
"""Of a plan: where things are and how it is done; the scores are the same."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which records of a file are scored."""

    regions: tuple[str, ...] = ()
    bed: str | None = None
    exclude: tuple[str, ...] = ()

    def choice(self, reference: Reference) -> VariantChoice | None:
        """None where every record is wanted."""
        regions = choose_regions(self.regions, self.bed, reference.contigs, reference.resolve)
        if regions is None and not self.exclude:
            return None
        return VariantChoice(reference.resolve, regions, self.exclude)


def run_score(
    plan: ScorerPlan,
    variants: str,
    out: str,
    *,
    wanted: Wanted,
    form: OutputFormat | None = None,
    phased: bool = False,
    calibrate: int | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Score a file with a model directory.

    Args:
        plan: model, reference and options of the scorer. A precision of "auto" is settled here, for all processes.
        variants, out, form, resume, progress: as in `files.score_file`.
        wanted: which records.
        phased: score haplotypes, as `phased_files.score_phased`.
        calibrate: random variants of each stratum to score first, for quantiles; they are kept in
            `OUT.calibration.json`, which appears with the output. A resumed run goes on with those of the run that was
            interrupted. None for those of `plan.calibration`, or none.
        jobs, scheduler: as in `many.workers`; without both this process does the work.

    Returns:
        Lines for people: what was scored, what was skipped and why, how fast.

    Raises:
        InputError: whatever is wrong with a file or an option.
    """
    began = time.monotonic()
    check_output(out, (variants, plan.reference))
    plan = _settled(plan, scheduler)
    reference = plan.genome()
    choice = wanted.choice(reference)
    with ExitStack() as stack:
        if calibrate is not None:
            _check_inputs(variants, out, form, reference, choice)
            plan = stack.enter_context(_calibrated(plan, calibrate, out, resume))
        about = _about(plan, reference, wanted, phased)
        scorer = stack.enter_context(_scorer(plan, jobs, scheduler))
        options: dict[str, Any] = {"about": about, "choice": choice, "progress": progress}
        if phased:
            table_form: Format | None = form if form != "vcf" else None
            counts = score_phased(scorer, reference, variants, out, form=table_form, **options)
        else:
            counts = score_file(
                scorer.score_many, reference, variants, out, form=form, resume=resume, window=scorer.window, **options
            )
    return _summary(counts, path_label(variants), out, time.monotonic() - began)


def _settled(plan: ScorerPlan, scheduler: str | None) -> ScorerPlan:
    """The plan with the precision that "auto" comes to: what is written down, and what every process computes in."""
    if plan.precision != "auto":
        return plan
    if scheduler is not None:
        raise UsageError(
            "precision: auto is what the device has, and those behind a scheduler may differ; want float32 or bfloat16"
        )
    return replace(plan, precision=settled_precision("auto", choose_device(plan.device)))


def _check_inputs(
    variants: str, out: str, form: OutputFormat | None, reference: Reference, choice: VariantChoice | None
) -> None:
    """What scoring would refuse is refused before the calibration, which takes minutes."""
    if not stands_alone(variants):  # a pipe is read once: of this output the name alone is looked at
        output_format(out, form, "vcf")
        return
    survey(variants, reference, choice)
    with VariantFile(variants) as file:
        output_format(out, form, file.form)


@contextmanager
def _calibrated(plan: ScorerPlan, count: int, out: str, resume: bool) -> Iterator[ScorerPlan]:
    """The plan with the scores of random variants: made now, or by the run that is resumed. Hidden beside the output
    until that is whole, so that a run that fails does not replace those of an earlier one."""
    if out == "-":
        with TemporaryDirectory() as folder:
            path = Path(folder, "calibration.json")
            calibration.calibrate(plan.open(), count).save(path)
            yield replace(plan, calibration=str(path))
        return
    path = Path(out).with_name(f".{Path(out).name}.calibration")
    unfinished = begun(out, resume=resume)
    scorer = plan.open()
    if not unfinished:
        calibration.calibrate(scorer, count).save(path)
    elif not path.exists() or not _is_of(calibration.load_calibration(path), scorer, count):
        raise InputError(
            f"{out}: the unfinished run beside it was begun with another --calibrate, model, genome or option; "
            f"remove {journal_of(out)}"
        )
    try:
        yield replace(plan, calibration=str(path))
        path.replace(f"{out}.calibration.json")
    finally:
        if not journal_of(out).exists():  # nothing is left to go on with
            path.unlink(missing_ok=True)


def _is_of(kept: calibration.Calibration, scorer: VariantScorer, count: int) -> bool:
    return kept.count == count and kept.made_with == scorer.made_with()


@contextmanager
def _scorer(plan: ScorerPlan, jobs: int | None, scheduler: str | None) -> Iterator[VariantScorer | ManyScorer]:
    if scheduler is None and (jobs or 1) == 1:
        yield plan.open()
        return
    with workers(jobs, scheduler) as (cluster, ahead):
        yield ManyScorer(cluster, plan, ahead)


def _about(plan: ScorerPlan, reference: Reference, wanted: Wanted, phased: bool) -> About:
    """What the scores depend on, without paths: a copy elsewhere gives the same."""
    options = {k: v for k, v in asdict(plan).items() if k not in _PLACES}
    if phased:
        options["phased"] = True
    if plan.calibration is not None:
        options["calibration"] = hashlib.sha256(Path(plan.calibration).read_bytes()).hexdigest()
    chosen = {key: value for key, value in asdict(wanted).items() if value}
    return {
        "model": {"weights_sha256": read_record(plan.model).weights_sha256},
        "reference": {"name": reference.name, "digest": reference.digest},
        "options": {**options, **{key: list(v) if isinstance(v, tuple) else v for key, v in chosen.items()}},
    }


def _summary(counts: Counts, label: str, out: str, seconds: float) -> list[str]:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.skipped.most_common())
    skipped = sum(counts.skipped.values())
    new = counts.alleles - counts.resumed
    lines = [
        f"{label}: {counts.records:,} records, {counts.alleles:,} alleles: {counts.scored:,} scored, "
        f"{skipped:,} skipped{f' ({reasons})' if reasons else ''}; "
        f"{seconds:,.1f} s, {new / max(seconds, 1e-9):,.0f} alleles/s"
    ]
    if counts.resumed:
        lines.append(f"{counts.resumed:,} of them had been scored by the run that was interrupted")
    if counts.blocks or counts.left_out:
        left = ", ".join(f"{reason} {count:,}" for reason, count in counts.left_out.most_common())
        lines.append(f"{counts.blocks:,} haplotype blocks{f'; alleles of haplotypes: {left}' if left else ''}")
    if not counts.sorted and out.lower().endswith((".gz", ".bgz")):
        lines.append(f"{out}: its records are not in order of position, so it has no index (bcftools sort)")
    return lines
