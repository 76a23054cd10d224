"""What a training run's own log says when it is over: figures a stage, and pictures."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dnamamba.config import format_size
from dnamamba.curriculum import CurriculumConfig
from dnamamba.pictures import pyplot, save_picture


def read_log(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's `part-*/metrics.csv`, one part a start of the run; empty cells are left out.

    What a part logged past the checkpoint that the next one began from is dropped: it was done again.
    """
    rows: list[dict[str, float]] = []
    for path in sorted(folder.glob("part-*/metrics.csv"), key=lambda one: int(one.parent.name.removeprefix("part-"))):
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]  # a kill may cut the last line, and half a number is a number
        part = [
            {key: float(value) for key, value in row.items() if value} for row in csv.DictReader(io.StringIO(whole))
        ]
        if part:
            rows = [row for row in rows if row["tokens"] < part[0]["tokens"]] + part
    return rows


def stage_figures(rows: Sequence[Mapping[str, float]], curriculum: CurriculumConfig) -> list[dict[str, Any]]:
    """One row a stage that was trained, for metrics.json.

    `perplexity` is that of the training batches over the last tenth of the stage, `valid` is the last point of the
    validation curve inside the stage by context, `seconds` the training steps alone, `peak_memory` in bytes.
    """
    figures = []
    for stage, last, steps in zip(curriculum.stages, curriculum.borders, curriculum.stage_steps, strict=True):
        first = (last - steps) * curriculum.tokens_per_step
        here = [row for row in rows if first < row["tokens"] <= last * curriculum.tokens_per_step]
        trained = [row for row in here if "loss" in row]
        if not trained:
            continue
        end = [row["loss"] for row in trained[-max(1, len(trained) // 10) :]]
        valid = {key: row[key] for row in here for key in row if key.startswith("perplexity_")}
        figures.append(
            {
                "context": stage.context,
                "steps": len(trained),
                "tokens": len(trained) * curriculum.tokens_per_step,
                "perplexity": math.exp(min(sum(end) / len(end), 20.0)),
                "valid": {str(_context(key)): valid[key] for key in sorted(valid, key=_context)},
                "gradient_norm": median(row["gradient_norm"] for row in trained),
                "tokens_per_second": round(median(row["tokens_per_second"] for row in trained)),
                "seconds": round(sum(curriculum.tokens_per_step / row["tokens_per_second"] for row in trained), 1),
                "data_share": trained[-1]["data_share"],
                "peak_memory": int(max(row["peak_memory"] for row in trained)),
            }
        )
    return figures


def draw_training(
    rows: Sequence[Mapping[str, float]], stages: Sequence[tuple[int, int]], path: Path, title: str
) -> None:
    """Draw loss and held-out perplexity over tokens, the curriculum's stages marked, into a PNG.

    Args:
        rows: of the log: `tokens` with `loss` (nats a base), and now and then `perplexity_<context>`.
        stages: first token and context in bases, one pair a stage.
        path: PNG to write.
        title: what ran.
    """
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    loss = [(row["tokens"], row["loss"]) for row in rows if "loss" in row]
    if loss:
        tokens, values = zip(*loss, strict=True)
        left.plot(tokens, values, lw=0.6, alpha=0.4, color="tab:blue", label="each step")
        left.plot(tokens, _smooth(values), lw=1.6, color="tab:blue", label="running mean")
        settled = sorted(values[len(values) // 20 :])  # the fall of the first steps would flatten all that follows
        left.set_ylim(settled[0] - 0.02, settled[int(0.99 * (len(settled) - 1))] + 0.05)
    left.set(xlabel="tokens", ylabel="training loss (nats a base)")
    for key in sorted({key for row in rows for key in row if key.startswith("perplexity_")}, key=_context):
        points = [(row["tokens"], row[key]) for row in rows if key in row]
        right.plot(*zip(*points, strict=True), marker="o", ms=3, label=f"context {format_size(_context(key))}")
    right.set(xlabel="tokens", ylabel="held-out perplexity over A, C, G, T")
    for axes in (left, right):
        for start, context in stages:
            axes.axvline(start, color="0.75", lw=0.8, zorder=0)
            axes.annotate(
                format_size(context), (start, 1), xycoords=("data", "axes fraction"), xytext=(3, -11),
                textcoords="offset points", fontsize=8, color="0.4",
            )  # fmt: skip
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(title)
    save_picture(figure, path)


def draw_contexts(curves: Mapping[str, Mapping[int, float]], path: Path, title: str) -> None:
    """Draw perplexity against context in bases, one line a model, into a PNG.

    Args:
        curves: name of the model -> {context: perplexity}.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        contexts = sorted(curve)
        axes.plot(contexts, [curve[context] for context in contexts], marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="context (bases)", ylabel="held-out perplexity over A, C, G, T")
    axes.set_title(title, fontsize=9, wrap=True)
    axes.legend(fontsize=8)
    save_picture(figure, path)


def _smooth(values: Sequence[float], share: int = 50) -> list[float]:
    """Exponential running mean over about 1/`share` of the values, without the pull of the start."""
    keep = 1 - min(1.0, share / max(len(values), share))
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(mean / weight)
    return out


def _context(key: str) -> int:
    return int(key.removeprefix("perplexity_"))
