"""`dnamamba sweep size`: the paper's sizes at equal tokens, a power law through them, the published points beside."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dnamamba.errors import UsageError
from dnamamba.evaluate import compare
from dnamamba.model import ModelConfig
from dnamamba.model.parameters import count_parameters
from dnamamba.pictures import pyplot, save_picture
from dnamamba.sweep import published
from dnamamba.sweep.bits import digits
from dnamamba.sweep.plan import Plan, common_overrides, make_plan, training_flops
from dnamamba.sweep.power_law import PowerLaw, fit_power_law
from dnamamba.sweep.results import RunResult
from dnamamba.sweep.runs_report import Findings
from dnamamba.sweep.targets import parse_targets

BASE = "hg38-1.4M"


def parse_sizes(text: str) -> dict[str, tuple[int, int]]:
    """Read "0.26M,1.4M,48x6" (names of the paper's sizes, or d_model x blocks); nothing is the paper's seven.

    Raises:
        InputError: another form; the message lists the names.
    """
    if not text.strip():
        return dict(published.SIZES)
    sizes = {}
    for word in (word.strip() for word in text.split(",") if word.strip()):
        match = re.fullmatch(r"(\d+)x(\d+)", word)
        if word not in published.SIZES and match is None:
            raise UsageError(
                f"--sizes: want some of {', '.join(published.SIZES)}, or WIDTHxBLOCKS such as 48x6; got {word!r}"
            )
        sizes[word] = (int(match[1]), int(match[2])) if match else published.SIZES[word]
    return sizes


def size_plan(
    base: str | None,
    overrides: Sequence[str],
    stores: Sequence[str],
    sizes: str,
    tokens: str | None,
    context: str | None,
    targets: str,
    seed: int,
) -> Plan:
    """A run a size, smallest first, everything else equal; by default the recipes configs/hg38-SIZE.yaml.

    Raises:
        InputError: as parse_sizes, parse_targets and make_plan.
    """
    shapes = parse_sizes(sizes)
    order = sorted(shapes.items(), key=lambda one: count_parameters(ModelConfig(d_model=one[1][0], n_layers=one[1][1])))
    return make_plan(
        "size", base or BASE,
        {name: [f"model.d_model={width}", f"model.n_layers={blocks}"] for name, (width, blocks) in order},
        [*common_overrides(tokens, context), *overrides], stores, targets=parse_targets(targets), seed=seed,
    )  # fmt: skip


def find_sizes(results: Sequence[RunResult], figures: Path, seed: int = 0) -> Findings:
    """How perplexity falls with size: the law, whether each size gains, and the published points.

    Args:
        results: of the runs, smallest first.
        figures: folder for the picture.
        seed: of the intervals.
    """
    picture = figures / "sizes.png"
    sizes = [one.figures["parameters"] for one in results]
    losses = [one.losses[one.context] for one in results]
    by_size: PowerLaw | None = None
    by_flops: PowerLaw | None = None
    if len(set(sizes)) > 1:
        by_size = fit_power_law(sizes, losses, seed)
        by_flops = fit_power_law([one.figures["flops"] for one in results], losses, seed)
        said = [
            f"Against parameters: {_words(by_size)}. Against training operations: {_words(by_flops)}.",
            _steps(results, seed),
        ]
    else:
        said = ["One size alone: there is nothing to fit."]
    _draw(results, by_size, by_flops, picture)
    caption = (
        "Perplexity against parameters and against the operations of the whole training (their formula is that of "
        "dnamamba.sweep.plan.training_flops); bars are 95% intervals; crosses are published points."
    )
    return Findings("What size buys", said, {picture: caption}, notes=(published.EXPLAINED,))


def _words(law: PowerLaw) -> str:
    return (
        f"loss = {law.scale:.4f} x N^-{digits(law.exponent)} (95% interval of the exponent "
        f"{digits(law.low)} to {digits(law.high)}, targets resampled), every point within {law.worst:.2%} of it"
    )


def _steps(results: Sequence[RunResult], seed: int) -> str:
    """Whether perplexity falls from each size to the next."""
    worse, even = [], []
    for small, large in pairwise(results):
        gain = compare(small.losses[small.context], large.losses[large.context], seed)
        if gain.high < 0:
            worse.append(f"{large.name} than {small.name} by {digits(-gain.bits)} bits")
        elif gain.low <= 0:
            even.append(f"{small.name} to {large.name}")
    if not worse and not even:
        return "Every size is significantly better than the one before."
    found = "Monotone within intervals." if not worse else f"Significantly worse: {', '.join(worse)}."
    return found + (f" No significant difference: {', '.join(even)}." if even else "")


def _draw(results: Sequence[RunResult], by_size: PowerLaw | None, by_flops: PowerLaw | None, path: Path) -> None:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharey=True)
    shapes = [ModelConfig(d_model=width, n_layers=blocks) for width, blocks in published.SIZES.values()]
    flops = [training_flops(config) * published.SIZE_TOKENS for config in shapes]
    _points(left, [one.figures["parameters"] for one in results], results, by_size)
    _points(right, [one.figures["flops"] for one in results], results, by_flops)
    for name, values in published.SIZE_PERPLEXITY.items():
        label = f"{name} ({published.MARK})"
        left.plot(published.SIZE_PARAMETERS, values, "--", marker="x", ms=4, lw=0.8, alpha=0.7, label=label)
        if name == "Mamba":  # the formula is for this block alone
            right.plot(flops, values, "--", marker="x", ms=4, lw=0.8, alpha=0.7, label=label)
    left.set(xscale="log", xlabel="parameters", ylabel="perplexity over A, C, G, T")
    right.set(xscale="log", xlabel="operations of the whole training")
    for axes in (left, right):
        axes.grid(lw=0.4, alpha=0.5)
        axes.legend(fontsize=7)
    save_picture(figure, path)


def _points(axes: Any, sizes: Sequence[float], results: Sequence[RunResult], law: PowerLaw | None) -> None:
    values = [one.score.perplexity for one in results]
    bars = [
        [one.score.perplexity - one.score.low for one in results],
        [one.score.high - one.score.perplexity for one in results],
    ]
    axes.errorbar(sizes, values, yerr=bars, fmt="o", capsize=3, label="these runs")
    if law is not None:
        ends = min(sizes), max(sizes)
        steps = [ends[0] * (ends[1] / ends[0]) ** (i / 50) for i in range(51)]
        label = f"power law, exponent {digits(law.exponent)} ({digits(law.low)} to {digits(law.high)})"
        axes.plot(steps, [law.at(size) for size in steps], lw=1, color="0.3", label=label)
