"""`dnamamba sweep`: what context, size and selection buy. One module a command."""

import click

from dnamamba.commands.sweep.ablation import ablation
from dnamamba.commands.sweep.context import context
from dnamamba.commands.sweep.size import size


@click.group()
def sweep() -> None:
    """Sweeps over context, size and parts of the model, each with one HTML report and a CSV beside it."""


for command in (context, size, ablation):
    sweep.add_command(command)
