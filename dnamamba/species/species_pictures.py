"""The pictures of a fine-tuning: training curve, accuracy against length, reliability, confusion."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dnamamba.config import format_size
from dnamamba.pictures import pyplot, save_picture
from dnamamba.species.measure import AtLength


def draw_curve(rows: Sequence[Mapping[str, float]], path: Path, title: str) -> None:
    """Draw training loss, validation loss and validation accuracy over steps."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    steps = [row["step"] for row in rows]
    trained = [row for row in rows if "loss" in row]  # the first point comes before any step
    left.plot([r["step"] for r in trained], [r["loss"] for r in trained], marker="o", ms=3, label="training step")
    left.plot(steps, [row["valid_loss"] for row in rows], marker="o", ms=3, label="validation, calibrated")
    left.set(xlabel="step", ylabel="cross-entropy (nats)")
    left.legend(fontsize=8)
    for key in sorted({k for row in rows for k in row if k.startswith("accuracy_")}, key=_length):
        points = [(row["step"], row[key]) for row in rows if key in row]
        right.plot(*zip(*points, strict=True), marker="o", ms=3, label=f"{format_size(_length(key))} bases")
    right.set(xlabel="step", ylabel="share of right calls, validation")
    right.legend(fontsize=8)
    figure.suptitle(title)
    save_picture(figure, path)


def draw_accuracy(rows: Sequence[AtLength], bound: Mapping[int, float], path: Path, title: str) -> None:
    """Draw accuracy against length with intervals, beside k-mers, the majority and, where known, the bound."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    lengths = [row.length for row in rows]
    ours = [row.ours for row in rows]
    axes.fill_between(lengths, [a.low for a in ours], [a.high for a in ours], alpha=0.2, lw=0)
    axes.plot(lengths, [a.value for a in ours], marker="o", label="dnamamba")
    kmers = [(row.length, row.kmers) for row in rows if row.kmers is not None]
    if kmers:
        at = [length for length, _ in kmers]
        axes.fill_between(at, [a.low for _, a in kmers], [a.high for _, a in kmers], alpha=0.2, lw=0)
        axes.plot(at, [a.value for _, a in kmers], marker="s", label="k-mers, logistic regression")
    axes.plot(lengths, [row.majority for row in rows], ls=":", color="0.5", label="majority")
    known = [n for n in lengths if n in bound]
    if known:
        axes.plot(known, [bound[n] for n in known], ls="--", color="0.3", label="bound: best possible")
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 1.02)
    axes.set(xlabel="length (bases)", ylabel="share of right calls, 95% interval")
    axes.set_title(title, fontsize=9, wrap=True)
    axes.legend(fontsize=8)
    save_picture(figure, path)


def draw_reliability(rows: Sequence[AtLength], path: Path, title: str) -> None:
    """Draw the share of right calls against their mean probability, a line a length."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    for row in rows:
        x, y, _ = zip(*row.bins, strict=True)
        axes.plot(x, y, marker="o", ms=3, label=f"{format_size(row.length)}, error {row.ece:.3f}")
    axes.set(xlabel="probability of the call", ylabel="share of right calls", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(title, fontsize=9, wrap=True)
    axes.legend(fontsize=7)
    save_picture(figure, path)


def draw_confusion(rows: Sequence[AtLength], classes: Sequence[str], path: Path, title: str) -> None:
    """Draw the confusion at the shortest, a middle and the longest length."""
    plt = pyplot()
    shown = [rows[i] for i in sorted({0, len(rows) // 2, len(rows) - 1})]
    figure, axes = plt.subplots(1, len(shown), figsize=(4.4 * len(shown), 4.2), layout="constrained", squeeze=False)
    for one, row in zip(axes[0], shown, strict=True):
        share = row.confusion / np.maximum(row.confusion.sum(1, keepdims=True), 1)
        one.imshow(share, vmin=0, vmax=1, cmap="Blues")
        for i, j in np.ndindex(share.shape):
            one.text(
                j,
                i,
                f"{share[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="w" if share[i, j] > 0.6 else "k",
            )
        one.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
        one.set_yticks(range(len(classes)), classes, fontsize=8)
        one.set(xlabel="called", ylabel="is", title=f"{format_size(row.length)} bases")
    figure.suptitle(title, fontsize=9)
    save_picture(figure, path)


def _length(key: str) -> int:
    return int(key.removeprefix("accuracy_"))
