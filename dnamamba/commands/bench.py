"""`dnamamba bench`."""

from pathlib import Path

import click

_PARTS = ("scan", "training", "decoding")


def _sizes(text: str | None, key: str) -> tuple[int, ...] | None:
    from dnamamba.config import parse_size

    return None if text is None else tuple(parse_size(part, key) for part in text.split(","))


@click.command()
@click.option("--quick", is_flag=True, help="Fewer sizes: under a minute.")
@click.option("--part", "parts", multiple=True, type=click.Choice(_PARTS), help="Measure this alone; may be repeated.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option(
    "--dtype", default="auto", show_default=True, type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Of activations and matrix products; auto is bfloat16 on a GPU that has it.",
)  # fmt: skip
@click.option("--width", metavar="N", help="Channels of the scan and of its rivals.  [default: 256]")
@click.option("--lengths", metavar="N,N..", help="Lengths of a scan, as 1k,16k,1M.")
@click.option("--models", metavar="WxB,WxB..", help="Models that train and decode, width x blocks, as 128x6,256x8.")
@click.option("--contexts", metavar="N,N..", help="Contexts of training.")
@click.option("--tokens", metavar="N", help="Tokens of a training step.")
@click.option("--batches", metavar="N,N..", help="Sequences decoded side by side.")
@click.option("--cap", type=float, metavar="SECONDS", help="A contender stops after a call that took longer.")
@click.option("--json", type=click.Path(dir_okay=False, path_type=Path), help="Append one JSON object a figure here.")
@click.option(
    "--out", default="runs/bench", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder of bench.html and the figures.",
)  # fmt: skip
def bench(
    quick: bool,
    parts: tuple[str, ...],
    device: str,
    dtype: str,
    width: str | None,
    lengths: str | None,
    models: str | None,
    contexts: str | None,
    tokens: str | None,
    batches: str | None,
    cap: float | None,
    json: Path | None,
    out: Path,
) -> None:
    """Measure this machine: the scan against causal attention, FFT long convolution and a plain torch scan by length;
    training tokens a second and memory by context; decoding by batch. Tables on standard output, figures and one HTML
    page in --out. Run it on a machine that is otherwise idle."""
    from dnamamba.bench.run import bench_command
    from dnamamba.config import parse_size

    chosen = {
        "parts": parts or None,
        "width": None if width is None else parse_size(width, "--width"),
        "lengths": _sizes(lengths, "--lengths"),
        "models": None if models is None else tuple(models.split(",")),
        "contexts": _sizes(contexts, "--contexts"),
        "tokens": None if tokens is None else parse_size(tokens, "--tokens"),
        "batches": _sizes(batches, "--batches"),
        "cap": cap,
    }
    set_ones = {key: value for key, value in chosen.items() if value is not None}
    click.echo(bench_command(quick, device, dtype, set_ones, json, out, lambda line: click.echo(line, err=True)))  # type: ignore[arg-type]
