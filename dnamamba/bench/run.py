"""`dnamamba bench`: measure the parts of a plan, print, draw, write."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dnamamba.bench.by_length import measure_lengths
from dnamamba.bench.decoding import measure_decoding
from dnamamba.bench.figure import draw_decoding, draw_lengths
from dnamamba.bench.plan import BenchPlan, default_plan
from dnamamba.bench.report import report_text, write_html
from dnamamba.bench.results import Result, append_lines, describe_machine
from dnamamba.bench.training import measure_training
from dnamamba.device import Device, Precision, autocast_dtype, choose_device
from dnamamba.errors import usage
from dnamamba.files import check_output

NOTES = """Batch 1 in the tables by length. Attention, convolution and scan are timed bare: no projections, and the
filter of the convolution is given. The convolution computes in float32. A contender stops after a call that took longer
than the cap. The scan's limit is the larger of two times: that of its exponentials and that of moving each input and
output once, both rates measured on this machine. Training: float32 parameters and state, fused AdamW, vocabulary 16;
"lean" recomputes all of a block. Decoding is greedy, each token fed back; its limit moves matrices once and every state
in and out."""


def bench_command(
    quick: bool,
    device: Device,
    precision: Precision,
    chosen: dict[str, object],
    json: Path | None,
    out: Path,
    tell: Callable[[str], None],
) -> str:
    """Measure this machine.

    Args:
        quick: less of everything.
        device: "auto", "cpu" or "cuda".
        precision: of activations and matrix products; "auto" is bfloat16 on a GPU that has it, else float32.
        chosen: fields of `BenchPlan` that the user has set.
        json: file that lines are appended to.
        out: folder of `bench.html` and the figures; it is made.
        tell: called with a line of progress.

    Returns:
        The tables.

    Raises:
        InputError: a device or precision that is not there, or sizes that make no sense.
    """
    where = choose_device(device)
    dtype = autocast_dtype(precision, where) or torch.float32
    with usage():
        plan = replace(default_plan(where.type, dtype, quick), **chosen)  # type: ignore[arg-type]
    for file in (out / "bench.html", *([] if json is None else [json])):
        check_output(file)  # and make its folder, before minutes of measuring
    results = measure(plan, tell)
    machine = describe_machine(plan.device)
    if json is not None:
        append_lines(json, results, machine)
    pictures = draw(results, plan, machine["device"], out)
    write_html(out / "bench.html", results, machine, NOTES, pictures)
    return f"{report_text(results, machine)}\n\n{out / 'bench.html'}"


def measure(plan: BenchPlan, tell: Callable[[str], None]) -> list[Result]:
    """All parts of a plan, in its order."""
    autocast = None if plan.dtype == torch.float32 else plan.dtype
    results: list[Result] = []
    if "scan" in plan.parts:
        results += measure_lengths(plan.width, plan.lengths, plan.dtype, plan.device, plan.cap, tell)
    if "training" in plan.parts:
        results += measure_training(plan.models, plan.contexts, plan.tokens, autocast, plan.device, tell, plan.modes)
    if "decoding" in plan.parts:
        results += measure_decoding(plan.models, plan.batches, plan.dtype, plan.device, tell)
    return results


def draw(results: Sequence[Result], plan: BenchPlan, device: str, out: Path) -> dict[str, Path]:
    """Draw what was measured. Returns caption -> PNG."""
    pictures = {}
    by_length = [row for row in results if row.bench == "selective_scan"]
    if by_length:
        path = out / "time_by_length.png"
        draw_lengths(by_length, path, f"width {plan.width}, batch 1, {device}")
        pictures["Time of a call by length"] = path
    decoding = [row for row in results if row.bench == "decode"]
    if decoding:
        path = out / "decoding_by_batch.png"
        draw_decoding(decoding, path, device)
        pictures["Decoding throughput by batch"] = path
    return pictures
