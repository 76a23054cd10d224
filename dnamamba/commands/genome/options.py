"""What several `dnamamba genome` commands ask for in the same words."""

import click

STORE = click.Path(path_type=str)
ASSEMBLY = click.option("--assembly", metavar="NAME", help="The assembly; needed when the store holds several.")
JOBS = click.option("--jobs", type=click.IntRange(1), metavar="J", help="Threads; by default one a core.")
