"""The report of a sweep over runs: one table for all kinds, their own figures beside, CSV and one HTML page."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from dnamamba.config import format_size, to_dict
from dnamamba.files import write_whole
from dnamamba.html_report import Picture, Section, Table, Text, write_report
from dnamamba.pipelines.text_table import aligned
from dnamamba.sweep.bits import digits, with_interval
from dnamamba.sweep.plan import Plan
from dnamamba.sweep.results import RunResult

REPORT, TABLE = "report.html", "runs.csv"
_HEADER = ("run", "context", "parameters", "M tokens", "perplexity (95%)", "bits a base", "bits above the first (95%)")
_SPEED = ("k tokens/s", "peak memory, GB", "training, hours", "on")


@dataclass(frozen=True)
class Findings:
    """What one kind of sweep adds to the table of all runs."""

    title: str
    said: Sequence[str]
    """Findings, a paragraph each."""
    pictures: Mapping[Path, str]
    """File -> caption."""
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    """What a reader must know beside, a paragraph each."""


def leave_report(
    plan: Plan,
    results: Sequence[RunResult],
    out: Path,
    found: Findings,
    *,
    failed: Mapping[str, str],
    left_out: Sequence[str],
    command: str,
) -> None:
    """Write report.html and runs.csv.

    Args:
        plan, results: of the sweep.
        out: its folder.
        found: what the kind of sweep adds.
        failed: run -> what went wrong.
        left_out: runs that could not be, and contexts that could not be scored, a line each.
        command: as it was typed.
    """
    write_whole(out / TABLE, _csv(results))
    first = results[0]
    notes = [
        *found.notes,
        *left_out,
        *(f"Run {name} failed and is not in the tables: {error}" for name, error in failed.items()),
    ]
    method = (
        f"Perplexity and bits a base over A, C, G, T of {first.score.targets:,} target bases, the same for every run, "
        "each run judged at the longest context it was trained at unless a table says otherwise. Intervals are 95%, "
        "from resampling blocks of targets: they say how sure the score of these weights is, not how another seed of "
        "the training would come out. Differences are paired. Hours are those of the training steps; memory is the "
        "peak of the allocator on a GPU, of the process on a CPU."
    )
    sections = [
        Section(
            "What was measured",
            [Text(f"Trained on {first.figures['trained_on']}."), Text(method), *map(Text, notes), Text(command, True)],
        ),
        Section(
            "What came out",
            [
                *map(Text, found.said),
                *(Picture(path, caption) for path, caption in found.pictures.items()),
                Table(_HEADER, [_row(one) for one in results], f"Differences are from {first.name}."),
                *found.tables,
            ],
        ),
        Section("Speed and memory", [Table(("run", *_SPEED), [(one.name, *_speed(one)) for one in results])]),
        Section(
            "Configurations",
            [
                Table(("run", "overrides"), [(one.name, one.overrides or "none") for one in results]),
                Text(f"{first.name} in full:"),
                Text(yaml.safe_dump(to_dict(plan.runs[first.name]), sort_keys=False), True),
            ],
        ),
    ]
    write_report(out / REPORT, found.title, sections)


def text_table(results: Sequence[RunResult]) -> str:
    """All runs as text for the terminal."""
    rows = [(*_HEADER, *_SPEED[:3]), *((*_row(one), *_speed(one)[:3]) for one in results)]
    return "\n".join(aligned(rows, left=()))


def _row(one: RunResult) -> tuple[str, ...]:
    score, difference = one.score, one.difference
    return (
        one.name, format_size(one.context), f"{one.figures['parameters']:,}", f"{one.figures['tokens'] / 1e6:,.1f}",
        f"{score.perplexity:.4f} ({score.low:.4f}-{score.high:.4f})", f"{score.bits:.4f}",
        with_interval(difference) if difference.high else "",
    )  # fmt: skip


def _speed(one: RunResult) -> tuple[str, ...]:
    rate = one.figures["tokens_per_second"]
    return (
        f"{rate / 1e3:,.1f}" if rate else "",
        f"{one.figures['peak_memory'] / 1e9:.2f}",
        digits(one.figures["training_hours"]),
        one.figures["device"],
    )


def _csv(results: Sequence[RunResult]) -> str:
    """A line a run and context it was scored at."""
    figures = ("parameters", "tokens", "flops", "tokens_per_second", "peak_memory", "training_hours", "device")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    score_columns = ("targets", "perplexity", "low", "high", "bits")
    writer.writerow(["run", "overrides", "trained_context", "context", *score_columns, *figures])
    for one in results:
        for context, score in one.scores.items():
            numbers = [f"{x:.6f}" for x in (score.perplexity, score.low, score.high, score.bits)]
            own = [one.name, one.overrides, format_size(one.context), format_size(context), score.targets, *numbers]
            writer.writerow([*own, *(one.figures[key] for key in figures)])
    return out.getvalue()
