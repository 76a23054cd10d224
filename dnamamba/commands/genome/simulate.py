"""`dnamamba genome simulate`: the embedded apes."""

import click

from dnamamba.commands.genome.options import LAYOUT, STORE


@click.command()
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--store", required=True, type=STORE, help="Folder of the store; made when there is none.")
@click.option("--bases", default="2000000", show_default=True, metavar="N", help="Bases of each genome; 1M is 2^20.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--contigs", type=click.IntRange(1), default=8, show_default=True, help="Contigs of each genome.")
@LAYOUT
@click.option("--overwrite", is_flag=True, help="Replace simulated genomes that are there.")
def simulate(
    settings: tuple[str, ...], store: str, bases: str, seed: int, contigs: int, layout: str, overwrite: bool
) -> None:
    """Make the embedded apes: five simulated genomes on the great-ape tree. They hold no real DNA and say so.

    KEY=VALUE changes any other setting of the simulator, such as far_share=0.2; a wrong key names the right one.
    """
    from dnamamba.base_progress import BaseProgress
    from dnamamba.config import from_dict, parse_size, with_overrides
    from dnamamba.errors import usage
    from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store

    values: dict[str, object] = {"bases": parse_size(bases, "--bases"), "seed": seed, "contigs": contigs}
    with usage():
        config = from_dict(SimulateConfig, with_overrides(values, settings), "simulate")
    with BaseProgress("simulate") as progress:
        made = simulate_store(
            store,
            config,
            layout=layout,  # type: ignore[arg-type]  # click has checked it
            overwrite=overwrite,
            progress=progress,
        )
    for assembly in made:
        click.echo(f"{store}: assembly {assembly.name}, {sum(assembly.sizes.values()):,} bases, SIMULATED", err=True)
