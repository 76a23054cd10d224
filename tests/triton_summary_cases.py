"""The Triton summary of a piece against the plain walk in float64: interpreted (a script) and on a GPU (imported)."""

import json
from typing import Any

import torch
from triton_scan_cases import Case, error

from dnamamba.kernels import reference, triton_scan, triton_scan_plan
from dnamamba.kernels.triton_summary import scan_summary

SMALL = {
    "one chunk": Case(L=8, D=5, N=4),
    "chunks": Case(L=21, D=3, T=8),
    "even": Case(L=32, D=32, T=8),
    "resets": Case(B=2, L=22, D=5, N=5, T=8, reset=True),
    "no softplus": Case(L=13, D=5, N=2, T=8, softplus=False),
    "steps of 100": Case(L=20, D=4, T=8, dt_raw=100.0),
}


def errors(case: Case, device: str) -> dict[str, float]:
    """Relative error of what a piece adds, there and back, and of a state carried over it."""
    t = case.inputs(device)
    found = {}
    for name, x, rows in (("there", "x", "B"), ("back", "x", "C")):
        adjoint = name == "back"
        bias, z = t["dt_bias"], t["z"]
        added, time, walk = scan_summary(
            t[x], t["dt"], t["A"], t[rows], z, bias, t["reset"], case.softplus, adjoint, chunk_length=case.T
        )
        exact, full = reference.scan_summary(
            t[x].double(), t["dt"], t["A"], t[rows], z=z, dt_bias=bias, dt_softplus=case.softplus, reset=t["reset"],
            adjoint=adjoint,
        )  # fmt: skip
        found[f"{name}, added"] = error(added, exact)
        if walk is not None and (case.reset or case.D == 32):  # a walk of odd and of even sizes: each takes a second
            found[f"{name}, taken over"] = _taken_over(case, t, walk, adjoint)
        # The walk may stop when nothing is left: the time is compared by what it leaves of a state.
        cut = torch.zeros(case.B, device=device) if t["reset"] is None else t["reset"].any(1)
        here, there = (torch.exp(t["A"] * s[:, :, None]).double()[cut == 0] for s in (time, full))
        found[f"{name}, kept"] = float((here - there).abs().max()) if len(here) else 0.0
    return found


def _taken_over(case: Case, t: dict[str, Any], walk: triton_scan.Walk, adjoint: bool) -> float:
    """Difference of a scan that takes the summary's walk over from one that walks itself: of y, or of gradients."""
    ins = [t[k] for k in ("x", "dt", "A", "B", "C", "D", "z", "dt_bias", "initial_state", "reset")]
    own = triton_scan.scan_forward(*ins, case.softplus, chunk_length=case.T)
    if adjoint:
        # As the summary had it, the gradient of y is x here.
        given = (t["x"], None, *ins, own[2], case.softplus)
        own = triton_scan.scan_backward(*given, chunk_length=case.T)
        taken = triton_scan.scan_backward(*given, walk=walk)
    else:
        taken = triton_scan.scan_forward(*ins, case.softplus, walk=walk)
    pairs = [(a, b) for a, b in zip(own, taken, strict=True) if a is not None and b is not None]
    return max(float((a.float() - b.float()).abs().max()) for a, b in pairs)


if __name__ == "__main__":
    triton_scan_plan.BLOCK = 8  # several chunks in few, slowly interpreted steps
    print(json.dumps({name: errors(case, "cpu") for name, case in SMALL.items()}))
