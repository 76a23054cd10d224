"""`dnamamba genome`: ingest, simulate, inspect, verify and export genomes."""

from pathlib import Path

import click

from dnamamba.errors import InputError

_STORE = click.Path(path_type=str)
_ASSEMBLY = click.option("--assembly", metavar="NAME", help="The assembly; needed when the store holds several.")
_JOBS = click.option("--jobs", type=click.IntRange(1), metavar="J", help="Threads; by default one a core.")


@click.group(short_help="Ingest, simulate, inspect, verify and export genomes.")
def genome() -> None:
    """Genomes: from FASTA or 2bit into a Zarr store, and back."""


@genome.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--store", required=True, type=_STORE, help="Folder of the store; made when there is none.")
@click.option("--assembly", metavar="NAME", help="Name of the assembly; by default the file's without its endings.")
@click.option(
    "--names",
    type=click.Choice(["first-word", "full"]),
    default="first-word",
    show_default=True,
    help="Part of a FASTA header that names the contig.",
)
@click.option("--include", multiple=True, metavar="P", help="Only contigs that fit this pattern, such as 'chr?'.")
@click.option("--exclude", multiple=True, metavar="P", help="No contigs that fit this pattern, such as '*_alt'.")
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
@_JOBS
@click.option("--resume", is_flag=True, help="Go on with an interrupted ingest; finished contigs are not read again.")
@click.option("--overwrite", is_flag=True, help="Replace an assembly that is there, once the new one is whole.")
def ingest(
    sources: tuple[str, ...],
    store: str,
    assembly: str | None,
    names: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    gaps: str,
    unknown: str,
    rna: bool,
    jobs: int | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Put each SOURCE, a FASTA (plain, gzip, bgzip; - is standard input) or 2bit file, into a store as an assembly."""
    if assembly is not None and len(sources) > 1:
        raise click.UsageError("--assembly names one assembly; give one SOURCE with it")
    from dnamamba.base_progress import BaseProgress
    from dnamamba.pipelines.ingest import ingest as ingest_file

    for source in sources:
        try:
            with BaseProgress(f"ingest {Path(source).name}") as progress:
                made = ingest_file(
                    source,
                    store,
                    assembly=assembly,
                    names=names,  # type: ignore[arg-type]  # click has checked these three
                    gaps=gaps,  # type: ignore[arg-type]
                    unknown=unknown,  # type: ignore[arg-type]
                    rna=rna,
                    include=include,
                    exclude=exclude,
                    jobs=jobs,
                    resume=resume,
                    overwrite=overwrite,
                    progress=progress,
                )
        except KeyboardInterrupt:
            kept = "nothing was kept" if source == "-" else "the finished contigs are kept, --resume goes on"
            raise InputError(f"{source}: interrupted; {kept}") from None
        bases = sum(made.sizes.values())
        click.echo(f"{store}: assembly {made.name}, {len(made.contigs):,} contigs, {bases:,} bases", err=True)


@genome.command()
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--store", required=True, type=_STORE, help="Folder of the store; made when there is none.")
@click.option("--bases", default="2000000", show_default=True, metavar="N", help="Bases of each genome; 1M is 2^20.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--contigs", type=click.IntRange(1), default=8, show_default=True, help="Contigs of each genome.")
@click.option("--overwrite", is_flag=True, help="Replace simulated genomes that are there.")
def simulate(settings: tuple[str, ...], store: str, bases: str, seed: int, contigs: int, overwrite: bool) -> None:
    """Make the embedded apes: five simulated genomes on the great-ape tree. They hold no real DNA and say so.

    KEY=VALUE changes any other setting of the simulator, such as far_share=0.2; a wrong key names the right one.
    """
    from dnamamba.base_progress import BaseProgress
    from dnamamba.config import from_dict, parse_size, with_overrides
    from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store

    values: dict[str, object] = {"bases": parse_size(bases, "--bases"), "seed": seed, "contigs": contigs}
    config = from_dict(SimulateConfig, with_overrides(values, settings), "simulate")
    with BaseProgress("simulate") as progress:
        made = simulate_store(store, config, overwrite=overwrite, progress=progress)
    for assembly in made:
        click.echo(f"{store}: assembly {assembly.name}, {sum(assembly.sizes.values()):,} bases, SIMULATED", err=True)


@genome.command()
@click.argument("store", type=_STORE)
@_ASSEMBLY
@click.option(
    "--contigs", default=10, show_default=True, type=click.IntRange(0), help="Contigs shown of each assembly."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
def info(store: str, assembly: str | None, contigs: int, as_json: bool) -> None:
    """Print what STORE (a folder or a URL) holds."""
    import json

    from dnamamba.pipelines.store import open_store
    from dnamamba.pipelines.store_info import store_document, store_table

    opened = open_store(store)
    shown = [opened[name] for name in ([assembly] if assembly else opened.assemblies)]
    click.echo(json.dumps(store_document(opened, shown), indent=1) if as_json else store_table(opened, shown, contigs))


@genome.command()
@click.argument("store", type=_STORE)
@click.option("--assembly", metavar="NAME", help="Only this assembly; by default all of them.")
@_JOBS
def verify(store: str, assembly: str | None, jobs: int | None) -> None:
    """Read STORE again: every chunk against its checksum, every contig against its digests."""
    from dnamamba.base_progress import BaseProgress
    from dnamamba.pipelines.store import open_store
    from dnamamba.pipelines.verify import verify as verify_assembly

    opened = open_store(store)
    damaged = []
    for name in [assembly] if assembly else opened.assemblies:
        with BaseProgress(f"verify {name}") as progress:
            one = opened[name]
            damage = verify_assembly(one, jobs=jobs, progress=progress)
        for place in damage:
            click.echo(f"{name}: DAMAGED: {place}")
        if damage:
            damaged.append(name)
        else:
            click.echo(f"{name}: whole, {len(one.contigs):,} contigs, {sum(one.sizes.values()):,} bases")
    if damaged:
        raise InputError(f"{store}: damaged: {', '.join(damaged)}; ingest again with --overwrite")


@genome.command()
@click.argument("store", type=_STORE)
@_ASSEMBLY
@click.option(
    "--out", required=True, metavar="F", help="F.fa, F.fa.gz (bgzip) or F.2bit; - is standard output (FASTA)."
)
@click.option("--width", default=60, show_default=True, type=click.IntRange(0), help="Bases a line; 0: no line breaks.")
def export(store: str, assembly: str | None, out: str, width: int) -> None:
    """Write an assembly of STORE as FASTA or 2bit: the bases of its source, byte for byte."""
    from dnamamba.base_progress import BaseProgress
    from dnamamba.pipelines.export import export as export_file
    from dnamamba.pipelines.store import open_store

    chosen = open_store(store).only(assembly)
    with BaseProgress(f"export {chosen.name}") as progress:
        export_file(chosen, out, width=width, progress=progress)
