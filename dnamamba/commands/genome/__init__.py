"""`dnamamba genome`: ingest, simulate, inspect, verify and export genomes. One module a command."""

import click

from dnamamba.commands.genome.export import export
from dnamamba.commands.genome.fetch import fetch
from dnamamba.commands.genome.info import info
from dnamamba.commands.genome.ingest import ingest
from dnamamba.commands.genome.list import list_genomes
from dnamamba.commands.genome.simulate import simulate
from dnamamba.commands.genome.split import split
from dnamamba.commands.genome.verify import verify


@click.group()
def genome() -> None:
    """Genomes: from FASTA or 2bit into a Zarr store, and back."""


for command in (list_genomes, fetch, ingest, simulate, info, verify, split, export):
    genome.add_command(command)
