"""`dnamamba pretrain`."""

from pathlib import Path

import click

from dnamamba.errors import UsageError


@click.command()
@click.argument("config_and_overrides", nargs=-1, metavar="[CONFIG.yaml] [key.path=value ...]")
@click.option(
    "--store", "stores", multiple=True, metavar="S[:WEIGHT]", help="Genome store to train on; may be repeated."
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run; runs/pretrain-N by default."
)
@click.option(
    "--start-from", metavar="MODEL", help="Start with the weights of a model, and its sizes, in place of fresh ones."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out from its last checkpoint.")
def pretrain(
    config_and_overrides: tuple[str, ...],
    stores: tuple[str, ...],
    out: Path | None,
    start_from: str | None,
    resume: bool,
) -> None:
    """Pretrain a byte-level Mamba, its context growing stage by stage; then measure it on held-out sequence.

    Without arguments it simulates five great apes, trains a small model on them on whatever device is there, and prints
    its perplexity beside a Markov baseline's, in a few minutes on two CPU cores. CONFIG.yaml is a file or the name of
    one that comes with the package (quick, ...). Any key of it can be set on the line:
    curriculum.total_tokens=64M optimiser.lr=4e-3.

    What it leaves in the folder of the run: config.json and model.safetensors (what dnamamba.load reads), metrics.json,
    figures/, logs/, checkpoints/ and, where it simulated, genomes.zarr.
    """
    paths = [text for text in config_and_overrides if "=" not in text]
    overrides = [text for text in config_and_overrides if "=" in text]
    if len(paths) > 1:
        raise click.UsageError(f"want at most one CONFIG.yaml, got {', '.join(paths)}")

    from dnamamba.pretrain import pretrain_command  # here, so that --help does not wait for torch

    if resume and (paths or overrides or stores or start_from):
        raise UsageError("--resume takes the configuration of the run itself; give --out RUN and nothing else")
    text = pretrain_command(paths[0] if paths else None, overrides, stores, out, resume, start_from)
    if text:  # of several processes one speaks
        click.echo(text)
