"""`dnamamba saturate`: every substitution of a region."""

from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from dnamamba.device import Device


@click.command()
@click.argument("model", type=click.Path())
@click.argument("region")
@click.option("--reference", required=True, metavar="G", help="The genome: a store, a FASTA or a 2bit file.")
@click.option("--assembly", metavar="NAME", help="Which assembly of a store; needed when it holds several.")
@click.option("--aliases", metavar="FILE", help="Other names of contigs: a chromAlias.txt or an NCBI assembly report.")
@click.option(
    "--context", default="128k", show_default=True, metavar="N|full", help="Bases before a variant: N/2 to N."
)
@click.option("--horizon", default="512", show_default=True, metavar="K", help="Reference bases read after an allele.")
@click.option("--strands", type=click.Choice(["both", "forward"]), default="both", show_default=True)
@click.option("--out", default="-", show_default=True, metavar="F", help="F.png, F.tsv, F.parquet; - is TSV on stdout.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def saturate(
    model: str,
    region: str,
    reference: str,
    assembly: str | None,
    aliases: str | None,
    context: str,
    horizon: str,
    strands: Literal["both", "forward"],
    out: str,
    device: "Device",
) -> None:
    """Score every substitution of REGION (chr20:1,001-1,100) with MODEL and draw or list the scores."""
    from dnamamba.config import parse_size
    from dnamamba.scoring.plan import ScorerPlan
    from dnamamba.scoring.saturation import run_saturate

    plan = ScorerPlan(
        model=model,
        reference=reference,
        assembly=assembly,
        aliases=aliases,
        context="full" if context == "full" else parse_size(context, "--context"),
        horizon=parse_size(horizon, "--horizon"),
        strands=strands,
        device=device,
    )
    count = run_saturate(plan, region, out)
    click.echo(f"{out}: {count:,} substitutions of {region}", err=True)
