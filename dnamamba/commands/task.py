"""`dnamamba task`."""

from pathlib import Path

import click

from dnamamba.commands.seed_type import SEED


@click.command()
@click.argument("name", type=click.Choice(["selective-copying", "induction-heads"]))
@click.option(
    "--mixer", "mixers", multiple=True, type=click.Choice(["mamba", "s4d"]),
    help="Mixer of a model; may be repeated. mamba and s4d where neither it nor --selective is given.",
)  # fmt: skip
@click.option(
    "--selective", multiple=True, metavar="PARTS|none",
    help="A model of mixer mamba that selects these alone: dt, B, C or several (dt,B); may be repeated.",
)  # fmt: skip
@click.option("--steps", metavar="N", help="Training steps at most, equal for all models; the paper's by default.")
@click.option("--length", metavar="N", help="Tokens of a training sequence; 4096 or 256 by default.")
@click.option("--batch", metavar="N", help="Sequences a step; 64 or 8 by default.")
@click.option("--lr", type=float, help="Constant learning rate; 1e-4 or 1e-3 by default.")
@click.option("--longest", metavar="N", help="Test at every power of two up to this; 1M for induction heads.")
@click.option(
    "--stop-length", metavar="N",
    help="A model that stops early must be right at this length too; 1M for induction heads, 0: no such length.",
)  # fmt: skip
@click.option("--d-model", type=int, help="Width; 64 by default.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), help="Of matrix products.")
@click.option("--seed", type=SEED, help="Fixes weights and samples; 0 by default.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run; runs/NAME by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def task(
    name: str,
    mixers: tuple[str, ...],
    selective: tuple[str, ...],
    steps: str | None,
    length: str | None,
    batch: str | None,
    lr: float | None,
    longest: str | None,
    stop_length: str | None,
    d_model: int | None,
    precision: str | None,
    seed: int | None,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train small models on a synthetic task at the Mamba paper's settings, and test them on fresh samples.

    selective-copying: 16 tokens at random places in 4096, to be said in their order at the end.
    induction-heads: what followed the marker the first time; trained at 256, tested by streaming up to 2^20.

    Samples are made on the device, new ones at every step. A model stops early where it has solved the task. The same
    command goes on where it was killed. In the folder: metrics.json, accuracy.png, report.html, and a model directory
    and a checkpoint for each model.
    """
    from dnamamba.config import parse_size
    from dnamamba.tasks.run import run_task

    sizes = {"steps": steps, "length": length, "batch": batch, "longest": longest, "stop_length": stop_length}
    changes = {
        key: None if text is None else parse_size(text, f"--{key.replace('_', '-')}") for key, text in sizes.items()
    }
    others = {"lr": lr, "d_model": d_model, "precision": precision, "seed": seed}
    chosen = mixers if mixers or selective else ("mamba", "s4d")
    click.echo(run_task(name, chosen, selective, {**changes, **others}, out or Path("runs") / name, device, as_json))  # type: ignore[arg-type]
