"""`dnamamba genome info`: what a store holds."""

import click

from dnamamba.commands.genome.options import ASSEMBLY, STORE


@click.command()
@click.argument("store", type=STORE)
@ASSEMBLY
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
