"""What several `dnamamba genome` commands ask for in the same words."""

import click

STORE = click.Path(path_type=str)
ASSEMBLY = click.option("--assembly", metavar="NAME", help="The assembly; needed when the store holds several.")
LAYOUT = click.option(
    "--layout",
    type=click.Choice(["raw", "packed"]),
    default="raw",
    show_default=True,
    help="A byte a base, for training; or about a quarter of it, for archives and object stores.",
)
JOBS = click.option("--jobs", type=click.IntRange(1), metavar="J", help="Threads; by default one a core.")
FORMAT = click.option(
    "--format", type=click.Choice(["2bit", "fasta"]), help="Which file of a genome; by default its manifest's first."
)
