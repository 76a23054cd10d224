"""Options of the commands that read any file of sequences: names, letters, device."""

from collections.abc import Callable
from typing import Any, Literal

import click

Command = Callable[..., Any]


def reading_options(command: Command) -> Command:
    """All of them: names, gaps, unknown, rna, batch_bases, device."""
    command = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)(
        command
    )
    command = click.option(
        "--batch-bases", metavar="N", help="Bases through the model at once; default: by device and model."
    )(command)
    return letter_options("N")(command)


def letter_options(unknown: Literal["N", "error"]) -> Callable[[Command], Command]:
    """Those of names and letters alone: names, gaps, unknown, rna.

    Args:
        unknown: what becomes of letters that are no nucleotide code, if nothing is said.
    """
    options = (
        click.option(
            "--names", type=click.Choice(["first-word", "full"]), default="first-word", show_default=True,
            help="Part of a FASTA header that names the sequence.",
        ),
        click.option(
            "--gaps", type=click.Choice(["error", "drop"]), default="error", show_default=True,
            help="What becomes of alignment gaps.",
        ),
        click.option(
            "--unknown", type=click.Choice(["N", "error"]), default=unknown, show_default=True,
            help="What becomes of letters that are no nucleotide code: read as N, or an error.",
        ),
        click.option("--rna", is_flag=True, help="Read U as T."),
    )  # fmt: skip

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
