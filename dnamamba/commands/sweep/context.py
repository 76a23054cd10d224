"""`dnamamba sweep context`."""

from pathlib import Path

import click


@click.command(short_help="What longer context buys a model.")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path))
@click.option("--store", "stores", multiple=True, required=True, metavar="S", help="Genome store; may be repeated.")
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["test", "valid", "train", "all"]),
    help="Part of the split that the model was trained with; all takes every base of the stores.",
)  # fmt: skip
@click.option(
    "--contexts", default="", metavar="N[,N...]", help="Bases upstream, or full; 2^6, 2^7 .. 2^20 and full by default."
)
@click.option("--targets", default="256k", show_default=True, metavar="N", help="Target bases, about.")
@click.option("--assembly", "assemblies", multiple=True, metavar="A", help="Take targets of this genome alone.")
@click.option("--seed", default=0, show_default=True, help="Which targets are drawn; of the intervals.")
@click.option(
    "--out", default=Path("runs/sweep-context"), show_default=True, type=click.Path(path_type=Path),
    help="Folder of the report; the same command goes on with what it holds.",
)  # fmt: skip
def context(
    models: tuple[Path, ...],
    stores: tuple[str, ...],
    split: str,
    contexts: str,
    targets: str,
    assemblies: tuple[str, ...],
    seed: int,
    out: Path,
) -> None:
    """Cut the upstream of the same held-out bases at every context and measure what each doubling gains.

    Several MODELS are measured beside each other on the same bases. Memory does not grow with the context.
    """
    if not models:
        raise click.UsageError("want a MODEL, the folder of a run")

    from dnamamba.sweep.context_curve import context_command  # here, so that --help does not wait for torch

    click.echo(context_command(models, stores, split, contexts, targets, assemblies, seed, out))
