"""Options of the commands that read any file of sequences: names, letters, device."""

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--names", type=click.Choice(["first-word", "full"]), default="first-word", show_default=True,
        help="Part of a FASTA header that names the sequence.",
    ),
    click.option(
        "--gaps", type=click.Choice(["error", "drop"]), default="error", show_default=True,
        help="What becomes of alignment gaps.",
    ),
    click.option(
        "--unknown", type=click.Choice(["N", "error"]), default="N", show_default=True,
        help="What becomes of letters that are no nucleotide code: read as N, or an error.",
    ),
    click.option("--rna", is_flag=True, help="Read U as T."),
    click.option("--batch-bases", metavar="N", help="Bases through the model at once; default: by device and model."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
)  # fmt: skip


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All of them: names, gaps, unknown, rna, batch_bases, device."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
