"""What a finished fine-tuning leaves: model directory, metrics, pictures, one HTML report, and the text it prints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dnamamba.config import format_size, to_dict
from dnamamba.files import write_whole
from dnamamba.html_report import Picture, Section, Table, Text, write_report
from dnamamba.pipelines.splits import PARTS
from dnamamba.species.classifier import save_classifier
from dnamamba.species.figures_of_merit import Accuracy
from dnamamba.species.finetune_config import FinetuneConfig
from dnamamba.species.genomes import Genomes
from dnamamba.species.measure import AtLength, as_plain, served
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.parts import Parts
from dnamamba.species.species_pictures import draw_accuracy, draw_confusion, draw_curve, draw_reliability


@dataclass(frozen=True)
class FinetuneOutcome:
    """What a finished run found."""

    folder: Path
    title: str
    """What was told apart; says so when it is simulated."""
    rows: list[AtLength]
    log: list[dict[str, float]]
    steps: int
    """Steps of the weights that are kept."""
    seconds: float
    notes: tuple[str, ...]
    """How it was parted, what was left out, and what could not be measured."""
    bound: Mapping[int, float]
    """Length -> accuracy of the best reader there could be; empty for real genomes."""


def controls_of(config: FinetuneConfig, genomes: Genomes) -> tuple[str, ...]:
    """The label shortcuts that are kept out, in words."""
    out = [f"{reason}: left out, {sum(bases.values()):,} bases" for reason, bases in genomes.left_out.items()]
    absent = [kind for kind in config.data.exclude if kind not in genomes.left_out]
    return (
        "case folded: the soft mask is not seen",
        *out,
        *([f"left out where there were any, and there were none: {', '.join(absent)}"] if absent else []),
        f"windows with more than {config.data.most_n:.0%} N passed over",
        "as many windows of each class in training, validation and test",
        *(["records turned to a common origin, windows cut anywhere on the circle"] if config.data.circular else []),
    )


def leave(
    outcome: FinetuneOutcome, model: SpeciesClassifier, config: FinetuneConfig, genomes: Genomes, parts: Parts
) -> None:
    """Write everything into the run's folder."""
    out, figures = outcome.folder, outcome.folder / "figures"
    metrics = as_plain(outcome.rows, genomes.classes)
    extra = {
        "finetune": to_dict(config),
        "splits": parts.splits.to_json(),
        "trained_on": outcome.title,
        "accuracy": {length: row["accuracy"] for length, row in metrics.items()},
    }
    save_classifier(model, out, extra, overwrite=True)
    document: dict[str, Any] = {
        "task": outcome.title,
        "classes": list(genomes.classes),
        "lengths": metrics,
        "bound": {str(length): value for length, value in outcome.bound.items()},
        "bases": {part: {n: parts.bases(part, i) for i, n in enumerate(genomes.classes)} for part in PARTS},
        "controls": list(model.config.controls),
        "notes": list(outcome.notes),
        "steps": outcome.steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(outcome.seconds, 1),
        "curve": outcome.log,
        "config": to_dict(config),
    }
    write_whole(out / "metrics.json", json.dumps(document, indent=1) + "\n")
    draw_curve(outcome.log, figures / "training.png", outcome.title)
    draw_accuracy(outcome.rows, outcome.bound, figures / "accuracy.png", outcome.title)
    draw_reliability(outcome.rows, figures / "reliability.png", outcome.title)
    draw_confusion(outcome.rows, genomes.classes, figures / "confusion.png", outcome.title)
    write_report(
        out / "report.html", f"Which species: {outcome.title}", _sections(outcome, model, config, genomes, parts)
    )


def table(outcome: FinetuneOutcome) -> str:
    """The result as text, a line a length."""
    lines = [
        f"{'bases':>7}  {'right calls (95%)':>22}  {'k-mers (95%)':>22}  {'majority':>8}  {'bound':>6}  "
        f"{'error':>6}  windows"
    ]
    for row in outcome.rows:
        bound = f"{outcome.bound[row.length]:.3f}" if row.length in outcome.bound else "-"
        lines.append(
            f"{format_size(row.length):>7}  {_share(row.ours):>22}  {_share(row.kmers):>22}  {row.majority:>8.3f}  "
            f"{bound:>6}  {row.ece:>6.3f}  {row.ours.windows:,}"
        )
    return "\n".join([*lines, "error: expected calibration error of the probabilities"])


def verdict(rows: Sequence[AtLength]) -> str:
    """Who wins where, in words."""
    compared = [row for row in rows if row.difference is not None]
    if not compared:
        return "no k-mer baseline was measured"
    won = [format_size(r.length) for r in compared if r.difference is not None and r.difference[0] > 0]
    lost = [format_size(r.length) for r in compared if r.difference is not None and r.difference[1] < 0]
    level = [format_size(r.length) for r in compared if format_size(r.length) not in (*won, *lost)]
    words = [("better than k-mers at", won), ("k-mers better at", lost), ("not told apart from k-mers at", level)]
    return "; ".join(f"{what} {', '.join(lengths)} bases" for what, lengths in words if lengths)


def _share(one: Accuracy | None) -> str:
    return "-" if one is None else f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})"


def _sections(
    outcome: FinetuneOutcome, model: SpeciesClassifier, config: FinetuneConfig, genomes: Genomes, parts: Parts
) -> list[Section]:
    rows, figures, classes = outcome.rows, outcome.folder / "figures", genomes.classes
    bases = [[name, *(f"{parts.bases(part, i):,}" for part in PARTS)] for i, name in enumerate(classes)]
    by_class = [
        [format_size(row.length), name, _or_dash(p), _or_dash(r)]
        for row in rows
        for name, (p, r) in zip(classes, row.precision_recall, strict=True)
    ]
    kinds = sorted({kind for row in rows for kind in row.auroc})
    flag = [
        [format_size(row.length), f"{row.flagged:.3f}", *(_or_dash(row.auroc.get(kind)) for kind in kinds)]
        for row in rows
    ]
    calibrated = [
        [format_size(r.length), f"{r.temperature:.2f}", f"{r.ece_before:.3f}", f"{r.ece:.3f}", f"{r.nats:.3f}"]
        for r in rows
    ]
    return [
        Section(
            "Accuracy",
            [
                Text(table(outcome), code=True),
                Text(verdict(rows)),
                Picture(figures / "accuracy.png", "Held-out accuracy against length; windows do not overlap"),
            ],
        ),
        Section(
            "By class",
            [
                Picture(figures / "confusion.png", "Rows: what it is; columns: what it was called"),
                Table(["bases", "class", "precision", "recall"], by_class),
            ],
        ),
        Section(
            "Calibration",
            [
                Picture(figures / "reliability.png", "Test part, after the temperature"),
                Table(
                    ["bases", "temperature", "error before", "error", "nats"],
                    calibrated,
                    "fitted on validation windows",
                ),
            ],
        ),
        Section(
            "Unlike all classes",
            [
                Text("The flag is the likelihood of the letters under the language model. Area under the ROC curve:"),
                Table(["bases", "flagged of the classes", *kinds], flag),
            ],
        ),
        Section(
            "Training",
            [
                Picture(figures / "training.png"),
                Text(f"weights of step {outcome.steps:,}, the best on the validation part"),
            ],
        ),
        Section(
            "Data and controls",
            [
                Table(["class", *PARTS], bases, "bases"),
                *(Text(note) for note in outcome.notes),
                *(Text(control) for control in model.config.controls),
            ],
        ),
        Section("Configuration", [Text(yaml.safe_dump(to_dict(config), sort_keys=False), code=True)]),
    ]


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def missing_note(config: FinetuneConfig, rows: Sequence[AtLength]) -> tuple[str, ...]:
    """A note on lengths that could not be measured; none where all were."""
    note = served(config.lengths, rows)
    return (note,) if note else ()
