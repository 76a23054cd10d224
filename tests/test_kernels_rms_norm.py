"""rms_norm against the plain norm in float64: values, gradients, the residual stream's precision."""

from functools import partial

import pytest
import torch
from kernel_checks import assert_close, double, run

from dnamamba.kernels import reference, rms_norm
from dnamamba.kernels.engines import choose
from dnamamba.kernels.rms_norm import _norm


def draw(shape, device, dtype=torch.float32, residual=True):
    torch.manual_seed(0)
    inputs = {"x": torch.randn(shape).to(device, dtype) + 1, "weight": torch.randn(shape[-1]).to(device)}
    return inputs | ({"residual": torch.randn(shape).to(device)} if residual else {})


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("shape", [(1, 2), (3, 5, 37), (700, 64), (2, 3, 4, 16), (1, 1000), (513, 5)], ids=str)
def test_matches_reference(shape, residual, device, poisoned_memory):
    inputs = draw(shape, device, residual=residual)
    assert_close(run(rms_norm, inputs), run(partial(rms_norm, engine="reference"), double(inputs)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_input_keeps_a_float32_stream(dtype, device):
    inputs = draw((3, 40, 48), device, dtype=dtype)
    ours = run(rms_norm, inputs)
    assert (ours["out0"].dtype, ours["out1"].dtype, ours["dx"].dtype) == (dtype, torch.float32, dtype)
    assert_close(ours, run(partial(rms_norm, engine="reference"), double(inputs)), dtype)
    assert torch.equal(ours["out1"], inputs["x"].float() + inputs["residual"])


def test_worked_by_hand():
    """3 and 4 have mean square 12.5; eps makes it 16, so y = 3/4 and 4/4, times the weights."""
    for engine in (None, "reference"):
        y = rms_norm(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 2.0]), eps=3.5, engine=engine)
        torch.testing.assert_close(y, torch.tensor([[0.75, 2.0]]))


def test_zeros_and_bad_rows_keep_to_themselves(device):
    inputs = draw((6, 20), device, residual=False)
    clean = run(rms_norm, inputs)
    bad = inputs | {"x": inputs["x"].clone()}
    bad["x"][0], bad["x"][1, 3], bad["x"][2, 3] = 0.0, torch.nan, torch.inf
    found = run(rms_norm, bad)
    assert (found["out0"][0] == 0).all()
    assert torch.equal(found["out0"][3:], clean["out0"][3:])
    assert torch.equal(found["dx"][3:], clean["dx"][3:])


def test_same_bits_twice_and_strides(device):
    inputs = draw((4, 300, 40), device)
    first, second = run(rms_norm, inputs), run(rms_norm, inputs)
    turned = run(rms_norm, inputs | {"x": inputs["x"].transpose(0, 1).contiguous().transpose(0, 1)})
    assert all(torch.equal(first[k], second[k]) and torch.equal(first[k], turned[k]) for k in first)


def test_opcheck_and_gradcheck(device):
    for residual in (True, False):
        inputs = draw((3, 5), device, residual=residual)
        tensors = [t.requires_grad_() for t in inputs.values()]
        torch.library.opcheck(
            _norm, (*(tensors if residual else [*tensors, None]), 1e-5, choose("t", None, tensors[0]))
        )
        exact = {k: t.detach().requires_grad_() for k, t in double(inputs).items()}
        op = lambda *t, names=tuple(exact): reference.rms_norm(**dict(zip(names, t, strict=True)))  # noqa: E731
        assert torch.autograd.gradcheck(op, list(exact.values()))


@pytest.mark.parametrize(
    ("message", "spoiler"),
    [
        ("x must be", {"x": torch.zeros(0, 5)}),
        ("weight must be", {"weight": torch.zeros(4)}),
        ("residual must be", {"residual": torch.zeros(3, 4)}),
        ("must be float32", {"x": torch.zeros(3, 5, dtype=torch.int32)}),
        ("engine must be", {"engine": "numba"}),
    ],
)
def test_wrong_arguments_are_refused(message, spoiler):
    with pytest.raises(ValueError, match=message):
        rms_norm(**(draw((3, 5), "cpu") | spoiler))
