"""A split as a picture: what share of each genome is in which part, and where along its contigs."""

from collections.abc import Sequence
from pathlib import Path

from dnamamba.pictures import pyplot, save_picture
from dnamamba.pipelines.splits import AssemblyLike, Splits

COLOURS = {"train": "#4c78a8", "valid": "#f2a73b", "test": "#c8443c", "unused": "#dddddd"}
CONTIGS_SHOWN = 26
"""Strips of one genome, the longest contigs; a human genome has 25 chromosomes."""


def draw_split(assemblies: Sequence[AssemblyLike], splits: Splits, path: Path) -> None:
    """Draw a split into a PNG: a bar of shares for each genome, then its contigs as strips, coloured by part.

    Args:
        assemblies: of the split, in the order of the panels.
        splits: finished.
        path: PNG to write.
    """
    plt = pyplot()
    columns = min(len(assemblies), 3)
    rows = -(-len(assemblies) // columns)
    shown = {assembly.name: _longest(assembly) for assembly in assemblies}
    tallest = max(map(len, shown.values()))
    heights = [0.9 + 0.28 * len(assemblies), *[0.9 + 0.17 * tallest] * rows]
    figure = plt.figure(figsize=(4 + 3.2 * columns, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=heights)

    bars = figure.add_subplot(grid[0, :])
    for y, assembly in enumerate(assemblies):
        whole, left = sum(assembly.sizes.values()), 0.0
        shares = {part: splits.bases(part, assembly.name) / max(whole, 1) for part in splits.parts}
        for part, share in (*shares.items(), ("unused", max(0.0, 1 - sum(shares.values())))):
            bars.barh(y, 100 * share, left=left, color=COLOURS[part], label=part if y == 0 else None)
            left += 100 * share
    bars.set_yticks(range(len(assemblies)), [_plain(assembly.name) for assembly in assemblies])
    bars.invert_yaxis()
    bars.set(xlabel="% of the bases", xlim=(0, 100))
    bars.legend(ncols=4, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)

    longest = max((length for contigs in shown.values() for length in contigs.values()), default=1)
    unit, size = next(((name, n) for name, n in (("Mb", 10**6), ("kb", 10**3)) if longest >= n), ("bases", 1))
    for i, assembly in enumerate(assemblies):
        axes = figure.add_subplot(grid[1 + i // columns, i % columns])
        contigs = shown[assembly.name]
        rank = {contig: y for y, contig in enumerate(contigs)}
        for contig, length in contigs.items():
            axes.broken_barh([(0, length / size)], (rank[contig] - 0.35, 0.7), color=COLOURS["unused"])
        for part, regions in splits.parts.items():
            for region in regions:
                if region.assembly == assembly.name and region.contig in rank:
                    strip = (region.start / size, (region.end - region.start) / size)
                    axes.broken_barh([strip], (rank[region.contig] - 0.35, 0.7), color=COLOURS[part])
        axes.set_yticks(range(len(contigs)), [_plain(contig)[:24] for contig in contigs], fontsize=6)
        axes.set_ylim(len(contigs) - 0.4, -0.6)
        axes.set(xlim=(0, longest / size * 1.02), xlabel=unit)
        more = len(assembly.sizes) - len(contigs)
        axes.set_title(_plain(assembly.name) + (f", {more:,} shorter contigs not shown" if more else ""), fontsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    save_picture(figure, path)


def _longest(assembly: AssemblyLike) -> dict[str, int]:
    """The contigs that are drawn, in the order of the store."""
    sizes = assembly.sizes
    kept = set(sorted(sizes, key=lambda contig: -sizes[contig])[:CONTIGS_SHOWN])
    return {contig: length for contig, length in sizes.items() if contig in kept}


def _plain(name: str) -> str:
    return name.replace("$", r"\$")  # matplotlib would read mathematics
