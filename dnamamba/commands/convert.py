"""`dnamamba convert`."""

from pathlib import Path

import click


@click.command()
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option(
    "--to", type=click.Choice(["dnamamba", "huggingface", "mamba-ssm"]),
    help="Who shall read DST: dnamamba, or huggingface where SRC is ours, by default.",
)  # fmt: skip
@click.option(
    "--tokens", metavar="A=7,C=8,...",
    help="The token of each letter in a foreign model: A, C, G, T, N and ^, which stands before a sequence.",
)  # fmt: skip
@click.option(
    "--alphabet", type=click.Choice(["dna", "bytes"]), help="The foreign model's tokens are those of this alphabet."
)
def convert(source: Path, target: Path, to: str | None, tokens: str | None, alphabet: str | None) -> None:
    """Write the model in SRC, a folder with config.json and weights, as another library reads it into DST.

    Models are Mamba-1 language models: MambaForCausalLM of transformers, MambaLMHeadModel of mamba-ssm, or ours.
    """
    from dnamamba.convert.directory import convert as run

    click.echo(run(source, target, to, alphabet=alphabet, tokens=tokens))  # type: ignore[arg-type]
