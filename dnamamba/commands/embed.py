"""`dnamamba embed`."""

from pathlib import Path
from typing import Literal

import click

from dnamamba.commands.sequence_options import reading_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", required=True, metavar="F", help="A name that ends in .parquet or .zarr.")
@click.option(
    "--pool", type=click.Choice(["mean", "last", "none"]), default="mean", show_default=True,
    help="One vector a sequence: mean over its bases, or that of its last; none: one for every base (Zarr).",
)  # fmt: skip
@click.option("--window", metavar="N", help="Embed every window of N bases by itself.")
@click.option(
    "--strands", type=click.Choice(["both", "forward"]),
    help="Average the vectors of both strands (default where pooled), or read the sequence as it is.",
)  # fmt: skip
@reading_options
def embed(
    model: Path, files: tuple[str, ...], out: str, pool: str, window: str | None, strands: str | None, names: str,
    gaps: str, unknown: str, rna: bool, batch_bases: str | None, device: Literal["auto", "cpu", "cuda"],
) -> None:  # fmt: skip
    """Embed every sequence of the FILEs with the language model, or classifier, in MODEL.

    A vector is the model's features after the final norm. A FILE is FASTA or FASTQ (plain, gzip, bgzip; - is standard
    input), 2bit or a genome store. Sequences may be of any number and length: long ones are streamed.
    """
    from dnamamba.base_progress import BaseProgress
    from dnamamba.config import from_dict
    from dnamamba.device import choose_device
    from dnamamba.embedding.files import embed_files, load_backbone
    from dnamamba.embedding.options import EmbedOptions
    from dnamamba.errors import usage

    with usage():
        options = from_dict(
            EmbedOptions,
            {
                "pool": pool, "window": window, "strands": strands, "batch_bases": batch_bases, "names": names,
                "gaps": gaps, "unknown": unknown, "rna": rna,
            },
        )  # fmt: skip
    loaded = load_backbone(model, choose_device(device))
    with BaseProgress("embed") as progress:
        embed_files(loaded, files, options, out, progress=progress, note=progress.note)
