"""The report of a context curve: text for the terminal, CSV, and one HTML page with tables and figures inside."""

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnamamba.evaluate import Difference, compare
from dnamamba.files import write_whole
from dnamamba.html_report import Picture, Section, Table, Text, write_report
from dnamamba.pictures import pyplot, save_picture
from dnamamba.sweep.bits import digits, with_interval
from dnamamba.sweep.classes import ALL
from dnamamba.sweep.curve import Point, verdict
from dnamamba.sweep.oracle import Oracle
from dnamamba.sweep.streams import Losses
from dnamamba.sweep.targets import Context, Targets, context_name

REPORT, TABLE = "report.html", "curve.csv"
_COLUMNS = "model,class,context,targets,perplexity,low,high,bits,gain,gain_low,gain_high,total,total_low,total_high"
_METHOD = (
    "Perplexity and bits a base over A, C, G, T, of the same target bases at every context. At context C a base is "
    "read with at least C and fewer than 1.25 C bases upstream; full is from the start of the contig, or from where "
    "the split cuts it. Intervals are 95%, from resampling blocks of targets; gains are paired over the same bases. "
    "Classes of copies: how far upstream the 24 bases before the target stood last, on the strand that is read."
)


@dataclass(frozen=True)
class ContextSweep:
    """What a finished sweep found."""

    models: tuple[str, ...]
    """Names, in the order given."""
    title: str
    """Part and genomes."""
    targets: Targets
    losses: Mapping[str, Mapping[Context, Losses]]
    """Model -> context -> losses of every target."""
    curves: Mapping[str, Mapping[str, Sequence[Point]]]
    """Model -> class of targets ("all" first) -> curve."""
    oracle: Oracle | None
    """Only over simulated genomes."""
    seed: int


def summary(found: ContextSweep, out: Path) -> str:
    """The curve of every model as text, and where the report is."""
    lines, oracle_too = [], "  oracle" if found.oracle and found.oracle.points else ""
    for name in found.models:
        points = found.curves[name][ALL]
        lines.append(f"\n{name}, {found.title}: {points[0].score.targets:,} target bases")
        lines.append(f"{'context':>8}  {'perplexity (95%)':>24}  {'bits':>7}  {'gain of the step':>31}{oracle_too}")
        for point in points:
            oracle = found.oracle.points.get(point.context) if found.oracle else None
            gain = with_interval(point.gain) if point is not points[0] else ""
            beside = digits(oracle.gain.bits, "+") if oracle is not None and point is not points[0] else ""
            bits = f"{_perplexity(point):>24}  {point.score.bits:7.4f}"
            lines.append(f"{context_name(point.context):>8}  {bits}  {gain:>31}  {beside}".rstrip())
        lines.append(verdict(points))
    if found.oracle and found.oracle.note:
        lines.append(found.oracle.note)
    return "\n".join([*lines, "", f"{out / REPORT}, {out / TABLE}"])


def leave_report(found: ContextSweep, out: Path, command: Sequence[str]) -> None:
    """Write report.html, curve.csv and the figures they hold."""
    write_whole(out / TABLE, _csv(found))
    figures = out / "figures"
    _draw_curves(found, figures / "context.png")
    _draw_classes(found, figures / "classes.png")
    notes = [*found.targets.left_out, *([found.oracle.note] if found.oracle and found.oracle.note else [])]
    regions = len({(block.assembly, block.contig) for block in found.targets.blocks})
    about = (
        f"{', '.join(found.models)} on {found.title}: {len(found.targets.blocks):,} blocks of {found.targets.size} "
        f"bases on {regions} contigs, drawn with seed {found.seed}."
    )
    sections = [
        Section(
            "What was measured",
            [Text(about), Text(_METHOD), *map(Text, notes), Text(typed_command(command), code=True)],
        ),
        Section(
            "Perplexity against context",
            [
                Picture(
                    figures / "context.png", "Left: perplexity, bands are 95% intervals. Right: bits a base gained."
                ),
                *(part for name in found.models for part in (_curve_table(found, name), Text(_verdict(found, name)))),
            ],
        ),
        *([_beside(found)] if len(found.models) > 1 else []),
        Section(
            "By class of bases",
            [
                Picture(figures / "classes.png", "Bits a base gained over the shortest context, by class of targets."),
                *(_class_table(found, name) for name in found.models),
            ],
        ),
    ]
    write_report(out / REPORT, "What longer context buys", sections)


def _verdict(found: ContextSweep, name: str) -> str:
    return f"{name}: {verdict(found.curves[name][ALL])}."


def _curve_table(found: ContextSweep, name: str) -> Table:
    points = found.curves[name][ALL]
    oracle = found.oracle.points if found.oracle else {}
    header = ["context", "perplexity (95%)", "bits a base", "gain of the step (95%)", "gain since the first (95%)"]
    header += ["oracle: step", "oracle: since the first"] if oracle else []
    rows = []
    for number, point in enumerate(points):
        row = [context_name(point.context), _perplexity(point), f"{point.score.bits:.4f}"]
        row += [with_interval(point.gain), with_interval(point.total)] if number else ["", ""]
        if oracle:
            best = oracle[point.context]
            row += [digits(best.gain.bits, "+"), digits(best.total.bits, "+")] if number else ["", ""]
        rows.append(row)
    caption = f"{name}, {points[0].score.targets:,} target bases; gains in bits a base."
    if oracle:
        caption += (
            " The oracle knows the map of the planted far repeats and sees all earlier copies within its context."
        )
    return Table(header, rows, caption)


def _class_table(found: ContextSweep, name: str) -> Table:
    curves = found.curves[name]
    header = ["class", "target bases", *(context_name(context) for context in found.targets.contexts), "gain (95%)"]
    rows = [
        [
            label, f"{points[0].score.targets:,}", *(f"{point.score.perplexity:.4f}" for point in points),
            with_interval(points[-1].total),
        ]
        for label, points in curves.items()
    ]  # fmt: skip
    return Table(header, rows, f"{name}: perplexity by class; gain from the first context to the last, bits a base.")


def _beside(found: ContextSweep) -> Section:
    """Every other model against the first, paired."""
    first, *others = found.models
    kept = {name: [losses.astype(np.float64) for losses in found.losses[name].values()] for name in found.models}
    rows = [
        [
            context_name(context),
            *(with_interval(compare(kept[name][row], kept[first][row], found.seed)) for name in others),
        ]
        for row, context in enumerate(found.targets.contexts)
    ]
    caption = f"Bits a base above those of {first} (95%), paired over the same bases; above 0 {first} is better."
    return Section("Models beside each other", [Table(["context", *others], rows, caption)])


def _csv(found: ContextSweep) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS.split(","), "oracle_gain", "oracle_total"])
    for name in found.models:
        for label, points in found.curves[name].items():
            for point in points:
                best = found.oracle.points.get(point.context) if found.oracle and label == ALL else None
                numbers = [point.score.perplexity, point.score.low, point.score.high, point.score.bits]
                numbers += [*point.gain, *point.total, *((best.gain.bits, best.total.bits) if best else ())]
                cells = [f"{number:.9g}" for number in numbers]
                row = [name, label, context_name(point.context), point.score.targets, *cells]
                writer.writerow(row + [""] * (16 - len(row)))
    return out.getvalue()


def _draw_curves(found: ContextSweep, path: Path) -> None:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    places = list(range(len(found.targets.contexts)))
    for name in found.models:
        points = found.curves[name][ALL]
        (line,) = left.plot(places, [point.score.perplexity for point in points], marker="o", ms=4, label=name)
        lows, highs = [point.score.low for point in points], [point.score.high for point in points]
        left.fill_between(places, lows, highs, alpha=0.15, color=line.get_color(), lw=0)
        _with_bars(right, places, [point.total for point in points], name, line.get_color())
    if found.oracle and found.oracle.points:
        totals = [found.oracle.points[context].total for context in found.targets.contexts]
        right.plot(places, [one.bits for one in totals], "--", color="0.3", marker="s", ms=4, label="oracle")
    left.set_ylabel("perplexity over A, C, G, T")
    right.set_ylabel(f"bits a base gained over context {context_name(found.targets.contexts[0])}")
    for axes in (left, right):
        _name_contexts(axes, found)
    figure.suptitle(f"Perplexity against context, {found.title}", fontsize=9, wrap=True)
    save_picture(figure, path)


def _draw_classes(found: ContextSweep, path: Path) -> None:
    plt = pyplot()
    count = len(found.models)
    figure, grid = plt.subplots(1, count, figsize=(5.5 * count, 4), layout="constrained", squeeze=False, sharey=True)
    places = list(range(len(found.targets.contexts)))
    for axes, name in zip(grid[0], found.models, strict=True):
        for label, points in found.curves[name].items():
            _with_bars(axes, places, [point.total for point in points], label, None)
        axes.set_title(name, fontsize=9)
        _name_contexts(axes, found)
    grid[0][0].set_ylabel("bits a base gained")
    save_picture(figure, path)


def _with_bars(axes: Any, places: list[int], gains: Sequence[Difference], label: str, color: str | None) -> None:
    values = [gain.bits for gain in gains]
    bars = [[gain.bits - gain.low for gain in gains], [gain.high - gain.bits for gain in gains]]
    axes.errorbar(places, values, yerr=bars, marker="o", ms=4, capsize=2, lw=1.2, label=label, color=color)


def _name_contexts(axes: Any, found: ContextSweep) -> None:
    contexts = found.targets.contexts
    axes.set_xticks(range(len(contexts)), [context_name(context) for context in contexts], rotation=60, fontsize=8)
    axes.set_xlabel("bases upstream, at least")
    axes.grid(axis="y", lw=0.4, alpha=0.5)
    axes.legend(fontsize=8)


def _perplexity(point: Point) -> str:
    return f"{point.score.perplexity:.4f} ({point.score.low:.4f}-{point.score.high:.4f})"


def typed_command(command: Sequence[str]) -> str:
    """The command as it could be typed again."""
    program, *rest = command
    return shlex.join([Path(program).name.replace("__main__.py", "dnamamba"), *rest])
