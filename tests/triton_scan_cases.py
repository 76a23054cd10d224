"""Checks of the Triton scan that run anywhere: interpreted (as a script, small sizes) and on a GPU (imported)."""

import json
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dnamamba.kernels import reference, triton_scan, triton_scan_plan

NAMES = ("x", "dt", "A", "B", "C", "D", "z", "dt_bias", "initial_state")


@dataclass(frozen=True)
class Case:
    """Sizes and features of one scan; `T` is the length of a chunk, None for the engine's own choice."""

    B: int = 1
    L: int = 8
    D: int = 4
    N: int = 16
    T: int | None = None
    dtype: torch.dtype = torch.float32
    skip: bool = True
    gate: bool = True
    bias: bool = True
    start: bool = True
    reset: bool = False
    softplus: bool = True
    strided: bool = False
    dt_raw: float | None = None
    fastest: float = 8.0
    slow_to_fast: bool = False

    def inputs(self, device: str, seed: int = 0) -> dict[str, Tensor | None]:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.randn(*shape, generator=draw).to(device, dtype)

        B, L, D, N = self.B, self.L, self.D, self.N
        xz = normal(B, L, 2 * D, dtype=self.dtype)
        dt_BC = normal(B, L, D + 2 * N, dtype=self.dtype)
        x, z = xz.split(D, -1)
        dt, rows_B, rows_C = dt_BC.split([D, N, N], -1)
        dt = dt.abs() * 0.1 if not self.softplus else dt * 0.5 if self.dt_raw is None else dt * 0.1 + self.dt_raw
        if not self.strided:
            x, z, rows_B, rows_C = (t.contiguous() for t in (x, z, rows_B, rows_C))
        bias = normal(D) * 0.1 + (0.5 if not self.softplus else 0)
        if self.slow_to_fast:  # steps from 0.005 to 5, in no order
            bias = torch.exp(torch.linspace(-5.3, 1.6, D)[torch.randperm(D, generator=draw)]).to(device)
            bias = bias + torch.log(-torch.expm1(-bias)) if self.softplus else bias
        reset = torch.rand(B, L, generator=draw) < 0.15
        reset[:, 3::7] = True  # on both steps of a round
        return {
            "x": x,
            "dt": dt.to(self.dtype),
            "A": -(torch.rand(D, N, generator=draw) * self.fastest + 1e-3).to(device),
            "B": rows_B,
            "C": rows_C,
            "D": normal(D) if self.skip else None,
            "z": z if self.gate else None,
            "dt_bias": bias if self.bias else None,
            "initial_state": normal(B, D, N) if self.start else None,
            "reset": reset.to(device) if self.reset else None,
        }


Result = tuple[Tensor, Tensor, dict[str, Tensor | None]]


def run_triton(case: Case, t: dict[str, Tensor | None], dy: Tensor, dfinal: Tensor | None) -> Result:
    ins = [t[name] for name in NAMES]
    y, final, borders = triton_scan.scan_forward(*ins, t["reset"], case.softplus, chunk_length=case.T)
    assert borders.shape == triton_scan.borders_shape(case.B, case.L, case.D, case.N)
    grads = triton_scan.scan_backward(dy, dfinal, *ins, t["reset"], borders, case.softplus, chunk_length=case.T)
    for name, grad in zip(NAMES, grads, strict=True):
        like = t[name]
        assert (grad is None) == (like is None), name
        assert grad is None or (grad.shape, grad.dtype) == (like.shape, like.dtype), name
    return y, final, dict(zip(NAMES, grads, strict=True))


def run_reference(case: Case, t: dict[str, Tensor | None], dy: Tensor, dfinal: Tensor | None) -> Result:
    """The plain walk in float64."""
    d = {name: None if t[name] is None else t[name].double().requires_grad_() for name in NAMES}
    x, dt, A, B, C = (d[name] for name in NAMES[:5])
    y, final = reference.selective_scan(
        x, dt, A, B, C, D=d["D"], z=d["z"], dt_bias=d["dt_bias"], initial_state=d["initial_state"],
        dt_softplus=case.softplus, reset=t["reset"],
    )  # fmt: skip
    present = [name for name in NAMES if d[name] is not None]
    seed = [dy.double(), torch.zeros_like(final) if dfinal is None else dfinal.double()]
    grads = torch.autograd.grad([y, final], [d[name] for name in present], seed)
    return y.detach(), final.detach(), dict.fromkeys(NAMES) | dict(zip(present, grads, strict=True))


def error(ours: Tensor, theirs: Tensor) -> float:
    """RMS of the difference over RMS of the reference; NaN counts as infinite."""
    value = float((ours.double() - theirs).norm() / theirs.norm().clamp_min(1e-12))
    return value if value == value else float("inf")


def errors(case: Case, device: str, seed: int = 0) -> dict[str, float]:
    """Relative error of every output and gradient against float64."""
    t = case.inputs(device, seed)
    draw = torch.Generator().manual_seed(seed + 1)
    dy = torch.randn(case.B, case.L, case.D, generator=draw).to(device, case.dtype)
    dfinal = torch.randn(case.B, case.D, case.N, generator=draw).to(device) if case.start else None
    y, final, grads = run_triton(case, t, dy, dfinal)
    y64, final64, grads64 = run_reference(case, t, dy, dfinal)
    result = {"y": error(y, y64), "final_state": error(final, final64)}
    return result | {f"d{name}": error(grads[name], grads64[name]) for name in NAMES if grads[name] is not None}


def poison(case: Case, device: str, value: float) -> dict[str, bool]:
    """A NaN or infinity in x stays in its channel and batch row, and behind a reset."""
    t = case.inputs(device)
    at, until = case.L // 4, case.L // 2
    reset = torch.zeros(case.B, case.L, dtype=torch.bool, device=device)
    reset[:, until] = True
    t["reset"] = reset
    dy = torch.ones(case.B, case.L, case.D, device=device)
    y, final, grads = run_triton(case, t, dy, None)
    x = t["x"].clone()
    x[0, at, 0] = value
    y_bad, final_bad, grads_bad = run_triton(case, t | {"x": x}, dy, None)
    others = torch.ones_like(y, dtype=torch.bool)
    others[0, at:until, 0] = False
    return {
        "seen": not bool(y_bad[0, at, 0].isfinite()),
        "neighbours": torch.equal(y[others], y_bad[others]),
        "final_state": torch.equal(final, final_bad),
        "gradient_behind_reset": torch.equal(grads["dt"][:, until:], grads_bad["dt"][:, until:]),
        "gradient_other_channels": torch.equal(grads["dt"][..., 1:], grads_bad["dt"][..., 1:]),
        "gradient_A": torch.equal(grads["A"][1:], grads_bad["A"][1:]),
    }


def split_equals_whole(case: Case, device: str, cut: int) -> dict[str, float]:
    """Two scans with the state, and its gradient, handed over, against one; relative errors."""
    t = case.inputs(device)
    timed = ("x", "dt", "B", "C", "z", "reset")
    dy = torch.randn(case.B, case.L, case.D, generator=torch.Generator().manual_seed(7)).to(device)
    y, final, grads = run_triton(case, t, dy, None)

    def part(lo: int, hi: int) -> dict[str, Tensor | None]:
        return {k: v[:, lo:hi] if k in timed and v is not None else v for k, v in t.items()}

    short = Case(**{**vars(case), "L": cut})
    rest = Case(**{**vars(case), "L": case.L - cut})
    y1, state, _ = run_triton(short, part(0, cut), dy[:, :cut], None)
    second = part(cut, case.L) | {"initial_state": state}
    y2, final2, grads2 = run_triton(rest, second, dy[:, cut:], None)
    _, _, grads1 = run_triton(short, part(0, cut), dy[:, :cut], grads2["initial_state"])
    result = {"y": error(torch.cat([y1, y2], 1), y.double()), "final_state": error(final2, final.double())}
    for name in NAMES[:-1]:
        a, b = grads1[name], grads2[name]
        joined = torch.cat([a, b], 1) if name in timed else a + b
        result[f"d{name}"] = error(joined, grads[name].double())
    return result


def stopped_channels(case: Case, device: str) -> dict[str, int]:
    """How many channels' chunks are not walked to their other end: with tiles of neighbours, and of equally fast."""
    t = case.inputs(device)
    size = triton_scan_plan.Sizes.of(t["x"], t["A"])
    A, chunks, found = t["A"].t().contiguous(), case.L // case.T, {}
    whole = torch.nn.functional.softplus(t["dt"].float() + t["dt_bias"]).view(case.B, chunks, case.T, case.D).sum(2)
    keep = triton_scan_plan.SORTED
    for name, block in (("neighbours", 0), ("equally fast", keep)):
        triton_scan_plan.SORTED = block
        given = (t["x"], t["dt"], None, t["B"], A, t["dt_bias"], None, case.softplus, False)
        times = triton_scan.walk_chunks(size, case.T, *given)[1]
        found[name] = int((times < 0.99 * whole).sum())
    triton_scan_plan.SORTED = keep
    return found


def in_place_equals_apart(case: Case, device: str) -> dict[str, bool]:
    """Gradients written over dy, dt and z, parts of wider rows, and y again, against the plain call: the same bits."""
    t = case.inputs(device)
    dy = torch.randn(case.B, case.L, case.D, generator=torch.Generator().manual_seed(7)).to(device, case.dtype)
    ins = [t[name] for name in NAMES]
    y, _, borders = triton_scan.scan_forward(*ins, t["reset"], case.softplus, chunk_length=case.T)

    def backward(dy: Tensor, dt: Tensor, z: Tensor | None, **kwargs: Any) -> tuple[Tensor | None, ...]:
        given = [ins[0], dt, *ins[2:6], z, *ins[7:]]
        return triton_scan.scan_backward(
            dy, None, *given, t["reset"], borders, case.softplus, chunk_length=case.T, **kwargs
        )

    apart = backward(dy, t["dt"], t["z"])
    wide = torch.cat([dy, t["dt"]] + ([] if t["z"] is None else [t["z"]]), -1)
    dy, dt, *z = wide.split(case.D, -1)
    again = torch.empty_like(y)
    into = (dy, dt, z[0] if z else None)
    inside = backward(dy, dt, z[0] if z else None, into=into, y=again)
    pairs = zip(apart, inside, strict=True)
    same = all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)
    there = all(
        a is None or a.data_ptr() == b.data_ptr() for a, b in zip(into, (inside[0], inside[1], inside[6]), strict=True)
    )
    return {"same": same, "there": there, "y": error(again, y.double()) < (1e-6 if y.dtype == torch.float32 else 4e-3)}


SMALL = {
    "one step": Case(L=1),
    "plain": Case(L=5, D=3, N=4, skip=False, gate=False, bias=False, start=False),
    "chunks": Case(L=21, D=3, T=8),
    "chunks, no start": Case(L=16, D=32, T=8, start=False, skip=False),
    "resets": Case(B=2, L=14, D=5, N=5, T=8, reset=True),
    "no softplus": Case(L=13, D=5, N=2, T=8, softplus=False),
    "64 states": Case(L=5, D=9, N=64),
    "33 states, float16": Case(L=10, D=17, N=33, T=8, dtype=torch.float16),
    "bfloat16, strided": Case(B=2, L=16, D=32, T=8, dtype=torch.bfloat16, strided=True),
    "bfloat16, even": Case(L=16, D=32, T=8, dtype=torch.bfloat16),
    "strided, odd": Case(B=2, L=10, D=9, N=3, strided=True),
    "tiny steps": Case(L=16, D=4, T=8, dt_raw=-13.8),
    "steps of 100": Case(L=16, D=4, T=8, dt_raw=100.0),
    "a chunk that forgets": Case(L=48, D=2, N=2, T=24, dt_raw=2.0, fastest=1.2),  # and is not walked to its other end
    "fast and slow states": Case(L=32, D=4, T=16, dt_raw=1.0, fastest=60.0),
    "chunks of 24": Case(L=30, D=4, N=4, T=24, reset=True),
    "chunks in pieces": Case(L=36, D=5, N=5, T=16, reset=True),
}
SORTED = {  # more channels than a tile has, in tiles of equally fast ones
    "slow and fast channels, many resets": Case(L=32, D=17, N=64, T=16, slow_to_fast=True, fastest=60.0, reset=True),
    "slow and fast channels, odd": Case(L=30, D=29, N=33, T=16, slow_to_fast=True, fastest=60.0),
    "slow and fast channels, whole": Case(
        B=2, L=32, D=16, N=64, T=16, slow_to_fast=True, fastest=60.0, dtype=torch.bfloat16
    ),
    "slow and fast channels, 16 states": Case(L=21, D=70, T=8, slow_to_fast=True, fastest=60.0, strided=True),
    "slow and fast channels, no bias": Case(L=12, D=9, N=64, T=8, bias=False),
    "slow and fast channels, no softplus": Case(L=20, D=9, N=64, T=16, slow_to_fast=True, fastest=60.0, softplus=False),
}
STOPPING = Case(L=48, D=32, N=64, T=24, slow_to_fast=True, fastest=200.0)
IN_PLACE = ("plain", "resets", "bfloat16, strided")
NARROW = ("resets", "33 states, float16", "bfloat16, even")
WHOLE = ("a chunk that forgets", "fast and slow states")
POISON = Case(B=2, L=24, D=4, N=4, T=8)  # a reset inside the middle chunk
SPLIT = Case(L=20, D=4, N=4, T=8, reset=True)


def main() -> None:
    triton_scan_plan.BLOCK = 8  # a chunk is a multiple of it: several chunks in few, slowly interpreted steps
    triton_scan_plan.GROUPS = (((8, 1), (16, 2), (99, 4)),) * 2  # as short chunks would have it, and long ones
    narrow = triton_scan_plan.NARROW
    triton_scan_plan.NARROW = narrow._replace(most=0)
    result: dict[str, Any] = {name: errors(case, "cpu") for name, case in SMALL.items()}
    result["nan"] = poison(POISON, "cpu", float("nan"))
    result["inf"] = poison(POISON, "cpu", float("inf"))
    result["split"] = split_equals_whole(SPLIT, "cpu", 11)
    result["in place"] = {name: in_place_equals_apart(SMALL[name], "cpu") for name in IN_PLACE}
    triton_scan_plan.PIECES = (1,)  # longer walks: two groups of states, and four
    triton_scan_plan.pick_pieces.cache_clear()
    result |= {f"{name}, walked whole": errors(SMALL[name], "cpu") for name in WHOLE}
    triton_scan_plan.SORTED_FROM = 0
    result |= {name: errors(case, "cpu") for name, case in SORTED.items()}
    result["sorted, stopped"] = stopped_channels(STOPPING, "cpu")
    triton_scan_plan.NARROW, triton_scan_plan.NARROW_OF = narrow._replace(alone=0.0, beside=0.0), 0  # the fastest
    result |= {f"{name}, narrow tiles": errors(replace(SMALL[name], T=64), "cpu") for name in NARROW}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
