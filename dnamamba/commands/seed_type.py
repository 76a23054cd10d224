"""Seeds on the command line."""

import click

SEED = click.IntRange(0, 2**63 - 1)
"""What numpy and torch both take."""
