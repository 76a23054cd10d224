"""scan_summary against the scan itself: carrying a state over the summary is what the scan does to it, both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kernel_checks import double, draw_scan, relative_error
from triton_process import run_json

from dnamamba.kernels import selective_scan
from dnamamba.kernels.scan_summary import ScanSummary, scan_summary

HERE = Path(__file__).parent
SHAPES = [(1, 1, 1, 1), (2, 67, 37, 5), (1, 64, 32, 16), (2, 33, 20, 20)]
COMMON = ("dt", "A", "dt_bias", "reset")


def summaries(inputs: dict[str, Any], dy: torch.Tensor, engine: str | None) -> tuple[ScanSummary, ScanSummary]:
    common = {name: inputs[name] for name in COMMON}
    there = scan_summary(inputs["x"], B=inputs["B"], **common, engine=engine)
    back = scan_summary(dy, B=inputs["C"], z=inputs["z"], **common, adjoint=True, engine=engine)
    return there, back


def through_the_scan(
    inputs: dict[str, Any], dy: torch.Tensor, dfinal: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The final state, and the gradient of the initial one, by autograd through the plain scan."""
    inputs = inputs | {"initial_state": inputs["initial_state"].detach().requires_grad_()}
    y, final = selective_scan(**inputs, return_final_state=True, engine="reference")
    (dinitial,) = torch.autograd.grad([y, final], inputs["initial_state"], [dy, dfinal])
    return final.detach(), dinitial


@pytest.mark.parametrize("resets", [0.0, 0.05], ids=["whole", "packed"])
@pytest.mark.parametrize("shape", SHAPES, ids="B{0[0]}-L{0[1]}-D{0[2]}-N{0[3]}".format)
@pytest.mark.parametrize("engine", [None, "reference"], ids=["fast", "reference"])
def test_carry_is_what_the_scan_does(engine, shape, resets, device, poisoned_memory):
    torch.manual_seed(0)
    inputs = draw_scan(*shape, device=device, resets=resets)
    exact = double(inputs)
    dy, dfinal = torch.randn_like(inputs["x"]), torch.randn_like(inputs["initial_state"])
    final, dinitial = through_the_scan(exact, dy.double(), dfinal.double())
    limit = 1e-5
    if engine == "reference":
        inputs, dy, dfinal, limit = exact, dy.double(), dfinal.double(), 1e-12
    there, back = summaries(inputs, dy, engine)
    assert there.added.dtype == dfinal.dtype
    assert relative_error(there.carry(inputs["A"], inputs["initial_state"]), final) < limit
    assert relative_error(back.carry(inputs["A"], dfinal), dinitial) < limit
    cut = torch.zeros(shape[0], dtype=torch.bool, device=device) if inputs["reset"] is None else inputs["reset"].any(1)
    assert torch.equal(there.cut, cut)
    assert torch.equal(back.cut, cut)


def test_without_bias_gate_and_softplus(device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 40, 20, 7, device=device) | {"dt_bias": None, "z": None, "D": None}
    inputs["dt"] = inputs["dt"].abs() * 0.1
    exact = double(inputs) | {"dt_softplus": False}
    dy, dfinal = torch.randn_like(inputs["x"]), torch.randn_like(inputs["initial_state"])
    final, dinitial = through_the_scan(exact, dy.double(), dfinal.double())
    there = scan_summary(inputs["x"], inputs["dt"], inputs["A"], inputs["B"], dt_softplus=False)
    back = scan_summary(dy, inputs["dt"], inputs["A"], inputs["C"], dt_softplus=False, adjoint=True)
    assert relative_error(there.carry(inputs["A"], inputs["initial_state"]), final) < 1e-5
    assert relative_error(back.carry(inputs["A"], dfinal), dinitial) < 1e-5


def test_a_reset_drops_a_nan_from_either_side(device):
    torch.manual_seed(0)
    inputs = draw_scan(1, 30, 20, 8, device=device)
    inputs["reset"] = torch.zeros(1, 30, dtype=torch.bool, device=device)
    inputs["reset"][0, 15] = True
    dy = torch.randn_like(inputs["x"])
    inputs["x"][0, 14], dy[0, 15] = torch.nan, torch.nan
    there, back = summaries(inputs, dy, None)
    nothing = torch.full_like(inputs["initial_state"], torch.nan)
    assert there.carry(inputs["A"], nothing).isfinite().all()
    assert back.carry(inputs["A"], nothing).isfinite().all()


def test_triton_in_the_interpreter():
    for case, errors in run_json(HERE / "triton_summary_cases.py", interpret=True).items():
        for name, error in errors.items():
            assert error < 1e-5, f"{case}, {name}: relative error {error:.1e}"


@pytest.mark.parametrize(
    "message, changes",
    [
        (r"x must be \[B, L, D\]", {"x": torch.zeros(2, 3)}),
        (r"dt must be \[B, L, D\] = \[2, 9, 4\], got \[2, 9, 5\]", {"dt": torch.zeros(2, 9, 5)}),
        (r"B must be \[B, L, N\]", {"B": torch.zeros(2, 9, 4)}),
        (r"dt_bias must be \[D\]", {"dt_bias": torch.zeros(3)}),
        ("reset must be bool", {"reset": torch.zeros(2, 9)}),
        ("engine must be one of", {"engine": "cuda"}),
    ],
)
def test_wrong_arguments_are_refused(message, changes):
    inputs = draw_scan(2, 9, 4, 3)
    with pytest.raises(ValueError, match=message):
        scan_summary(**({name: inputs[name] for name in ("x", "B", *COMMON)} | changes))
