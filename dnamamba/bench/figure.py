"""The figure of the Mamba paper's efficiency section, of this machine: time by length, and decoding by batch."""

from collections.abc import Sequence
from pathlib import Path

from dnamamba.bench.results import Result
from dnamamba.pictures import pyplot, save_picture

_METRICS = {"forward_ms": "forward", "forward_backward_ms": "forward + backward"}


def draw_lengths(results: Sequence[Result], path: Path, title: str) -> None:
    """Draw milliseconds of a call against length, log-log, one line a contender; a panel forward, one with backward.

    Args:
        results: of `measure_lengths`.
        path: PNG to write.
        title: device and width.

    Source: Gu and Dao, Mamba (arXiv 2312.00752), figure 8, left.
    """
    figure, panels = pyplot().subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for axes, (metric, words) in zip(panels, _METRICS.items(), strict=True):
        rows = [row for row in results if row.metric == metric]
        for name in dict.fromkeys(name for row in rows for name in ("scan", *row.rivals)):
            points = [(length_of(row), row.ours if name == "scan" else row.rivals.get(name)) for row in rows]
            _line(axes, points, "scan (ours)" if name == "scan" else name, heavy=name == "scan")
        limits = [(length_of(row), row.limit) for row in rows]
        _line(axes, limits, "the scan's physical limit", style=":", marker="", color="0.5")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(xlabel="sequence length", title=words)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("milliseconds a call")
    panels[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    save_picture(figure, path)


def draw_decoding(results: Sequence[Result], path: Path, title: str) -> None:
    """Draw decoded tokens a second against batch, log-log, two lines a model.

    Args:
        results: of `measure_decoding`.
        path: PNG to write.
        title: the device.

    Source: Gu and Dao, Mamba (arXiv 2312.00752), figure 8, right.
    """
    figure, axes = pyplot().subplots(figsize=(6, 4.2), layout="constrained")
    for model in dict.fromkeys(row.case.split()[0] for row in results):
        rows = [row for row in results if row.case.split()[0] == model]
        batches = [int(row.case.split()[1]) for row in rows]
        _line(axes, list(zip(batches, (row.ours for row in rows), strict=True)), f"{model}, Decoder", heavy=True)
        for name in dict.fromkeys(name for row in rows for name in row.rivals):
            points = list(zip(batches, (row.rivals.get(name) for row in rows), strict=True))
            _line(axes, points, f"{model}, {name}", style="--")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(xlabel="sequences decoded side by side", ylabel="tokens a second", title=title)
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_picture(figure, path)


def length_of(row: Result) -> int:
    """Of a case such as "1x256x1024 bf16"."""
    return int(row.case.split()[0].split("x")[2])


def _line(
    axes: object, points: Sequence[tuple[int, float | None]], label: str, *,
    heavy: bool = False, style: str = "-", marker: str = "o", color: str | None = None,
) -> None:  # fmt: skip
    drawn = [(x, y) for x, y in points if y is not None]
    if drawn:
        axes.plot(  # type: ignore[attr-defined]
            *zip(*drawn, strict=True), style, marker=marker, ms=4, lw=2.2 if heavy else 1.2, color=color, label=label
        )
