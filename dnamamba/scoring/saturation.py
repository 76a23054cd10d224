"""Every substitution of a region, scored, as a table and as a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.files import check_output
from dnamamba.pictures import pyplot, save_picture
from dnamamba.pipelines.regions import Region
from dnamamba.pipelines.variant_choice import choose_regions
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.outputs import COLUMNS, arrow_table, score_row
from dnamamba.scoring.plan import ScorerPlan
from dnamamba.scoring.types import VariantScore
from dnamamba.table_writer import TableWriter, table_format

if TYPE_CHECKING:
    import pandas as pd

    from dnamamba.scoring.scorer import VariantScorer

_LETTERS = "ACGT"
_A_ROW, _MOST = 100, 5000  # bases of a row of the picture, and of the whole picture


@dataclass(frozen=True)
class Saturation:
    """The scores of every substitution of a region."""

    region: Region
    reference: str
    """Its letters, upper case."""
    scores: list[VariantScore]
    """Three a base, in order of position and letter; none of a base that is not A, C, G or T."""

    def matrix(self) -> NDArray[np.float64]:
        """Scores as [4, L], rows A, C, G, T, nats; NaN at the reference's own letter, and where it is ambiguous."""
        values = np.full((4, len(self.region)), np.nan)
        for score in self.scores:
            values[_LETTERS.index(score.alt), score.pos - 1 - self.region.start] = score.score
        return values

    def to_frame(self) -> "pd.DataFrame":
        """A row a substitution, with the columns of every table of scores."""
        return arrow_table(self.scores).to_pandas()

    def draw(self, path: str | Path) -> None:
        """Draw the matrix as a heat map into a PNG: red where a substitution makes the sequence less likely.

        Raises:
            InputError: a region of more bases than can be drawn.
        """
        length = len(self.region)
        if length > _MOST:
            raise InputError(f"{self.region}: {length:,} bases; a picture holds {_MOST:,}, the table any number")
        plt = pyplot()
        matrix = self.matrix()
        limit = float(np.nanmax(np.abs(matrix))) if np.isfinite(matrix).any() else 1.0
        rows = -(-length // _A_ROW)
        shown = min(length, _A_ROW)
        size = (2 + 0.16 * max(shown, 24), 0.5 + 1.25 * rows)
        figure, axes = plt.subplots(rows, 1, figsize=size, squeeze=False, layout="constrained")
        for row, ax in enumerate(axes[:, 0]):
            first = row * _A_ROW
            part = np.full((4, shown), np.nan)
            part[:, : min(shown, length - first)] = matrix[:, first : first + shown]
            image = ax.imshow(part, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
            ax.set_yticks(range(4), list(_LETTERS), fontsize=8)
            for at, letter in enumerate(self.reference[first : first + shown]):
                ax.text(at, max(_LETTERS.find(letter), 0), letter, ha="center", va="center", fontsize=7, color="#444")
            ticks = range(0, min(shown, length - first), 10)
            ax.set_xticks(ticks, [f"{self.region.start + first + at + 1:,}" for at in ticks], fontsize=7)
        figure.colorbar(image, ax=axes, label="score, nats", shrink=min(1.0, 2 / rows), aspect=12)
        axes[0, 0].set_title(f"{self.region.contig}, every substitution", fontsize=9)
        save_picture(figure, Path(path))


def saturate(scorer: "VariantScorer", region: str | Region) -> Saturation:
    """Score every substitution of a region.

    Args:
        scorer: scores them.
        region: "chr20:1,001-1,100", 1-based and both ends included, or a `Region`.

    Raises:
        InputError: a region that the genome does not have.
    """
    reference = scorer.reference
    if isinstance(region, str):
        found = choose_regions([region], None, reference.contigs, reference.resolve)
        assert found is not None
        region = found[0]
    letters = reference.fetch(region.contig, region.start, region.end).tobytes().decode("latin-1").upper()
    variants = (
        Variant(region.contig, region.start + at + 1, ".", ref, alt)
        for at, ref in enumerate(letters)
        if ref in _LETTERS
        for alt in _LETTERS
        if alt != ref
    )
    return Saturation(region, letters, list(scorer.score_many(variants)))


def run_saturate(plan: ScorerPlan, region: str, out: str) -> int:
    """What `dnamamba saturate` does: a picture where `out` ends in .png, else a table.

    Returns:
        Substitutions that were scored.
    """
    picture = out.lower().endswith(".png")
    form = None if picture else table_format(out)
    check_output(out, (plan.reference,))
    found = saturate(plan.open(), region)
    if picture:
        found.draw(out)
    else:
        with TableWriter(out, COLUMNS, form) as table:
            for score in found.scores:
                table.write(score_row(score))
    return len(found.scores)
