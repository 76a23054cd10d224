"""The Triton kernels around the scan against the reference: as a script in the interpreter, imported on a GPU."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from kernel_checks import double, relative_error, run
from torch import Tensor

from dnamamba.kernels import (
    causal_conv1d,
    causal_conv1d_step,
    embedding,
    linear_cross_entropy,
    rms_norm,
    selective_step,
    triton_conv,
)

Case = tuple[str, Callable[..., Any], dict[str, Tensor | None]]


def _conv(
    B: int, L: int, D: int, W: int, *, dtype: torch.dtype, resets: bool, bare: bool = False, at: int | None = None
) -> Case:
    inputs = {
        "x": torch.randn(B, L, 2 * D).to(dtype)[..., :D],  # strided rows
        "weight": torch.randn(D, W),
        "bias": None if bare else torch.randn(D),
        "initial_tail": None if bare else torch.randn(B, W - 1, D).to(dtype),
        "reset": torch.rand(B, L) < 0.2 if resets else None,
    }
    if at is not None:
        inputs["reset"] = (torch.arange(L) == at).expand(B, L).contiguous()
    op = partial(causal_conv1d, return_tail=True, activation=None if bare else "silu")
    return f"conv {(B, L, D, W)} {dtype} resets={resets} bare={bare} at={at}", op, inputs


def _norm(shape: tuple[int, ...], *, dtype: torch.dtype, residual: bool) -> Case:
    inputs = {"x": torch.randn(shape).to(dtype), "weight": torch.randn(shape[-1])}
    more = {"residual": torch.randn(shape)} if residual else {}
    return f"norm {shape} {dtype} residual={residual}", rms_norm, inputs | more


def _loss(B: int, L: int, D: int, V: int, letters: int | None, *, dtype: torch.dtype) -> Case:
    targets = torch.randint(0, letters or V, (B, L))
    targets[torch.rand(B, L) < 0.2] = -100
    targets[0, 0] = 0
    inputs = {"hidden": torch.randn(B, L, D).to(dtype), "weight": torch.randn(V, D), "targets": targets}
    return f"loss {(B, L, D, V, letters)} {dtype}", partial(linear_cross_entropy, letters=letters), inputs


def _embedding(B: int, L: int, D: int, V: int, *, dtype: torch.dtype) -> Case:
    tokens = torch.randint(0, V, (B, L), dtype=torch.uint8 if dtype == torch.float32 else torch.int64)
    return f"embedding {(B, L, D, V)} {dtype}", embedding, {"tokens": tokens, "weight": torch.randn(V, D).to(dtype)}


def _step(B: int, D: int, N: int, *, dtype: torch.dtype, bare: bool) -> Case:
    x, z = torch.randn(B, 2 * D).to(dtype).chunk(2, 1)  # in place, as the halves of a projection
    dt, rows_B, rows_C = torch.randn(B, D + 2 * N).to(dtype).split([D, N, N], 1)
    inputs = {"x": x, "dt": dt, "A": -torch.rand(D, N), "B": rows_B, "C": rows_C, "state": torch.randn(B, D, N)}
    more = {} if bare else {"D": torch.randn(D), "z": z, "dt_bias": torch.randn(D)}
    return f"step {(B, D, N)} {dtype} bare={bare}", partial(selective_step, dt_softplus=not bare), inputs | more


def _conv_step(B: int, D: int, W: int, *, dtype: torch.dtype) -> Case:
    inputs = {"x": torch.randn(B, 2 * D).to(dtype)[:, D:], "tail": torch.randn(B, W - 1, D).to(dtype)}
    return (
        f"conv step {(B, D, W)} {dtype}",
        causal_conv1d_step,
        inputs | {"weight": torch.randn(D, W), "bias": torch.randn(D)},
    )


def cases(large: bool) -> Iterator[tuple[Case, torch.dtype]]:
    """Small odd shapes; `large` adds those that only a GPU can run."""
    torch.manual_seed(0)
    piece, back = triton_conv.PIECE, triton_conv.BACKWARD_PIECE
    for dtype in (torch.float32, torch.bfloat16):
        for width in (1, 2, 3, 4):
            yield _conv(2, 9, 5, width, dtype=dtype, resets=width % 2 == 0), dtype
        yield _conv(1, 2, 3, 4, dtype=dtype, resets=True), dtype
        yield _conv(1, piece + 3, 3, 4, dtype=dtype, resets=False, bare=True), dtype  # past one piece of time
        for at in (piece - 2, piece - 1, piece) if dtype == torch.float32 else ():  # around the border of two pieces
            yield _conv(1, piece + 3, 3, 4, dtype=dtype, resets=False, at=at), dtype
        if dtype == torch.float32:
            yield _conv(1, back + 3, 3, 4, dtype=dtype, resets=False, at=back - 1), dtype  # of the backward's pieces
        yield _conv(1, 3, 256, 4, dtype=dtype, resets=False), dtype  # the wide tile
        for residual in (True, False):
            yield _norm((2, 3, 37), dtype=dtype, residual=residual), dtype
        yield _norm((261, 4), dtype=dtype, residual=True), dtype  # past one part of the backward
        yield _loss(2, 9, 21, 16, None, dtype=dtype), dtype
        yield _loss(1, 70, 8, 16, 4, dtype=dtype), dtype
        yield _loss(1, 5, 40, 256, None, dtype=dtype), dtype
        yield _embedding(2, 67, 21, 16, dtype=dtype), dtype
        yield _embedding(1, 1030, 3, 5, dtype=dtype), dtype  # past one part of the backward
        yield _embedding(1, 9, 40, 256, dtype=dtype), dtype
        for bare in (True, False):
            yield _step(2, 37, 5, dtype=dtype, bare=bare), dtype
        for width in (1, 2, 4):
            yield _conv_step(2, 37, width, dtype=dtype), dtype
        if large:
            yield _conv(3, 5000, 300, 4, dtype=dtype, resets=True), dtype
            yield _conv(1, 2**17, 64, 4, dtype=dtype, resets=False), dtype
            yield _norm((5000, 512), dtype=dtype, residual=True), dtype
            yield _norm((300, 1000), dtype=dtype, residual=False), dtype
            yield _loss(3, 5000, 256, 16, 4, dtype=dtype), dtype
            yield _loss(1, 70_000, 128, 256, None, dtype=dtype), dtype
            yield _embedding(3, 70_001, 256, 16, dtype=dtype), dtype
            yield _step(64, 512, 16, dtype=dtype, bare=False), dtype


def errors(case: Case, device: str) -> dict[str, float]:
    """Relative error of each value, and of each gradient where the kernel has one."""
    _, op, inputs = case
    here = {k: None if t is None else t.to(device) for k, t in inputs.items()}
    if op is causal_conv1d_step or "state" in inputs:
        ours, theirs = op(**here, engine="triton"), op(**double(here), engine="reference")
        name = "tail" if op is causal_conv1d_step else "state"
        here[name] = here[name].clone()
        y, new = op(**here, into=here[name], engine="triton")
        assert new is here[name]
        assert torch.equal(y, ours[0]), "a step in place gives other values"
        assert torch.equal(new, ours[1]), "a step in place gives another state"
        return {f"out{i}": relative_error(a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))}
    ours = run(partial(op, engine="triton"), here)
    again = run(partial(op, engine="triton"), here)
    assert all(torch.equal(ours[k], again[k]) for k in ours), "two runs differ"
    theirs = run(partial(op, engine="reference"), double(here))
    return {name: relative_error(ours[name], theirs[name]) for name in ours}


if __name__ == "__main__":
    # Shorter pieces of time, in few, slowly interpreted steps. A GPU runs these cases at the true ones.
    triton_conv.PIECE, triton_conv.BACKWARD_PIECE = 2 * triton_conv.ROWS, 4 * triton_conv.ROWS
    print(json.dumps({case[0]: [str(dtype), errors(case, "cpu")] for case, dtype in cases(large=False)}))
