"""A step whose loss or gradient was no number: kept whole when it happens, run again when somebody wants to know why.

    RUN/stopped/config.json, model.safetensors    the weights that the step began with, a model directory
    RUN/stopped/batches.npz                       its bases, resets and sample numbers

`python -m dnamamba.replay RUN` runs it again, window by window.
"""

import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import torch

from dnamamba.data import MicroBatch, make_batch
from dnamamba.device import autocast_dtype, choose_device
from dnamamba.errors import InputError
from dnamamba.model import MambaLM
from dnamamba.model_directory import load, save
from dnamamba.pipelines.alphabet import ALPHABETS

BATCHES = "batches.npz"


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
        np.savez_compressed(
            folder / BATCHES,
            step=step + 1,
            bases=torch.cat([b.bases for b in batches]).cpu().numpy(),
            reset=torch.cat(reset).cpu().numpy(),
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
        bases, reset, samples = (torch.from_numpy(kept[name]) for name in ("bases", "reset", "samples"))
    return [
        _one(model, bases[i : i + 1].to(device), reset[i : i + 1].to(device), int(samples[i]))
        for i in range(len(bases))
    ]


def _one(model: MambaLM, bases: torch.Tensor, reset: torch.Tensor, sample: int) -> Replayed:
    alphabet = ALPHABETS[model.config.alphabet]
    batch = make_batch(bases, reset if bool(reset[:, 1:].any()) else None, alphabet)
    autocast = autocast_dtype("auto", bases.device)
    with torch.no_grad(), torch.autocast(bases.device.type, autocast or torch.bfloat16, enabled=autocast is not None):
        loss, count, _ = model.loss(batch)  # type: ignore[arg-type]
    model.zero_grad(set_to_none=True)
    exact, _, _ = model.loss(batch)  # type: ignore[arg-type]
    exact.backward()  # type: ignore[no-untyped-call]
    squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
    counted = max(1, int(count))
    return Replayed(
        sample,
        float(loss) / counted,
        float(exact.detach()) / counted,
        math.sqrt(float(torch.stack(squares).sum())) / counted,
        1 - int(count) / bases.numel(),
    )


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
