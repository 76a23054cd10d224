"""causal_conv1d and its step against the plain convolution in float64: values, gradients, tails, resets."""

from functools import partial

import pytest
import torch
from kernel_checks import assert_close, double, run

from dnamamba.kernels import causal_conv1d, causal_conv1d_step, reference
from dnamamba.kernels.causal_conv import _conv
from dnamamba.kernels.engines import choose

with_tail = partial(causal_conv1d, return_tail=True)
SHAPES = [(1, 1, 1, 1), (2, 67, 37, 4), (3, 2, 20, 4), (1, 33, 16, 3), (2, 64, 50, 2), (1, 1100, 20, 4), (1, 20, 9, 7)]


def draw(B, L, D, W, device, dtype=torch.float32, resets=0.0, tail=True):
    torch.manual_seed(0)
    return {
        "x": torch.randn(B, L, D).to(device, dtype),
        "weight": torch.randn(D, W).to(device),
        "bias": torch.randn(D).to(device),
        "initial_tail": torch.randn(B, W - 1, D).to(device, dtype) if tail else None,
        "reset": (torch.rand(B, L) < resets).to(device) if resets else None,
    }


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("resets", [0.0, 0.2], ids=["whole", "packed"])
@pytest.mark.parametrize("shape", SHAPES, ids="B{0[0]}-L{0[1]}-D{0[2]}-W{0[3]}".format)
def test_matches_reference(shape, resets, activation, device, poisoned_memory):
    inputs = draw(*shape, device, resets=resets)
    op = partial(with_tail, activation=activation)
    assert_close(run(op, inputs), run(partial(op, engine="reference"), double(inputs)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype, device):
    inputs = draw(2, 40, 20, 4, device, dtype=dtype)
    ours = run(with_tail, inputs)
    assert ours["out0"].dtype == ours["dx"].dtype == ours["out1"].dtype == dtype
    assert_close(ours, run(partial(with_tail, engine="reference"), double(inputs)), dtype)


def test_without_bias_or_tail(device, poisoned_memory):
    inputs = draw(2, 40, 20, 4, device, tail=False) | {"bias": None}
    assert_close(run(with_tail, inputs), run(partial(with_tail, engine="reference"), double(inputs)))


def test_worked_by_hand():
    """Taps 1, 10, 100 (newest last) on 1, 2, 3 with a reset at the last: 100, 210, 300."""
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    reset = torch.tensor([[False, False, True]])
    for engine in (None, "reference"):
        y, tail = causal_conv1d(
            x, torch.tensor([[1.0, 10.0, 100.0]]), activation=None, reset=reset, return_tail=True, engine=engine
        )
        assert y.flatten().tolist() == [100.0, 210.0, 300.0]
        assert tail.flatten().tolist() == [0.0, 3.0]


def test_silu_of_extremes(device):
    x = torch.tensor([-200.0, -90.0, -1e-6, 0.0, 1e-6, 90.0, 200.0]).view(1, 7, 1).to(device)
    ones = torch.ones(1, 1, device=device)
    assert_close(
        run(causal_conv1d, {"x": x, "weight": ones}),
        run(partial(causal_conv1d, engine="reference"), double({"x": x, "weight": ones})),
    )


@pytest.mark.parametrize("cut", [1, 2, 32, 50])
def test_split_with_handed_over_tail_equals_whole(cut, device):
    inputs = draw(2, 70, 20, 4, device, resets=0.1)

    def in_two(x, weight, bias, initial_tail, reset):
        y1, tail = with_tail(x[:, :cut], weight, bias, initial_tail=initial_tail, reset=reset[:, :cut])
        y2, tail = with_tail(x[:, cut:], weight, bias, initial_tail=tail, reset=reset[:, cut:])
        return torch.cat([y1, y2], 1), tail

    assert_close(run(in_two, inputs), run(with_tail, inputs))


def test_nan_does_not_cross_a_reset_or_leave_its_reach(device):
    inputs = draw(1, 70, 20, 4, device)
    clean = run(with_tail, inputs)
    bad = dict(inputs) | {"x": inputs["x"].clone()}
    bad["x"][0, 10, 3] = torch.nan
    y, _ = with_tail(**bad)
    assert y[0, 10:14, 3].isnan().all()
    assert torch.equal(y.nan_to_num(7)[0, 14:], clean["out0"][0, 14:])
    assert int(y.isnan().sum()) == 4
    bad["reset"] = torch.zeros(1, 70, dtype=torch.bool, device=device)
    bad["reset"][0, 12] = True
    y, _ = with_tail(**bad)
    assert int(y.isnan().sum()) == 2
    grads = run(with_tail, bad)
    assert int(grads["dx"].isnan().sum()) == 5  # inputs 7 .. 11 feed outputs 10 and 11


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_bad_input_reaches_as_many_outputs_as_there_are_taps(width, bad, device):
    inputs = draw(1, 30, 20, width, device)
    clean = run(with_tail, inputs)
    inputs["x"] = inputs["x"].clone()
    inputs["x"][0, 10, 3] = bad
    found = run(with_tail, inputs)
    changed = (found["out0"] != clean["out0"]).nonzero().tolist()  # a NaN differs too
    assert changed == [[0, t, 3] for t in range(10, 10 + width)]
    wrong = (~found["dx"].isfinite() | (found["dx"] != clean["dx"])).nonzero()
    assert all(10 - width < t < 10 + width and d == 3 for _, t, d in wrong.tolist())


def test_same_bits_twice_and_strides(device):
    inputs = draw(2, 600, 40, 4, device)
    first, second = run(with_tail, inputs), run(with_tail, inputs)
    wide = torch.cat([inputs["x"], inputs["x"]], -1)[..., :40]
    strided = run(with_tail, inputs | {"x": wide})
    assert all(torch.equal(first[k], second[k]) and torch.equal(first[k], strided[k]) for k in first)


def test_opcheck_and_gradcheck(device):
    for resets in (0.0, 0.3):
        inputs = draw(2, 9, 5, 3, device, resets=resets)
        tensors = [t.requires_grad_() if t is not None and t.is_floating_point() else t for t in inputs.values()]
        torch.library.opcheck(_conv, (*tensors, True, choose("test", None, tensors[0])))
        exact = [
            t.detach().requires_grad_() for t in double(inputs).values() if t is not None and t.is_floating_point()
        ]
        plain = lambda x, w, b, t, reset=inputs["reset"]: reference.causal_conv1d(x, w, b, initial_tail=t, reset=reset)  # noqa: E731
        assert torch.autograd.gradcheck(plain, exact)


@pytest.mark.parametrize("width", [1, 2, 4, 6])
@pytest.mark.parametrize("activation", ["silu", None])
def test_steps_walk_the_sequence(width, activation, device):
    inputs = draw(2, 6, 20, width, device)
    expected, last = with_tail(**inputs, activation=activation)
    tail = inputs["initial_tail"]
    for t in range(6):
        before = tail.clone()
        y, new = causal_conv1d_step(inputs["x"][:, t], tail, inputs["weight"], inputs["bias"], activation=activation)
        assert torch.equal(tail, before), "the tail that was given is not to be changed"
        torch.testing.assert_close(y, expected[:, t])
        tail = new
    torch.testing.assert_close(tail, last)


SPOILERS = {
    "x must be": {"x": torch.zeros(2, 3)},
    "weight must be": {"weight": torch.zeros(4, 4)},
    "W in 1..8": {"weight": torch.zeros(5, 9)},
    "bias must be": {"bias": torch.zeros(4)},
    "activation must be": {"activation": "gelu"},
    "initial_tail must be": {"initial_tail": torch.zeros(2, 2, 5)},
    "reset must be": {"reset": torch.zeros(2, 9)},
    "must be float32": {"x": torch.zeros(2, 9, 5, dtype=torch.int8)},
    "at most 4 taps": {"weight": torch.zeros(5, 6), "initial_tail": None, "engine": "cpu"},
}


@pytest.mark.parametrize("message", SPOILERS)
def test_wrong_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        causal_conv1d(**(draw(2, 9, 5, 4, "cpu") | SPOILERS[message]))


@pytest.mark.parametrize(("message", "x"), [("x must be", torch.zeros(2, 3, 5)), ("tail must be", torch.zeros(3, 5))])
def test_wrong_step_arguments_are_refused(message, x):
    with pytest.raises(ValueError, match=message):
        causal_conv1d_step(x, torch.zeros(2, 3, 5), torch.zeros(5, 4))
