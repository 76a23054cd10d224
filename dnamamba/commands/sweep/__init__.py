"""`dnamamba sweep`: what context, size and selection buy. One module a command."""

import click

from dnamamba.commands.sweep.context import context


@click.group(short_help="What context, size and selection buy: tables, figures, one report.")
def sweep() -> None:
    """Sweeps over context, size and parts of the model, each with one HTML report and a CSV beside it."""


for command in (context,):
    sweep.add_command(command)
