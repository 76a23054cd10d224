"""One optimiser step of a whole model by context: tokens a second and memory."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dnamamba.bench.clock import median_seconds, peak_bytes
from dnamamba.bench.results import Result
from dnamamba.config import format_size
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model.autocasting import autocasting
from dnamamba.model.block_plan import Recompute

MODES: dict[str, Recompute] = {"fast": "cheap", "lean": "all", "none": "none", "plain": "none"}
"""What the backward computes again; plain is the path without a plan, autograd keeping what it likes."""


ENOUGH = 1.0
"""Seconds of steps that a median is taken of."""


class Shape(NamedTuple):
    """A case in numbers."""

    width: int
    blocks: int
    batch: int
    length: int


def read_case(case: str) -> Shape:
    """Read "128x6 1x1048576": width x blocks, batch x length.

    Raises:
        InputError: another form.
    """
    found = re.fullmatch(r"(\d+)x(\d+) (\d+)x(\d+)", case)
    if found is None:
        raise InputError(f"case {case!r}: want width x blocks, batch x length, as in '128x6 1x1048576'")
    return Shape(*map(int, found.groups()))


def read_model(text: str) -> ModelConfig:
    """Read "128x6": width x blocks.

    Raises:
        InputError: another form, or numbers that no model has.
    """
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise InputError(f"model {text!r}: want width x blocks, as in 128x6")
    return ModelConfig(d_model=int(found[1]), n_layers=int(found[2]))


def draw_batch(shape: Shape, device: str) -> dict[str, Tensor]:
    """Random letters, each target the next token."""
    stream = torch.randint(0, 4, (shape.batch, shape.length + 1), device=device)
    return {"tokens": stream[:, :-1].to(torch.uint8), "targets": stream[:, 1:].contiguous()}


def training_step(case: str, mode: str, device: str, autocast: torch.dtype | None) -> Callable[[], None]:
    """A function that trains one step: forward, backward, fused AdamW. The model is made here.

    Args:
        case: as `read_case`.
        mode: one of `MODES`.
        device: "cuda" or "cpu".
        autocast: dtype of matrix products, None for float32.
    """
    shape = read_case(case)
    torch.manual_seed(0)
    model = MambaLM(ModelConfig(d_model=shape.width, n_layers=shape.blocks)).to(device)
    model.recompute = MODES[mode]
    if mode == "plain":
        for layer in model.backbone.layers:
            layer.forward = lambda *inputs, layer=layer: layer.plain(*inputs[:4])
    optimiser = torch.optim.AdamW(model.parameter_groups(0.1), lr=1e-4, fused=True)
    batch = draw_batch(shape, device)

    def step() -> None:
        with autocasting(device, autocast):
            loss, count, _ = model.loss(batch)
        torch.autograd.backward(loss / count)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def measure_training(
    models: Sequence[str],
    contexts: Sequence[int],
    tokens: int,
    autocast: torch.dtype | None,
    device: str,
    tell: Callable[[str], None],
    modes: Sequence[str] = ("fast", "lean"),
) -> list[Result]:
    """Tokens a second and bytes a token of a step.

    Args:
        models: as `read_model`.
        contexts: window lengths, in tokens.
        tokens: of a step; a context that is longer is one window of its own.
        autocast: dtype of matrix products, None for float32.
        device: "cuda" or "cpu".
        tell: called with a line before each case.
        modes: of `MODES`; lean recomputes all of a block.
    """
    results = []
    for model in models:
        training_step(f"{model} 1x64", modes[0], device, autocast)()  # compiles, and loads libraries: no part of a peak
        for context in contexts:
            for mode in modes:
                case = f"{model} {max(1, tokens // context)}x{context}"
                tell(f"training {model}, context {format_size(context)}, {mode}")
                results += _measure(case, mode, autocast, device)
    return results


def measure_step(build: Callable[[], Callable[[], None]], device: str) -> tuple[float, int | None]:
    """Median seconds of the step that `build` makes, and the peak of bytes, weights and optimiser included."""
    built: list[Callable[[], None]] = []

    def begin() -> None:
        built.append(build())
        built[0]()  # the second step has the optimiser's moments from its start
        built[0]()

    peak = peak_bytes(begin, device)
    return median_seconds(built[0], device, enough=ENOUGH), peak


def _measure(case: str, mode: str, autocast: torch.dtype | None, device: str) -> list[Result]:
    shape = read_case(case)
    tokens, name = shape.batch * shape.length, case if mode == "fast" else f"{case} {mode}"
    try:
        seconds, peak = measure_step(lambda: training_step(case, mode, device, autocast), device)
    except torch.OutOfMemoryError:
        return [Result("train_step", name, "tokens_per_s", "1/s", None, notes={"ours": "out of memory"})]
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()
    found = [Result("train_step", name, "tokens_per_s", "1/s", tokens / seconds)]
    if peak is not None:
        found.append(Result("train_step", name, "bytes_per_token", "bytes", peak / tokens))
    return found
