"""`dnamamba generate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dnamamba.commands.sequence_options import letter_options

if TYPE_CHECKING:
    from dnamamba.pipelines.fasta import Names
    from dnamamba.pipelines.letters import Gaps, Unknown


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--length", default="1k", show_default=True, metavar="N", help="Bases of each, the prompt not counted.")
@click.option("--number", default=1, show_default=True, help="Sequences, of each prompt.")
@click.option("--start", metavar="LETTERS", help="Continue these letters.")
@click.option("--prompt", metavar="FILE", help="Continue each sequence of a FASTA, FASTQ or 2bit file; - is stdin.")
@click.option("--temperature", default=1.0, show_default=True, help="1 draws as the model believes; 0: the likeliest.")
@click.option(
    "--top-p", default=1.0, show_default=True, help="Draw among the likeliest bases of this probability only."
)
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same sequences.")
@click.option("--batch", default=64, show_default=True, help="Sequences that are made at a time.")
@click.option("--out", default="-", metavar="F", help="FASTA; - is standard output.")
@letter_options("error")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def generate(
    model: Path, length: str, number: int, start: str | None, prompt: str | None, temperature: float, top_p: float,
    seed: int, batch: int, out: str, names: "Names", gaps: "Gaps", unknown: "Unknown", rna: bool,
    device: Literal["auto", "cpu", "cuda"],
) -> None:  # fmt: skip
    """Draw sequences from the language model in MODEL, from nothing or as the continuation of a prompt.

    The header of each says its mean negative log-likelihood under the model, in nats a base.
    """
    if start is not None and prompt is not None:
        raise click.UsageError("--start and --prompt both say what to continue; give one")
    from dnamamba.config import from_dict
    from dnamamba.device import choose_device
    from dnamamba.errors import usage
    from dnamamba.files import check_output
    from dnamamba.generate import GenerateOptions, write_fasta
    from dnamamba.generate import generate as draw
    from dnamamba.model_directory import load
    from dnamamba.stream.given import HowToRead, given_sequences

    with usage():
        options = from_dict(
            GenerateOptions,
            {
                "length": length, "number": number, "temperature": temperature, "top_p": top_p, "seed": seed,
                "batch": batch,
            },
        )  # fmt: skip
    given = {"start": start} if start is not None else prompt
    check_output(out, () if prompt is None else (prompt,))
    how = HowToRead(names=names, gaps=gaps, unknown=unknown, rna=rna)
    prompts = None if given is None else given_sequences(given, how)
    write_fasta(draw(load(model, device=choose_device(device)), prompts, options), out)
