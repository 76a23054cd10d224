"""`dnamamba genome split`: which bases of which genome are trained on, and which are held out."""

from pathlib import Path
from typing import Any

import click

from dnamamba.commands.genome.options import STORE
from dnamamba.errors import InputError

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("stores", metavar="STORE..", nargs=-1, required=True, type=STORE)
@click.option("--config", type=FILE, help="YAML with a `split:` section; the options below go over it.")
@click.option(
    "--method",
    type=click.Choice(["fraction", "contig", "bed"]),
    help="By default what the other options imply, else fraction.",
)
@click.option("--valid-fraction", type=float, help="fraction: share of every contig for validation.")
@click.option("--test-fraction", type=float, help="fraction: share of every contig for the test.")
@click.option("--margin", metavar="SIZE", help="fraction: bases left unused between two parts.")
@click.option("--valid", multiple=True, metavar="P", help="contig: name or pattern, in human numbers; may be repeated.")
@click.option("--test", multiple=True, metavar="P", help="contig: as --valid.")
@click.option("--bed", multiple=True, metavar="F", help="bed: a file, or ASSEMBLY=FILE; may be repeated.")
@click.option("--preset", metavar="NAME", help="A published split by chromosome: hyenadna.")
@click.option("--out", type=FILE, help="Write the split for pretraining: NAME.yaml or NAME.bed.")
@click.option("--figure", type=FILE, metavar="PNG", help="Draw shares and contigs.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
@click.option("--check-leaks", is_flag=True, help="Look for held-out sequence in the training part; 0.1 s a Mb.")
@click.option(
    "--most-shared",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="--check-leaks: exit 1 when a region shares more of its 31-mers than this.",
)
def split(
    stores: tuple[str, ...],
    config: Path | None,
    preset: str | None,
    out: Path | None,
    figure: Path | None,
    as_json: bool,
    check_leaks: bool,
    most_shared: float,
    **options: Any,
) -> None:
    """Part the genomes of all STOREs and print how many bases of each are in which part.

    The same loci go to the same part in every species; a split that would not do so is refused.
    """
    import json

    from dnamamba.base_progress import BaseProgress
    from dnamamba.split_config import read_split
    from dnamamba.split_report import report_split

    report = report_split(stores, read_split(config, options, preset is not None), preset)
    if out is not None:
        for path in report.write(out):
            click.echo(f"wrote {path}", err=True)
    if figure is not None:
        from dnamamba.split_figure import draw_split

        draw_split(report.assemblies, report.splits, figure)
        click.echo(f"wrote {figure}", err=True)
    if check_leaks:
        with BaseProgress("look for leaks") as progress:
            report.look_for_leaks(progress)
    click.echo(json.dumps(report.document(), indent=1) if as_json else report.table())
    leaking = report.leaking(most_shared)
    if leaking:
        worst = leaking[0]
        raise InputError(
            f"{len(leaking):,} held-out regions share more than {most_shared:.0%} of their 31-mers with the training "
            f"part, {worst.region.assembly}:{worst.region.contig} {worst.shared:.0%}: put them into one part with "
            "what they are homologous to (split.homologs), or allow it (--most-shared)"
        )
