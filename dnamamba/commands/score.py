"""`dnamamba score`: variants in, scores out."""

from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from dnamamba.device import Device, Precision
    from dnamamba.scoring.outputs import OutputFormat


@click.command()
@click.argument("model", type=click.Path())
@click.argument("variants", type=click.Path(allow_dash=True))
@click.option("--reference", required=True, metavar="G", help="The genome: a store, a FASTA or a 2bit file.")
@click.option("--assembly", metavar="NAME", help="Which assembly of a store; needed when it holds several.")
@click.option("--aliases", metavar="FILE", help="Other names of contigs: a chromAlias.txt or an NCBI assembly report.")
@click.option(
    "--context", default="128k", show_default=True, metavar="N|full",
    help="Bases before a variant: N/2 to N; full is all of the contig.",
)  # fmt: skip
@click.option("--horizon", default="512", show_default=True, metavar="K", help="Reference bases read after an allele.")
@click.option("--strands", type=click.Choice(["both", "forward"]), default="both", show_default=True)
@click.option("--phased", is_flag=True, help="Score what each haplotype carries together: a table, a row a block.")
@click.option(
    "--calibrate", type=click.IntRange(20), metavar="N",
    help="Score N random variants of each kind first, and say with each score which share of its kind is lower.",
)  # fmt: skip
@click.option("--calibration", metavar="F", help="Those of an earlier --calibrate: its OUT.calibration.json.")
@click.option(
    "--region", "regions", multiple=True, metavar="R", help="Only records in chr1:1,001-2,000; may be repeated."
)
@click.option("--bed", metavar="F", help="Only records in the intervals of this BED file.")
@click.option(
    "--exclude", multiple=True, metavar="P", help="No contigs of this name, pattern or class (@alt, @unplaced)."
)
@click.option(
    "--format", "form", type=click.Choice(["vcf", "tsv", "jsonl", "parquet"]),
    help="By default what the name says; of standard output, that of VARIANTS.",
)  # fmt: skip
@click.option(
    "--out", default="-", show_default=True, metavar="F", help=".vcf, .vcf.gz (indexed), .tsv, .jsonl, .parquet."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run; nothing is scored again.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="J", help="Processes, one a GPU.")
@click.option("--scheduler", metavar="ADDRESS", help="Spread the work over the workers of this Dask scheduler.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32", show_default=True)
def score(
    model: str,
    variants: str,
    reference: str,
    assembly: str | None,
    aliases: str | None,
    context: str,
    horizon: str,
    strands: Literal["both", "forward"],
    phased: bool,
    calibrate: int | None,
    calibration: str | None,
    regions: tuple[str, ...],
    bed: str | None,
    exclude: tuple[str, ...],
    form: "OutputFormat | None",
    out: str,
    resume: bool,
    jobs: int,
    scheduler: str | None,
    device: "Device",
    precision: "Precision",
) -> None:
    """Score VARIANTS (VCF, BCF or TSV; - is standard input) with MODEL: log-likelihood of ALT over REF, in nats.

    Each record of a VCF is kept, in its order; what cannot be scored says why in DNM_SKIP.
    """
    if resume and out == "-":
        raise click.UsageError("--resume goes on with a file; give --out F")
    if phased and form == "vcf":
        raise click.UsageError("--phased writes a table; want --format tsv, jsonl or parquet")
    if phased and resume:
        raise click.UsageError("--phased has no --resume")
    if phased and (calibrate is not None or calibration is not None):
        raise click.UsageError("--phased writes no quantile; leave out --calibrate and --calibration")
    if calibrate is not None and calibration is not None:
        raise click.UsageError("--calibrate makes what --calibration gives; want one of them")
    from dnamamba.base_progress import BaseProgress
    from dnamamba.config import parse_size
    from dnamamba.scoring.plan import ScorerPlan
    from dnamamba.scoring.run import Wanted, run_score

    plan = ScorerPlan(
        model=model,
        reference=reference,
        assembly=assembly,
        aliases=aliases,
        context="full" if context == "full" else parse_size(context, "--context"),
        horizon=parse_size(horizon, "--horizon"),
        strands=strands,
        precision=precision,
        calibration=calibration,
        device=device,
    )
    with BaseProgress(f"score {variants}", "alleles") as progress:
        lines = run_score(
            plan,
            variants,
            out,
            wanted=Wanted(regions=regions, bed=bed, exclude=exclude),
            form=form,
            phased=phased,
            calibrate=calibrate,
            jobs=jobs,
            scheduler=scheduler,
            resume=resume,
            progress=lambda done, total: progress("", done, total),
        )
    for line in lines:
        click.echo(line, err=True)
