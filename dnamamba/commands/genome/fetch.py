"""`dnamamba genome fetch`: the files of genomes onto this disk."""

import click

from dnamamba.commands.genome.options import FORMAT
from dnamamba.errors import InputError


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--dir", "folder", required=True, metavar="D", help="Folder for the files; made when there is none.")
@FORMAT
@click.option("--jobs", type=click.IntRange(1), default=4, show_default=True, metavar="J", help="Files at a time.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds of silence after which a connection is made anew.",
)
@click.option("--tries", type=click.IntRange(1), default=6, show_default=True, help="Tries in a row at one mirror.")
def fetch(names: tuple[str, ...], folder: str, format: str | None, jobs: int, timeout: float, tries: int) -> None:
    """Fetch each NAME, a genome of `dnamamba genome list` or an address (http, https, s3, gs, file), and verify it.

    What is broken off goes on with the same command. Prints MD5 and path of each file, as md5sum does.
    """
    from dnamamba.base_progress import BaseProgress
    from dnamamba.pipelines.fetch import fetch as fetch_files
    from dnamamba.pipelines.fetch_reply import FetchSettings

    settings = FetchSettings(timeout=timeout, tries=tries)
    try:
        with BaseProgress("fetch", unit="bytes") as progress:
            files = fetch_files(
                names,
                folder,
                format=format,  # type: ignore[arg-type]  # click has checked it
                jobs=jobs,
                settings=settings,
                progress=progress,
                note=progress.note,
            )
    except KeyboardInterrupt:
        raise InputError(f"{folder}: interrupted; what has come is kept, the same command goes on") from None
    for file in files:
        held = f"verified: {', '.join(file.checked)}" if file.checked else "NOT VERIFIED"
        click.echo(f"{file.path}: {file.size:,} bytes, {'fetched' if file.url else 'there already'}, {held}", err=True)
        click.echo(f"{file.md5}  {file.path}")
