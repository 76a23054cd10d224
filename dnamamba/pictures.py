"""Pictures as every part of the package draws them: matplotlib without a screen, the same bytes for the same data."""

from pathlib import Path
from typing import Any


def pyplot() -> Any:
    """matplotlib.pyplot, drawing into files alone. Takes 0.5 s to import."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure as a PNG and forget it; the folder is made. No date and no version are inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png", metadata={"Software": None})
    pyplot().close(figure)
