"""`dnamamba genome verify`: a store against its checksums and digests."""

import click

from dnamamba.commands.genome.options import JOBS, STORE
from dnamamba.errors import InputError


@click.command()
@click.argument("store", type=STORE)
@click.option("--assembly", metavar="NAME", help="Only this assembly; by default all of them.")
@JOBS
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
