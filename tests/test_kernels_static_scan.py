"""static_scan against the plain recurrence and against a convolution, both in float64; states, packing, gradients."""

import pytest
import torch
from kernel_checks import assert_close, run

from dnamamba.kernels import selective_scan, static_scan
from dnamamba.kernels.static_scan import CHUNK


def draw(B, L, D, N, *, dtype=torch.float32, resets=0.0, device="cpu"):
    torch.manual_seed(0)
    inputs = {
        "x": torch.randn(B, L, D),
        "dt": torch.exp(torch.empty(D).uniform_(-6.9, -2.3)),
        "A": -torch.arange(1.0, N + 1).repeat(D, 1) * (1 + 0.1 * torch.rand(D, 1)),
        "B": torch.randn(D, N),
        "C": torch.randn(D, N),
        "initial_state": torch.randn(B, D, N),
    }
    moved = {name: tensor.to(device, dtype) for name, tensor in inputs.items()}
    return moved | {"reset": (torch.rand(B, L) < resets).to(device) if resets else None}


def ours(**inputs):
    return static_scan(**inputs, return_final_state=True)


def recurrence(x, dt, A, B, C, initial_state, reset):
    """h[t] = exp(dt A) h[t-1] + dt B x[t], y[t] = C . h[t], step by step."""
    h, outputs = initial_state, []
    for t in range(x.shape[1]):
        if reset is not None:
            h = torch.where(reset[:, t, None, None], torch.zeros_like(h), h)
        h = (dt[:, None] * A).exp() * h + dt[:, None] * B * x[:, t, :, None]
        outputs.append((h * C).sum(-1))
    return torch.stack(outputs, 1), h


def double(inputs):
    return {k: t if t is None or t.dtype == torch.bool else t.double() for k, t in inputs.items()}


@pytest.mark.parametrize("resets", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 63, 3, 4), (3, 64, 5, 16), (1, 65, 4, 2), (2, 300, 6, 5)])
def test_matches_the_recurrence(shape, resets, device):
    inputs = draw(*shape, resets=resets, device=device)
    theirs = run(recurrence, double(inputs))
    assert_close(run(ours, inputs), theirs)
    exact = run(ours, double(inputs))
    for name, tensor in theirs.items():
        torch.testing.assert_close(exact[name], tensor, rtol=1e-9, atol=1e-10)


def test_is_a_convolution():
    """y = K * x with K[t] = sum_n C_n dt B_n exp(dt A_n t), computed by an FFT."""
    inputs = double(draw(2, 500, 4, 8)) | {"initial_state": None}
    x, dt, A, B, C = (inputs[name] for name in ("x", "dt", "A", "B", "C"))
    times = torch.arange(500, dtype=torch.float64)
    kernel = torch.einsum("dn,dnt->dt", C * B * dt[:, None], ((dt[:, None] * A)[..., None] * times).exp())
    spectrum = torch.fft.rfft(x.transpose(1, 2), 1000) * torch.fft.rfft(kernel, 1000)
    y, _ = ours(**inputs)
    torch.testing.assert_close(y, torch.fft.irfft(spectrum, 1000)[..., :500].transpose(1, 2), rtol=0, atol=1e-12)


def test_equals_the_selective_scan_whose_inputs_stand_still():
    """B and C shared by all channels, dt the same at every step: the selective scan's own special case."""
    inputs = draw(2, 150, 6, 4, resets=0.03)
    B, C = inputs["B"][0], inputs["C"][0]
    y, final = ours(**inputs | {"B": B.expand(6, -1), "C": C.expand(6, -1)})
    rows = [row.expand(2, 150, -1) for row in (inputs["dt"], B, C)]
    theirs = selective_scan(
        inputs["x"], rows[0], inputs["A"], rows[1], rows[2],
        dt_softplus=False, initial_state=inputs["initial_state"], reset=inputs["reset"], return_final_state=True,
    )  # fmt: skip
    assert_close({"out0": y, "out1": final}, {"out0": theirs[0], "out1": theirs[1]})


@pytest.mark.parametrize("size", [1, 2, 40, CHUNK, 100])
def test_any_cutting_is_the_whole(size):
    inputs = double(draw(2, 200, 3, 4, resets=0.02))
    x, state, reset = (inputs.pop(name) for name in ("x", "initial_state", "reset"))
    whole, after = ours(x=x, initial_state=state, reset=reset, **inputs)
    pieces = []
    for first in range(0, 200, size):
        at = slice(first, first + size)
        y, state = ours(x=x[:, at], initial_state=state, reset=reset[:, at], **inputs)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, after, rtol=0, atol=1e-12)


def test_a_nan_before_a_reset_does_not_leak():
    inputs = draw(1, 200, 3, 4)
    reset = torch.zeros(1, 200, dtype=torch.bool)
    reset[0, 130] = True
    clean = ours(**inputs | {"reset": reset})
    inputs["x"] = inputs["x"].clone()
    inputs["x"][0, :130] = torch.nan
    broken = ours(**inputs | {"reset": reset, "initial_state": torch.full((1, 3, 4), torch.nan)})
    assert torch.equal(broken[0][:, 130:], clean[0][:, 130:])
    assert torch.equal(broken[1], clean[1])
    reset[0, 0] = True
    inputs["x"][0, :130] = 1.0
    state = torch.full((1, 3, 4), torch.nan, requires_grad=True)
    y, _ = ours(**inputs | {"reset": reset, "initial_state": state})
    assert not y.isnan().any()
    assert torch.autograd.grad(y.sum(), state)[0].eq(0).all()


def test_works_in_float32_under_autocast_and_returns_what_came_in():
    inputs = draw(2, 100, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = ours(**inputs | {"x": inputs["x"].bfloat16()})
    exact, after = ours(**inputs | {"x": inputs["x"].bfloat16().float()})
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, exact.bfloat16())
    assert torch.equal(state, after)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": torch.zeros(2, 3)}, r"x must be \[B, L, D\]"),
        ({"dt": torch.ones(4)}, r"dt must be \[D\] = \[3\], got \[4\]"),
        ({"C": torch.ones(3, 5)}, r"C must be \[D, N\] = \[3, 4\], got \[3, 5\]"),
        ({"reset": torch.zeros(2, 9, dtype=torch.bool)}, r"reset must be \[B, L\] = \[2, 10\]"),
        ({"A": torch.ones(3, 4, dtype=torch.int64)}, "A must be float32, bfloat16, float16 or float64"),
    ],
    ids=["x", "dt", "C", "reset", "dtype"],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        static_scan(**draw(2, 10, 3, 4) | change)
