"""`dnamamba track`: a value for every base."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dnamamba.device import Device, Precision
    from dnamamba.scoring.base_track import Strands, What


@click.command()
@click.argument("model", type=click.Path())
@click.option("--reference", required=True, metavar="G", help="The genome: a store, a FASTA or a 2bit file.")
@click.option("--assembly", metavar="NAME", help="Which assembly of a store; needed when it holds several.")
@click.option("--aliases", metavar="FILE", help="Other names of contigs: a chromAlias.txt or an NCBI assembly report.")
@click.option("--region", "regions", multiple=True, metavar="R", help="Only chr1:1,001-2,000; may be repeated.")
@click.option("--bed", metavar="F", help="Only the intervals of this BED file.")
@click.option("--out", required=True, metavar="F", help="F.bw, F.bedgraph or F.bedgraph.gz; - is bedGraph on stdout.")
@click.option(
    "--what", type=click.Choice(["likelihood", "entropy", "surprise"]), default="likelihood", show_default=True,
    help="Log-likelihood of the base (nats), entropy of the prediction (nats), surprise by the base (bits).",
)  # fmt: skip
@click.option(
    "--strands", type=click.Choice(["both", "forward", "reverse"]), default="both", show_default=True,
    help="both is the mean of the two, each value at the base it is of.",
)  # fmt: skip
@click.option(
    "--context", default="128k", show_default=True, metavar="N|full",
    help="Bases before a base: N/2 to N; full is all of the contig.",
)  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True)
def track(
    model: str,
    reference: str,
    assembly: str | None,
    aliases: str | None,
    regions: tuple[str, ...],
    bed: str | None,
    out: str,
    what: "What",
    strands: "Strands",
    context: str,
    device: "Device",
    precision: "Precision",
) -> None:
    """Write what MODEL says of every base of a genome, or of regions. N and other ambiguous bases have no value."""
    from dnamamba.base_progress import BaseProgress
    from dnamamba.config import parse_size
    from dnamamba.scoring.run_track import run_track

    with BaseProgress(f"track {what}") as progress:
        count = run_track(
            model,
            reference,
            out,
            assembly=assembly,
            aliases=aliases,
            regions=regions,
            bed=bed,
            what=what,
            strands=strands,
            context=None if context == "full" else parse_size(context, "--context"),
            device=device,
            precision=precision,
            progress=progress,
        )
    click.echo(f"{out}: {what} of {count:,} bases", err=True)
