"""`dnamamba sweep context`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from dnamamba.commands.seed_type import SEED
from dnamamba.commands.sweep.options import config_of

if TYPE_CHECKING:
    from dnamamba.device import Precision


@click.command(short_help="What longer context buys, of one model or of one trained at each.")
@click.argument("models", nargs=-1, metavar="MODEL... | --train [CONFIG.yaml] [key.path=value ...]")
@click.option("--store", "stores", multiple=True, metavar="S", help="Genome store; may be repeated.")
@click.option(
    "--contexts", default="", metavar="N[,N...]", help="Bases upstream, or full; 2^6, 2^7 .. 2^20 and full by default."
)
@click.option("--targets", default="256k", show_default=True, metavar="N", help="Target bases, about.")
@click.option(
    "--seed", default=0, show_default=True, type=SEED,
    help="Which targets are drawn; of the intervals.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="Folder of the report, runs/sweep-context (-train, -species) by default; the same command goes on with it.",
)  # fmt: skip
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["test", "valid", "train", "all"]),
    help="Part of the split that the model was trained with; all takes every base of the stores.",
)  # fmt: skip
@click.option("--assembly", "assemblies", multiple=True, metavar="A", help="Take targets of this genome alone.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True)
@click.option("--train", is_flag=True, help="Train a model at each of --contexts on equal tokens, and compare them.")
@click.option(
    "--task", default="lm", show_default=True, type=click.Choice(["lm", "species"]),
    help="--train: the language model, or fine-tuning for species (configuration species-quick) from --model.",
)  # fmt: skip
@click.option("--model", metavar="M", help="--task species: a model, or the folder of a sweep with one a context.")
@click.option("--tokens", metavar="N", help="--train: tokens of every run; those of the configuration by default.")
@click.option("--jobs", type=int, metavar="N", help="--train: runs at a time; one a GPU, or one on a CPU, by default.")
def context(
    models: tuple[str, ...],
    stores: tuple[str, ...],
    contexts: str,
    targets: str,
    seed: int,
    out: Path | None,
    split: str,
    assemblies: tuple[str, ...],
    precision: "Precision",
    train: bool,
    task: str,
    model: str | None,
    tokens: str | None,
    jobs: int | None,
) -> None:
    """Cut the upstream of the same held-out bases at every context and measure what each doubling gains.

    Several MODELs are measured beside each other on the same bases. Memory does not grow with the context. With --train
    a model is trained at each context instead (configuration hg38-1.4M-contexts unless one is named), and each is read
    at each.
    """
    if train:
        if split != "test" or assemblies or precision != "float32":
            raise click.UsageError(
                "--split, --assembly and --precision are for finished models; --train scores the test part in float32"
            )
        base, overrides = config_of(models)
        if task == "species":
            given = click.get_current_context().get_parameter_source
            odd = next((one for one in ("targets", "seed") if given(one) is not ParameterSource.DEFAULT), None)
            if odd is not None:
                raise click.UsageError(f"--{odd}: is for language models; --task species has measure.windows, run.seed")

            from dnamamba.sweep.species_contexts import carry_out_species, species_plan

            tunings = species_plan(base, overrides, stores, model, contexts, tokens)
            carry_out_species(tunings, out or Path("runs/sweep-context-species"), jobs, click.echo)
            return

        from dnamamba.sweep.train_contexts import carry_out_contexts, context_plan

        plan, left_out = context_plan(base, overrides, stores, contexts, tokens, targets, seed)
        carry_out_contexts(plan, out or Path("runs/sweep-context-train"), jobs, click.echo, left_out)
        return
    if not models:
        raise click.UsageError("want a MODEL, the folder of a run; or --train")
    if not stores:
        raise click.UsageError("want --store S")
    if tokens or jobs or model or task != "lm":
        raise click.UsageError("--tokens, --jobs, --task and --model are for --train")

    from dnamamba.sweep.context_curve import context_command  # here, so that --help does not wait for torch

    paths, out = [Path(model) for model in models], out or Path("runs/sweep-context")
    click.echo(context_command(paths, stores, split, contexts, targets, assemblies, seed, precision, out))
