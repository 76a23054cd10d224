"""Time every op around the scan in a block, beside the time its bytes alone would take. Needs an NVIDIA GPU.

    python tests/benchmarks/bench_ops.py [--cases "128 1x1048576" "256 1x1048576" ..] [--json FILE]

A case is d_model, batch x length. The limit: each input and output once, at the bandwidth of a large copy measured in
the same run. Weight gradients are timed cut into several numbers of parts, and as one product with a bfloat16 result.
"""

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from triton.testing import do_bench

from dnamamba.bench.limits import bandwidth
from dnamamba.bench.results import ResultLines
from dnamamba.kernels import triton_conv, triton_cross_entropy, triton_embedding, triton_norm
from dnamamba.kernels import weight_gradient as parts_of

N, W, V = 16, 4, 16  # states, taps, vocabulary
PARTS = (1, 16, 32, 64, 128, 256)
Op = tuple[str, Callable[[], Any], int]
"""Name, the call, bytes moved."""


def median(run: Callable[[], Any]) -> float:
    return float(do_bench(run, warmup=10, rep=50, return_mode="median"))


def nbytes(*tensors: Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def rows(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(shape, device="cuda", dtype=dtype)


def with_parts(parts: int, grad: Tensor, inputs: Tensor) -> Tensor:
    parts_of._PARTS = parts
    return parts_of.weight_gradient(grad, inputs)


def weight_gradients(name: str, grad: Tensor, inputs: Tensor) -> list[Op]:
    moved = nbytes(grad, inputs)
    ops: list[Op] = [(f"{name} weight, {p} parts", partial(with_parts, p, grad, inputs), moved) for p in PARTS]
    return [*ops, (f"{name} weight, one bf16 product", lambda: grad.t() @ inputs, moved)]


def norm_ops(B: int, L: int, d: int) -> list[Op]:
    x, stream, weight = rows(B, L, d), rows(B, L, d, dtype=torch.float32), rows(d)
    dtotal, again, x_again = torch.randn_like(stream), torch.empty_like(stream), torch.empty_like(x)
    return [
        ("norm", lambda: triton_norm.norm_forward(x, weight, stream, 1e-5), 2 * nbytes(x, stream)),
        (
            "norm again",
            lambda: triton_norm.norm_forward(stream, weight, None, 1e-5, torch.bfloat16),
            nbytes(x, stream),
        ),
        (
            "norm backward",
            lambda: triton_norm.norm_backward(x, dtotal, stream, weight, 1e-5),
            nbytes(x, stream, stream, dtotal),
        ),
        (
            "norm backward, in two dtypes",
            lambda: triton_norm.norm_backward(x, dtotal, stream, weight, 1e-5, (again, x_again)),
            nbytes(x, stream, stream, dtotal, x),
        ),
    ]


def conv_ops(B: int, L: int, D: int) -> list[Op]:
    xz, dy, weight, bias = rows(B, L, 2 * D), rows(B, L, D), rows(D, W), rows(D)
    x = xz[..., :D]
    return [
        ("convolution", lambda: triton_conv.conv_forward(x, weight, bias, None, None, True), 2 * nbytes(x)),
        (
            "convolution backward",
            lambda: triton_conv.conv_backward(dy, x, weight, bias, None, None, True),
            3 * nbytes(x),
        ),
    ]


def loss_ops(B: int, L: int, d: int) -> list[Op]:
    hidden, head, tokens = rows(B, L, d), rows(V, d, dtype=torch.float32), torch.randint(0, V, (B, L), device="cuda")
    one = torch.ones((), device="cuda")
    embedded, letters = rows(B, L, d, dtype=torch.float32), tokens.to(torch.uint8)
    return [
        (
            "loss",
            lambda: triton_cross_entropy.loss_forward(hidden, head, tokens, -100, V),
            nbytes(hidden, tokens),
        ),
        (
            "loss backward",
            lambda: triton_cross_entropy.loss_backward(one, hidden, head, tokens, -100, V),
            2 * nbytes(hidden) + nbytes(tokens),
        ),
        ("embedding", lambda: triton_embedding.lookup_forward(letters, head), nbytes(embedded, letters)),
        (
            "embedding backward",
            lambda: triton_embedding.lookup_backward(embedded, letters, V),
            nbytes(embedded, letters),
        ),
    ]


def product(name: str, left: Tensor, right: Tensor) -> Op:
    return name, lambda: left @ right, nbytes(left) + 2 * left.shape[0] * right.shape[1]


def products(M: int, d: int) -> list[Op]:
    D, R = 2 * d, -(-d // 16)
    low = R + 2 * N
    wide, inner, outer, thin = rows(M, 2 * D), rows(M, D), rows(M, d), rows(M, low)
    total = torch.randn_like(inner)
    return [
        product("in_proj", outer, rows(d, 2 * D)),
        product("in_proj, one half", outer, rows(d, D)),
        product("x_proj", inner, rows(D, low)),
        product("dt_proj", thin[:, :R], rows(R, D)),
        product("out_proj", inner, rows(D, d)),
        product("d in_proj", wide, rows(2 * D, d)),
        product("d in_proj, one half", inner, rows(D, d)),
        product("d dt_proj", inner, rows(D, R)),
        (
            "d x_proj, added to dx",
            partial(total.addmm_, thin, rows(low, D)),
            nbytes(thin, total, total),
        ),
        product("d out_proj", outer, rows(d, D)),
        *weight_gradients("in_proj", wide, outer),
        *weight_gradients("in_proj, one half", inner, outer),
        *weight_gradients("out_proj", outer, inner),
        *weight_gradients("x_proj", thin, inner),
        *weight_gradients("dt_proj", inner, thin[:, :R]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["128 1x1048576", "256 1x1048576"], help="as '128 1x1048576'")
    parser.add_argument("--json", type=Path, help="append result lines to this file")
    wish = parser.parse_args()
    speed = bandwidth("cuda")
    print(torch.cuda.get_device_name(), "torch", torch.__version__, f"copies at {speed / 1e12:.2f} TB/s, median ms")
    lines = ResultLines("ops", wish.json, "cuda")
    for case in wish.cases:
        found = re.fullmatch(r"(\d+) (\d+)x(\d+)", case)
        if found is None:
            raise SystemExit(f"case {case!r}: want d_model, batch x length, as in '128 1x1048576'")
        d, B, L = map(int, found.groups())
        print(f"\n{case:34} {'ms':>8} {'limit':>8} {'share':>6}")
        groups = [partial(norm_ops, B, L, d), partial(conv_ops, B, L, 2 * d), partial(loss_ops, B, L, d)]
        for group in [*groups, partial(products, B * L, d)]:
            for name, call, moved in group():
                took, limit = median(call), moved / speed * 1e3
                print(f"{name:34} {took:8.3f} {limit:8.3f} {limit / took:6.0%}", flush=True)
                lines.write(f"{case} {name}", "ms", "ms", took, {}, limit, "bytes")
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
