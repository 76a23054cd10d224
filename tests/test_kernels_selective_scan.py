"""selective_scan against the plain walk in float64: values, gradients, states, packing, hard numbers, torch's tools."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from kernel_checks import assert_close, double, draw_scan, relative_error, run
from torch.utils.checkpoint import checkpoint

from dnamamba.kernels import reference, selective_scan
from dnamamba.kernels.engines import choose
from dnamamba.kernels.selective_scan import _scan

with_state = partial(selective_scan, return_final_state=True)
plain = partial(with_state, engine="reference")

# B, L, D, N: edges and odd sizes around the lanes (16), the blocks of states (4) and the chunks (32, 64) of the engines
SHAPES = [(1, 1, 1, 1), (2, 67, 37, 5), (1, 64, 32, 16), (3, 33, 70, 20), (1, 130, 8, 64), (2, 31, 150, 16)]


@pytest.mark.parametrize("resets", [0.0, 0.1], ids=["whole", "packed"])
@pytest.mark.parametrize("shape", SHAPES, ids="B{0[0]}-L{0[1]}-D{0[2]}-N{0[3]}".format)
def test_matches_reference(shape, resets, device, poisoned_memory):
    torch.manual_seed(0)
    inputs = draw_scan(*shape, device=device, resets=resets)
    assert_close(run(with_state, inputs), run(plain, double(inputs)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype, device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 70, 40, 16, device=device, dtype=dtype, resets=0.1)
    ours = run(with_state, inputs)
    assert ours["out0"].dtype == ours["dx"].dtype == ours["dB"].dtype == dtype
    assert ours["out1"].dtype == ours["dA"].dtype == torch.float32
    assert_close(ours, run(plain, double(inputs)), dtype)


@pytest.mark.parametrize(
    "absent", [("D",), ("z",), ("dt_bias",), ("initial_state",), ("D", "z", "dt_bias", "initial_state")]
)
def test_optional_inputs(absent, device, poisoned_memory):
    torch.manual_seed(0)
    inputs = draw_scan(2, 40, 20, 7, device=device) | dict.fromkeys(absent)
    assert_close(run(with_state, inputs), run(plain, double(inputs)))


def test_without_softplus(device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 40, 20, 7, device=device) | {"dt_bias": None}
    inputs["dt"] = inputs["dt"].abs() * 0.1
    raw = partial(with_state, dt_softplus=False)
    assert_close(run(raw, inputs), run(partial(raw, engine="reference"), double(inputs)))


def test_strided_inputs(device):
    """The halves of one projection, a transposed tensor and an expanded row: the values of their contiguous copies."""
    torch.manual_seed(0)
    inputs = draw_scan(2, 40, 24, 8, device=device)
    both = torch.cat([inputs["x"], inputs["z"]], -1)
    rows = torch.cat([inputs["B"], inputs["C"]], -1)
    strided = inputs | {
        "x": both[..., :24], "z": both[..., 24:], "B": rows[..., :8], "C": rows[..., 8:],
        "dt": inputs["dt"].transpose(1, 2).contiguous().transpose(1, 2), "A": inputs["A"].t().contiguous().t(),
    }  # fmt: skip
    ours, theirs = run(with_state, strided), run(with_state, inputs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_worked_by_hand():
    """x = 1, 2; dt = log 2, log 2; A = -1: h = log 2, then h/2 + 2 log 2 = 2.5 log 2; y = 3 h + 10 x."""
    log2 = torch.log(torch.tensor(2.0))
    x, dt = torch.tensor([[[1.0], [2.0]]]), log2.expand(1, 2, 1)
    ones = torch.ones(1, 2, 1)
    for engine in (None, "reference"):
        y, h = selective_scan(
            x, dt, -torch.ones(1, 1), ones, 3 * ones,
            D=torch.tensor([10.0]), dt_softplus=False, return_final_state=True, engine=engine,
        )  # fmt: skip
        torch.testing.assert_close(y[0, :, 0], torch.stack([3 * log2 + 10, 7.5 * log2 + 20]))
        torch.testing.assert_close(h[0, 0, 0], 2.5 * log2)


def test_packed_batch_equals_separate_runs(device):
    torch.manual_seed(0)
    inputs = draw_scan(1, 100, 20, 8, device=device) | {"initial_state": None}
    cuts = [0, 1, 33, 64, 100]
    reset = torch.zeros(1, 100, dtype=torch.bool, device=device)
    reset[0, cuts[1:-1]] = True
    packed = run(selective_scan, inputs | {"reset": reset})
    along = ("x", "dt", "z", "B", "C")
    parts = []
    for first, last in pairwise(cuts):
        part = {k: t[:, first:last] if k in along and t is not None else t for k, t in inputs.items()}
        parts.append(part)
    outputs = torch.cat([selective_scan(**part) for part in parts], 1)
    assert relative_error(packed["out0"], outputs) < 1e-6

    leaves = {k: t.detach().requires_grad_() for k, t in inputs.items() if t is not None}
    pieces = []
    for first, last in pairwise(cuts):
        pieces.append(selective_scan(**{k: t[:, first:last] if k in along else t for k, t in leaves.items()}))
    dy = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1)).to(device)
    grads = torch.autograd.grad(torch.cat(pieces, 1), list(leaves.values()), dy)
    for name, grad in zip(leaves, grads, strict=True):
        assert relative_error(packed[f"d{name}"], grad) < 1e-6, name


@pytest.mark.parametrize("cut", [1, 32, 50])
def test_split_with_handed_over_state_equals_whole(cut, device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 80, 20, 8, device=device, resets=0.05)

    def in_two(**t):
        first = {k: v[:, :cut] if k in ("x", "dt", "z", "B", "C", "reset") else v for k, v in t.items()}
        second = {k: v[:, cut:] if k in ("x", "dt", "z", "B", "C", "reset") else v for k, v in t.items()}
        y1, state = with_state(**first)
        y2, state = with_state(**second | {"initial_state": state})
        return torch.cat([y1, y2], 1), state

    assert_close(run(in_two, inputs), run(with_state, inputs))


def test_reset_drops_nan_values_and_gradients(device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 70, 20, 8, device=device)
    inputs["reset"] = torch.zeros(2, 70, dtype=torch.bool, device=device)
    inputs["reset"][0, 40] = True
    clean = run(with_state, inputs)
    for poisoned, where in ((slice(3, 30), slice(40, None)), (slice(50, 60), slice(None, 40))):
        bad = dict(inputs)
        bad["x"] = inputs["x"].clone()
        bad["x"][0, poisoned] = torch.nan
        found = run(with_state, bad)
        for name in ("out0", "dx", "ddt", "dz", "dB", "dC"):
            torch.testing.assert_close(
                found[name][0, where], clean[name][0, where], msg=f"{name} of the other sequence"
            )
            torch.testing.assert_close(found[name][1], clean[name][1], msg=f"{name} of the other batch row")
        assert found["out0"][0, poisoned].isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 3e38])
@pytest.mark.parametrize("name", ["x", "dt", "B", "z"])
def test_bad_numbers_stay_in_their_channel(name, bad, device):
    """A NaN, an infinity or an overflow in one channel (for B: in one batch row) leaves the others' bits alone."""
    torch.manual_seed(0)
    inputs = draw_scan(2, 40, 20, 8, device=device)
    clean = with_state(**inputs)
    broken = dict(inputs)
    broken[name] = inputs[name].clone()
    broken[name][0, 5, 3] = bad
    y, state = with_state(**broken)
    others = [d for d in range(20) if d != 3] if name != "B" else []
    assert torch.equal(y[0][:, others], clean[0][0][:, others])
    assert torch.equal(state[0][others], clean[1][0][others])
    assert torch.equal(y[1], clean[0][1])
    assert torch.equal(y[0, :5], clean[0][0, :5])
    assert not torch.equal(y[0, 5:, 3], clean[0][0, 5:, 3])


def test_slow_and_fast_decays(device):
    """Decays from 1 - 1e-6 to 0 and steps to 100; dA of states that keep almost nothing is right as well."""
    torch.manual_seed(0)
    inputs = draw_scan(1, 500, 33, 8, device=device) | {"dt_bias": None}
    inputs["dt"] = torch.exp(torch.empty(1, 500, 33).uniform_(-7, 4.6)).to(device)
    inputs["A"] = -torch.logspace(-4, 2, 8, device=device).repeat(33, 1)
    raw = partial(with_state, dt_softplus=False)
    ours, theirs = run(raw, inputs), run(partial(raw, engine="reference"), double(inputs))
    assert_close(ours, theirs)
    fast = relative_error(ours["dA"][:, -1], theirs["dA"][:, -1])
    assert fast < 1e-4, f"dA of the fastest state: {fast:.1e}"
    inputs["dt"] = torch.full_like(inputs["dt"], 1e-3)
    inputs["A"] = torch.full_like(inputs["A"], -1e-3)  # a = 1 - 1e-6 throughout
    assert_close(run(raw, inputs), run(partial(raw, engine="reference"), double(inputs)))


def test_extinct_state_is_zero(device):
    ones = torch.ones(1, 2, 1, device=device)
    x = torch.tensor([[[1e30], [0.0]]], device=device)
    y = selective_scan(x, 100 * ones, torch.full((1, 1), -1e4, device=device), ones, ones, dt_softplus=False)
    assert y[0, 1].item() == 0.0


@pytest.mark.parametrize("raw", [-30.0, -13.8, 0.0, 20.0, 90.0])
def test_softplus_keeps_its_digits(raw, device):
    """With C B = 1 and h = 0 before, the first output is softplus(raw) x; -13.8 is a step of 1e-6."""
    ones = torch.ones(1, 1, 1, device=device)
    dt = torch.full_like(ones, raw).requires_grad_()
    y = selective_scan(ones, dt, -ones[0], ones, ones)
    slope = torch.autograd.grad(y.sum(), dt)[0]
    exact = torch.tensor(raw, dtype=torch.float64)
    assert y.item() == pytest.approx(torch.log1p(torch.exp(exact)).item(), rel=1e-6)
    assert slope.item() == pytest.approx(torch.sigmoid(exact).item(), rel=1e-6)


def test_same_bits_twice_and_state_in_float32(device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 300, 70, 16, device=device, resets=0.02)
    first, second = run(with_state, inputs), run(with_state, inputs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    ones = torch.ones(1, 1000, 1, device=device, dtype=torch.bfloat16)
    y = selective_scan(ones, ones, torch.zeros(1, 1, device=device), ones, ones, dt_softplus=False)
    assert y[0, -1].item() == 1000  # a bfloat16 state stops at 256


def test_opcheck(device):
    torch.manual_seed(0)
    for resets in (0.0, 0.2):
        inputs = draw_scan(2, 40, 20, 5, device=device, resets=resets)
        order = ("x", "dt", "A", "B", "C", "D", "z", "dt_bias", "initial_state", "reset")
        tensors = [t.requires_grad_() if (t := inputs[k]) is not None and t.is_floating_point() else t for k in order]
        torch.library.opcheck(_scan, (*tensors, True, choose("test", None, tensors[0])))


def test_gradcheck_of_the_reference():
    torch.manual_seed(0)
    inputs = double(draw_scan(2, 5, 3, 2, resets=0.3))
    reset = inputs.pop("reset")
    names, tensors = list(inputs), [t.requires_grad_() for t in inputs.values()]
    op = lambda *t: reference.selective_scan(**dict(zip(names, t, strict=True)), reset=reset)  # noqa: E731
    assert torch.autograd.gradcheck(op, tensors)


def test_autocast_checkpoint_and_compile(device):
    torch.manual_seed(0)
    inputs = draw_scan(2, 40, 20, 5, device=device)
    expected = run(with_state, inputs)
    kept = run(lambda **t: checkpoint(lambda: with_state(**t), use_reentrant=False), inputs)
    compiled = run(torch.compile(with_state, backend="aot_eager", fullgraph=True), inputs)
    with torch.autocast(device, torch.bfloat16):
        cast = run(with_state, inputs)
    for other in (kept, compiled, cast):
        assert all(torch.equal(other[name], expected[name]) for name in expected)


SPOILERS = {
    "x must be": {"x": torch.zeros(2, 3)},
    r"dt must be \[B, L, D\] = \[2, 9, 4\], got \[2, 9, 5\]": {"dt": torch.zeros(2, 9, 5)},
    "A must be": {"A": torch.zeros(5, 3)},
    "N in 1..64": {"A": torch.zeros(4, 65)},
    r"B must be \[B, L, N\]": {"B": torch.zeros(2, 9, 4)},
    r"C must be \[B, L, N\]": {"C": torch.zeros(2, 8, 3)},
    r"D must be \[D\]": {"D": torch.zeros(5)},
    r"z must be \[B, L, D\]": {"z": torch.zeros(2, 9, 1)},
    r"dt_bias must be \[D\]": {"dt_bias": torch.zeros(3)},
    "initial_state must be": {"initial_state": torch.zeros(2, 3, 4)},
    "reset must be bool": {"reset": torch.zeros(2, 9)},
    r"reset must be \[B, L\]": {"reset": torch.zeros(9, dtype=torch.bool)},
    "x must be float32, bfloat16": {"x": torch.zeros(2, 9, 4, dtype=torch.int64)},
    "one device": {"z": torch.zeros(2, 9, 4, device="meta")},
    "engine must be one of": {"engine": "cuda"},
    "computed by engine='reference' only": {"x": torch.zeros(2, 9, 4, dtype=torch.float64), "engine": "cpu"},
    "takes CUDA tensors": {"engine": "triton"},
}


@pytest.mark.parametrize("message", SPOILERS)
def test_wrong_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        selective_scan(**(draw_scan(2, 9, 4, 3) | SPOILERS[message]))
