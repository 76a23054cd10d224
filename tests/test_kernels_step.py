"""selective_step walks a sequence to what selective_scan gives; the reference engine's own step and its errors."""

import pytest
import torch
from kernel_checks import draw_scan, relative_error

from dnamamba.kernels import selective_scan, selective_step

ALONG = ("x", "dt", "z", "B", "C")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 6, 37, 5), (3, 4, 40, 16)], ids=str)
def test_steps_walk_the_sequence(shape, dtype, device):
    torch.manual_seed(0)
    inputs = draw_scan(*shape, device=device, dtype=dtype)
    expected, last = selective_scan(**inputs, return_final_state=True)
    del inputs["reset"]
    state = inputs.pop("initial_state")
    for t in range(shape[1]):
        before = state.clone()
        now = {k: v[:, t] if k in ALONG else v for k, v in inputs.items()}
        y, new = selective_step(**now, state=state)
        assert torch.equal(state, before), "the state that was given is not to be changed"
        assert (y.dtype, new.dtype) == (dtype, torch.float32)
        assert relative_error(y, expected[:, t]) < (1e-5 if dtype == torch.float32 else 1e-2)
        state = new
    assert relative_error(state, last) < 1e-5


def test_bare_step(device):
    """h = 0.5: y = c (h exp(dt A) + dt b x) = 2 (0.5 / e + 3)."""
    one = torch.ones(1, 1, device=device)
    for engine in (None, "reference"):
        y, state = selective_step(one, one, -one, 3 * one, 2 * one, one[None] / 2, dt_softplus=False, engine=engine)
        assert state.item() == pytest.approx(0.5 / torch.e + 3)
        assert y.item() == pytest.approx(2 * state.item())


@pytest.mark.parametrize(
    ("message", "spoiler"),
    [
        ("x must be", {"x": torch.zeros(2, 1, 4)}),
        ("dt must be", {"dt": torch.zeros(2, 5)}),
        ("A must be", {"A": torch.zeros(5, 3)}),
        ("B must be", {"B": torch.zeros(2, 4)}),
        ("state must be", {"state": torch.zeros(2, 3, 4)}),
        ("D must be", {"D": torch.zeros(3)}),
        ("must be float32", {"x": torch.zeros(2, 4, dtype=torch.int64)}),
        ("engine must be", {"engine": "gpu"}),
    ],
)
def test_wrong_arguments_are_refused(message, spoiler):
    good = {
        "x": torch.zeros(2, 4), "dt": torch.zeros(2, 4), "A": torch.zeros(4, 3), "B": torch.zeros(2, 3),
        "C": torch.zeros(2, 3), "state": torch.zeros(2, 4, 3),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        selective_step(**(good | spoiler))
