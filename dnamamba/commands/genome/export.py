"""`dnamamba genome export`: an assembly as FASTA or 2bit."""

import click

from dnamamba.commands.genome.options import ASSEMBLY, STORE


@click.command()
@click.argument("store", type=STORE)
@ASSEMBLY
@click.option(
    "--out", required=True, metavar="F", help="F.fa, F.fa.gz (bgzip) or F.2bit; - is standard output (FASTA)."
)
@click.option(
    "--width", default=60, show_default=True, type=click.IntRange(0, 2**31), help="Bases a line; 0: no line breaks."
)
def export(store: str, assembly: str | None, out: str, width: int) -> None:
    """Write an assembly of STORE as FASTA or 2bit: the bases of its source, byte for byte."""
    from dnamamba.base_progress import BaseProgress
    from dnamamba.pipelines.export import export as export_file
    from dnamamba.pipelines.store import open_store

    chosen = open_store(store).only(assembly)
    with BaseProgress(f"export {chosen.name}") as progress:
        export_file(chosen, out, width=width, progress=progress)
