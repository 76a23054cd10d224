"""`dnamamba doctor`."""

import sys

import click


@click.command()
def doctor() -> None:
    """Check the device, the kernels and the versions; exit 1 when a kernel fails, with what to do about it."""
    from dnamamba.doctor import examine

    report = examine()
    click.echo(report.text())
    sys.exit(0 if report.ok else 1)
