"""`dnamamba sweep size`."""

from functools import partial
from pathlib import Path

import click

from dnamamba.commands.sweep.options import config_of, out_option, run_options


@click.command(short_help="Perplexity against parameters and operations, with a power law.")
@run_options
@click.option(
    "--sizes", default="", metavar="SIZE[,SIZE...]",
    help="0.26M, 0.68M, 1.4M, 3.5M, 7M, 19M, 41M (the default), or WIDTHxBLOCKS such as 48x6.",
)  # fmt: skip
@click.option("--context", metavar="N", help="Window length; that of the configuration by default.")
@out_option("runs/sweep-size")
def size(
    config_and_overrides: tuple[str, ...],
    stores: tuple[str, ...],
    tokens: str | None,
    targets: str,
    seed: int,
    jobs: int | None,
    sizes: str,
    context: str | None,
    out: Path,
) -> None:
    """Train models of several sizes on equal tokens and fit a power law through their losses.

    By default the recipes of the paper (hg38-0.26M .. hg38-41M); any key of theirs can be set on the line.
    """
    base, overrides = config_of(config_and_overrides)

    from dnamamba.sweep.carry_out import carry_out  # here, so that --help does not wait for torch
    from dnamamba.sweep.sizes import find_sizes, size_plan

    plan = size_plan(base, overrides, stores, sizes, tokens, context, targets, seed)
    carry_out(plan, out, jobs, partial(find_sizes, seed=seed), click.echo)
