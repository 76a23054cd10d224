"""A step whose loss or gradient was no number: kept whole when it happens, run again when somebody wants to know why.

    RUN/stopped/config.json, model.safetensors    the weights that the step began with, a model directory
    RUN/stopped/batches.npz                       its bases, resets and sample numbers

`python -m dnamamba.replay RUN` runs it again, window by window. Of a run that carries states each window begins with an
empty one: those are not kept.
"""

import math
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from dnamamba.data import MicroBatch, cut_batch
from dnamamba.device import autocast_dtype, choose_device
from dnamamba.errors import InputError
from dnamamba.model import MambaLM
from dnamamba.model.sliced import sliced_step
from dnamamba.model_directory import load, save
from dnamamba.pipelines.alphabet import ALPHABETS

BATCHES = "batches.npz"
SLICE = 2**17  # tokens that have a graph at a time: a window of any length can be run again


def stop_for_nan(
    folder: Path, model: MambaLM, batches: Sequence[MicroBatch], loss: float, gradient_norm: float
) -> NoReturn:
    """Keep the step that gave `loss` and `gradient_norm` in `folder`, and stop.

    Args:
        folder: made anew.
        model: with the weights that the step began with.
        batches: every micro-batch of the step on this process.
        loss: of the step.
        gradient_norm: of the step.

    Raises:
        InputError: always; it says what happened and what to do.
    """
    step = batches[0].step
    shutil.rmtree(folder, ignore_errors=True)
    try:
        save(model, folder, {"step": step + 1})
        reset = [torch.zeros_like(b.bases, dtype=torch.bool) if b.reset is None else b.reset for b in batches]
        start = ALPHABETS[model.config.alphabet].start
        before = [torch.full_like(b.bases[:, 0], start) if b.before is None else b.before for b in batches]
        np.savez_compressed(
            folder / BATCHES,
            step=step + 1,
            bases=torch.cat([b.bases for b in batches]).cpu().numpy(),
            reset=torch.cat(reset).cpu().numpy(),
            before=torch.cat(before).cpu().numpy(),
            samples=torch.cat([b.samples for b in batches]).cpu().numpy(),
        )
        kept = f"The step is kept in {folder}; `python -m dnamamba.replay {folder.parent}` runs it again"
    except InputError as error:
        kept = f"The step could not be kept ({error})"
    raise InputError(
        f"step {step + 1}: loss {loss}, gradient norm {gradient_norm}; the run stops here. {kept}. "
        "Start anew with a lower optimiser.lr; --resume from the last checkpoint would come here again"
    )


class Replayed(NamedTuple):
    """One window of the step, run again."""

    sample: int
    """Its global number within the stage."""
    loss: float
    """Nats a base, in the precision that training has on this device."""
    loss_float32: float
    """The same in float32 throughout."""
    gradient_norm: float
    """Of this window alone, in float32."""
    unknown: float
    """Share of its bases that are N or ambiguous."""


def replay(run: Path, device: torch.device) -> list[Replayed]:
    """Run the windows of a kept step again, one at a time.

    Raises:
        InputError: the run keeps no step.
    """
    folder = run / "stopped"
    if not (folder / BATCHES).exists():
        raise InputError(
            f"{folder}: holds no {BATCHES}; only a run that a loss or gradient without a number stopped does"
        )
    model = load(folder, device=device).train()
    with np.load(folder / BATCHES, allow_pickle=False) as kept:
        names = ("bases", "reset", "before", "samples")
        rows = zip(*([torch.from_numpy(row[None]) for row in kept[name]] for name in names), strict=True)
        return [_one(model, *(part.to(device) for part in row)) for row in rows]


def _one(model: MambaLM, bases: Tensor, reset: Tensor, before: Tensor, sample: Tensor) -> Replayed:
    reset_or_none = reset if bool(reset[:, 1:].any()) else None
    batch = MicroBatch(0, 0, bases.shape[1], 0, 1, sample, bases, reset_or_none, before)
    loss, counted = _step(model, batch, autocast_dtype("auto", bases.device))
    exact, _ = _step(model, batch, None)
    squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(float(torch.stack(squares).sum())) / counted
    return Replayed(int(sample), loss / counted, exact / counted, norm, 1 - counted / bases.numel())


def _step(model: MambaLM, batch: MicroBatch, autocast: torch.dtype | None) -> tuple[float, int]:
    """Summed loss and number of targets; the gradient is left in the parameters."""
    model.zero_grad(set_to_none=True)
    cut = partial(cut_batch, batch, ALPHABETS[model.config.alphabet])
    loss, count, _ = sliced_step(model, cut, batch.context, SLICE, autocast=autocast)  # type: ignore[arg-type]
    return float(loss), max(1, int(count))


def table(rows: Sequence[Replayed]) -> str:
    """The windows as text: those without a number first, then by gradient norm, the largest first."""
    lines = [f"{'sample':>12} {'loss':>10} {'in float32':>10} {'gradient norm':>14} {'N':>6}"]
    for row in sorted(rows, key=lambda one: (math.isfinite(one.loss + one.gradient_norm), -one.gradient_norm)):
        lines.append(
            f"{row.sample:12,} {row.loss:10.4f} {row.loss_float32:10.4f} {row.gradient_norm:14.4g} {row.unknown:6.1%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dnamamba.replay RUN")
    try:
        print(table(replay(Path(sys.argv[1]), choose_device("auto"))))
    except InputError as error:
        sys.exit(str(error))
