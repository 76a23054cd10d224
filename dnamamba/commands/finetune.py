"""`dnamamba finetune species`."""

from pathlib import Path

import click

from dnamamba.errors import UsageError


@click.group()
def finetune() -> None:
    """Fine-tune a pretrained model: into a species classifier."""


@finetune.command(short_help="Make a species classifier of a language model.")
@click.argument("config_and_overrides", nargs=-1, metavar="[CONFIG.yaml] [key.path=value ...]")
@click.option("--model", "model", metavar="M", help="Directory of the pretrained language model.")
@click.option("--store", "stores", multiple=True, metavar="S", help="Genome store; each assembly is a class.")
@click.option("--fasta", "fasta", multiple=True, metavar="CLASS=FILE", help="Labelled FASTA or 2bit; may be repeated.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run; runs/species-N by default."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out from its last checkpoint.")
def species(
    config_and_overrides: tuple[str, ...],
    model: str | None,
    stores: tuple[str, ...],
    fasta: tuple[str, ...],
    out: Path | None,
    resume: bool,
) -> None:
    """Fine-tune a language model to tell species apart, calibrate it, and measure it beside k-mers.

    CONFIG.yaml is a file or the name of one that comes with the package (species-quick, species-paper). Any key of it
    can be set on the line: head.train=lora optimiser.lr=1e-3.

    What it leaves in the folder of the run: config.json and model.safetensors (what dnamamba classify reads),
    report.html, metrics.json, figures/, logs.csv, checkpoints/.
    """
    paths = [text for text in config_and_overrides if "=" not in text]
    overrides = [text for text in config_and_overrides if "=" in text]
    if len(paths) > 1:
        raise click.UsageError(f"want at most one CONFIG.yaml, got {', '.join(paths)}")

    from dnamamba.species.finetune import finetune_command  # here, so that --help does not wait for torch

    if resume and (paths or overrides or stores or fasta or model):
        raise UsageError("--resume takes the configuration of the run itself; give --out RUN and nothing else")
    click.echo(finetune_command(paths[0] if paths else None, overrides, model, stores, fasta, out, resume))
