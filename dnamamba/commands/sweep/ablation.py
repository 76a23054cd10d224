"""`dnamamba sweep ablation`."""

from pathlib import Path

import click

from dnamamba.commands.sweep.options import config_of, out_option, run_options


@click.command(short_help="What parts of the model buy: runs that differ in named overrides.")
@run_options
@click.option(
    "--variant", "variants", multiple=True, metavar="'NAME [key.path=value ...]'",
    help="A run and what is special about it; the first is what the others are compared with. By default: what is "
    "selective (dt, B, C, nothing), S4D, one state.",
)  # fmt: skip
@click.option("--context", metavar="N", help="Window length; that of the configuration by default.")
@click.option(
    "--match/--no-match", default=True, show_default=True,
    help="Give every model the width at which it has as many parameters as the first.",
)  # fmt: skip
@out_option("runs/sweep-ablation")
def ablation(
    config_and_overrides: tuple[str, ...],
    stores: tuple[str, ...],
    tokens: str | None,
    targets: str,
    seed: int,
    jobs: int | None,
    variants: tuple[str, ...],
    context: str | None,
    match: bool,
    out: Path,
) -> None:
    """Train variants of a model on equal tokens, at equal parameters, and compare them on the same bases."""
    base, overrides = config_of(config_and_overrides)

    from dnamamba.sweep.ablation import ablation_plan, find_ablation  # here, so that --help does not wait for torch
    from dnamamba.sweep.carry_out import carry_out

    plan = ablation_plan(base, overrides, stores, variants, tokens, context, targets, seed, match)
    carry_out(plan, out, jobs, find_ablation, click.echo)
