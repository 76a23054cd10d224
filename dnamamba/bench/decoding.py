"""Decoding token after token, by batch: greedy, so that every step waits for the one before."""

from collections.abc import Callable, Sequence

import torch

from dnamamba.bench.clock import median_seconds
from dnamamba.bench.limits import bandwidth
from dnamamba.bench.results import Result, short_name
from dnamamba.bench.training import read_model
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.decoder import Decoder

STEPS = 16
"""Steps that are timed together."""


def measure_decoding(
    models: Sequence[str],
    batches: Sequence[int],
    dtype: torch.dtype,
    device: str,
    tell: Callable[[str], None],
) -> list[Result]:
    """Tokens a second of `Decoder` beside the model called with one token at a time.

    Args:
        models: as `read_model`.
        batches: sequences side by side.
        dtype: of matrix products.
        device: "cuda" or "cpu".
        tell: called with a line before each case.
    """
    results = []
    for text in models:
        torch.manual_seed(0)
        model = MambaLM(read_model(text)).to(device).eval()
        for batch in batches:
            tell(f"decoding {text}, batch {batch}")
            results.append(_measure(model, text, batch, dtype, device))
    return results


def greedy_decoding(model: MambaLM, batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """A function that decodes `STEPS` tokens of each sequence with a `Decoder`."""
    device = model.device
    decoder = Decoder(model, ModelState.zeros(model.config, batch, device=device), dtype=dtype)
    first = torch.zeros(batch, dtype=torch.int64, device=device)

    def run() -> None:
        tokens = first
        for _ in range(STEPS):
            tokens = decoder.step(tokens).argmax(-1)

    return run


def stepping_model(model: MambaLM, batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """The same by the model itself, a sequence of length 1 at a time."""
    device = model.device
    first = torch.zeros(batch, 1, dtype=torch.int64, device=device)
    start = ModelState.zeros(model.config, batch, device=device)

    def run() -> None:
        tokens, state = first, start
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            for _ in range(STEPS):
                logits, state = model(tokens, state)
                tokens = logits.argmax(-1)

    return run


def bytes_a_step(model: MambaLM, batch: int, dtype: torch.dtype) -> int:
    """What a step has to move at least: matrices once, every state in and out."""
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2) * dtype.itemsize
    state = ModelState.zeros(model.config, 1)
    return matrices + 2 * batch * sum(tensor.nbytes for tensor in state.tensors())


def _measure(model: MambaLM, text: str, batch: int, dtype: torch.dtype, device: str) -> Result:
    def rate(run: Callable[[], None]) -> float:
        return batch * STEPS / median_seconds(run, device)

    limit = batch * bandwidth(device) / bytes_a_step(model, batch, dtype)
    ours, theirs = rate(greedy_decoding(model, batch, dtype)), rate(stepping_model(model, batch, dtype))
    case, rivals = f"{text} {batch} {short_name(dtype)}", {"model, token by token": theirs}
    return Result("decode", case, "tokens_per_s", "1/s", ours, rivals, limit, "bytes")
