"""`dnamamba evaluate`."""

from pathlib import Path

import click

from dnamamba.commands.seed_type import SEED


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--store", "stores", multiple=True, required=True, metavar="S", help="Genome store; may be repeated.")
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["test", "valid", "train", "all"]),
    help="Part of the split that the model was trained with; all takes every base of the stores.",
)  # fmt: skip
@click.option(
    "--context",
    "contexts",
    default="",
    metavar="N[,N...]",
    help="Window lengths in bases; those of its training by default.",
)
@click.option("--targets", default="256k", show_default=True, metavar="N", help="Target bases, about.")
@click.option("--seed", default=0, show_default=True, type=SEED, help="Which windows are drawn.")
@click.option(
    "--markov/--no-markov", default=False, help="Fit the Markov baseline on the training part and print it beside."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(
    model: Path,
    stores: tuple[str, ...],
    split: str,
    contexts: str,
    targets: str,
    seed: int,
    markov: bool,
    as_json: bool,
) -> None:
    """Perplexity and bits a base of MODEL over A/C/G/T, the same target bases at every context."""
    from dnamamba.evaluate import evaluate_command

    click.echo(evaluate_command(model, stores, split, contexts, targets, seed, markov, as_json))
