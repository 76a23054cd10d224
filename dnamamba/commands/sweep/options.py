"""What the sweeps over runs share on the command line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from dnamamba.commands.seed_type import SEED

_OPTIONS = (
    click.argument("config_and_overrides", nargs=-1, metavar="[CONFIG.yaml] [key.path=value ...]"),
    click.option(
        "--store", "stores", multiple=True, metavar="S[:WEIGHT]",
        help="Genome store to train on; may be repeated. Those of the configuration by default.",
    ),
    click.option("--tokens", metavar="N", help="Tokens of every run; those of the configuration by default."),
    click.option("--targets", default="256k", show_default=True, metavar="N", help="Target bases, about."),
    click.option(
        "--seed", default=0, show_default=True, type=SEED,
        help="Of targets and intervals; training has run.seed.",
    ),
    click.option("--jobs", type=int, metavar="N", help="Runs at a time; one a GPU, or one on a CPU, by default."),
)  # fmt: skip


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every sweep over runs has."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def out_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--out`, the folder of the sweep."""
    return click.option(
        "--out", default=Path(default), show_default=True, type=click.Path(path_type=Path),
        help="Folder of runs and report; the same command goes on with what it holds.",
    )  # fmt: skip


def config_of(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The configuration's file or name, if one is given, and the overrides."""
    paths = [word for word in words if "=" not in word]
    if len(paths) > 1:
        raise click.UsageError(f"want at most one CONFIG.yaml, got {', '.join(paths)}")
    return (paths[0] if paths else None), [word for word in words if "=" in word]
