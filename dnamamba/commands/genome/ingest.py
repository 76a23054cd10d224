"""`dnamamba genome ingest`: genomes into a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnamamba.commands.genome.options import FORMAT, JOBS, LAYOUT, STORE
from dnamamba.errors import InputError

if TYPE_CHECKING:
    from dnamamba.pipelines.store import Assembly


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--store", required=True, type=STORE, help="Folder of the store; made when there is none.")
@click.option("--assembly", metavar="NAME", help="Name of the assembly; by default the file's without its endings.")
@click.option(
    "--names",
    type=click.Choice(["first-word", "full"]),
    default="first-word",
    show_default=True,
    help="Part of a FASTA header that names the contig.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="P",
    help="Only contigs of this name, pattern ('chr?') or class (@primary, @autosome, @sex, @mitochondrion, @unplaced,"
    " @alt).",
)
@click.option("--exclude", multiple=True, metavar="P", help="No contigs of this name, pattern or class.")
@click.option("--aliases", metavar="FILE", help="Names of contigs: UCSC's chromAlias.txt, NCBI's assembly report.")
@click.option(
    "--gaps",
    type=click.Choice(["error", "drop"]),
    default="error",
    show_default=True,
    help="What becomes of alignment gaps.",
)
@click.option(
    "--unknown",
    type=click.Choice(["error", "N"]),
    default="error",
    show_default=True,
    help="What becomes of letters that are no IUPAC code.",
)
@click.option("--rna", is_flag=True, help="Store U as T.")
@LAYOUT
@click.option("--stream", is_flag=True, help="Read a remote FASTA straight into the store, without a copy on disk.")
@click.option("--dir", "folder", metavar="D", help="Folder for downloads, which stay there; by default in the store.")
@click.option("--keep", is_flag=True, help="Do not remove the download from the store's folder.")
@FORMAT
@JOBS
@click.option(
    "--scheduler", metavar="ADDRESS", help="Spread contigs and sources over the workers of this Dask scheduler."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted ingest; finished contigs are not read again.")
@click.option("--overwrite", is_flag=True, help="Replace an assembly that is there, once the new one is whole.")
def ingest(
    sources: tuple[str, ...],
    store: str,
    assembly: str | None,
    names: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    aliases: str | None,
    gaps: str,
    unknown: str,
    rna: bool,
    layout: str,
    stream: bool,
    folder: str | None,
    keep: bool,
    format: str | None,
    jobs: int | None,
    scheduler: str | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Put each SOURCE into a store as an assembly.

    SOURCE is a FASTA (plain, gzip, bgzip; - is standard input) or 2bit file, an address (http, https, s3, gs, file) or
    a genome of `dnamamba genome list`. Of the last two the file is downloaded first, verified, and removed at the end.
    """
    if assembly is not None and len(sources) > 1:
        raise click.UsageError("--assembly names one assembly; give one SOURCE with it")
    from dnamamba.base_progress import BaseProgress
    from dnamamba.pipelines.remote_source import check_names, ingest_source

    options: dict[str, Any] = {
        "assembly": assembly,
        "names": names,
        "gaps": gaps,
        "unknown": unknown,
        "rna": rna,
        "layout": layout,
        "include": include,
        "exclude": exclude,
        "aliases": aliases,
        "jobs": jobs,
        "resume": resume,
        "overwrite": overwrite,
        "stream": stream,
        "folder": folder,
        "keep": keep,
        "format": format,
    }

    if len(sources) > 1:
        check_names(sources, store, format, replace=resume or overwrite)  # type: ignore[arg-type]  # click has checked it

    def tell(made: "Assembly") -> None:
        bases = sum(made.sizes.values())
        click.echo(f"{store}: assembly {made.name}, {len(made.contigs):,} contigs, {bases:,} bases", err=True)

    if scheduler is not None:
        from dnamamba.pipelines.cluster import connect
        from dnamamba.pipelines.ingest_many import ingest_many

        what = sources[0] if len(sources) == 1 else f"{len(sources)} sources"
        try:
            with connect(scheduler) as cluster, BaseProgress(f"ingest {what}") as progress:
                ingest_many(
                    sources,
                    store,
                    cluster=cluster,
                    done=tell,
                    note=progress.note,
                    progress=progress,
                    **options,
                )
        except KeyboardInterrupt:
            raise InputError(f"{what}: interrupted; the finished contigs are kept, --resume goes on") from None
        return
    for source in sources:
        try:
            with BaseProgress(f"ingest {Path(source).name}") as progress:
                made = ingest_source(
                    source,
                    store,
                    fetched=progress.stage(f"fetch {Path(source).name}", "bytes"),
                    note=progress.note,
                    **options,
                    progress=progress.stage(f"ingest {Path(source).name}", "bases"),
                )
        except KeyboardInterrupt:
            piped = source == "-" or Path(source).is_fifo()
            kept = "nothing was kept" if piped else "the finished contigs are kept, --resume goes on"
            if "://" in source and not stream:
                kept = f"the download and {kept}"
            raise InputError(f"{source}: interrupted; {kept}") from None
        tell(made)
