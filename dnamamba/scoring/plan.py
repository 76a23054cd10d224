"""What makes a scorer, written down: paths and options, to be opened in this process or in another."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dnamamba.pipelines.alias_files import aliases_by, read_synonyms
from dnamamba.pipelines.reference import Reference, open_reference

if TYPE_CHECKING:
    from dnamamba.device import Device, Precision
    from dnamamba.scoring.scorer import VariantScorer


def open_genome(path: str, assembly: str | None = None, aliases: str | None = None) -> Reference:
    """Open a reference.

    Args:
        path, assembly: as `open_reference` takes them.
        aliases: a table of other names (`alias_files.read_synonyms`), or None.

    Raises:
        InputError: whatever is wrong with the genome or the table.
    """
    reference = open_reference(path, assembly)
    if aliases is None:
        return reference
    return open_reference(path, assembly, aliases_by(read_synonyms(aliases), reference.contigs))


@dataclass(frozen=True, kw_only=True)
class ScorerPlan:
    """All that another process needs to make the scorer: paths that it sees too, and options."""

    model: str
    reference: str
    assembly: str | None = None
    aliases: str | None = None
    """Table of other names of the contigs: a chromAlias.txt or an assembly report."""
    context: int | Literal["full"] = 131_072
    horizon: int = 512
    strands: Literal["both", "forward"] = "both"
    precision: "Precision" = "float32"
    device: "Device" = "auto"
    calibration: str | None = None
    """File of scores of random variants (`calibration.load_calibration`), for quantiles."""
    window: int | None = None
    """Variants of a task; None is the scorer's own choice."""

    def genome(self) -> Reference:
        """Open the reference in this process."""
        return open_genome(self.reference, self.assembly, self.aliases)

    def open(self) -> "VariantScorer":
        """Make the scorer in this process."""
        from dnamamba.scoring.scorer import VariantScorer

        return VariantScorer(
            self.model,
            self.genome(),
            context=self.context,
            horizon=self.horizon,
            strands=self.strands,
            precision=self.precision,
            device=self.device,
            window=self.window,
            calibration=self.calibration,
        )
