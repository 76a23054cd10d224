"""linear_cross_entropy against the plain logits in float64: sums, counts, gradients, restricted letters, memory."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from kernel_checks import assert_close, double, run

from dnamamba.kernels import linear_cross_entropy
from dnamamba.kernels.cross_entropy import _loss
from dnamamba.kernels.engines import choose


def draw(B, L, D, V, device, letters=None, dtype=torch.float32):
    torch.manual_seed(0)
    targets = torch.randint(0, letters or V, (B, L))
    targets[torch.rand(B, L) < 0.3] = -100
    return {
        "hidden": torch.randn(B, L, D).to(device, dtype),
        "weight": torch.randn(V, D).to(device),
        "targets": targets.to(device),
        "letters": letters,
    }


def run_loss(inputs, **more):
    tensors = {k: t for k, t in inputs.items() if k != "letters"}
    return run(partial(linear_cross_entropy, letters=inputs["letters"], **more), tensors)


def doubled(inputs):
    return double({k: t for k, t in inputs.items() if k != "letters"}) | {"letters": inputs["letters"]}


@pytest.mark.parametrize(
    "case",
    [(1, 1, 1, 1, None), (2, 37, 20, 16, None), (1, 70, 64, 16, 4), (1, 5000, 8, 16, 4), (2, 9, 33, 256, None)],
    ids=str,
)
def test_matches_reference(case, device, poisoned_memory):
    B, L, D, V, letters = case
    inputs = draw(B, L, D, V, device, letters)
    if (inputs["targets"] == -100).all():
        inputs["targets"][0, 0] = 0
    assert_close(run_loss(inputs), run_loss(doubled(inputs), engine="reference"))
    total, count = linear_cross_entropy(**inputs)
    assert (total.dtype, count.dtype, count.item()) == (
        torch.float32,
        torch.int64,
        (inputs["targets"] != -100).sum().item(),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype, device):
    inputs = draw(2, 40, 24, 16, device, dtype=dtype)
    assert_close(run_loss(inputs), run_loss(doubled(inputs), engine="reference"), dtype)


def test_equals_torch_and_counts():
    inputs = draw(2, 37, 20, 16, "cpu")
    expected = F.cross_entropy(
        (inputs["hidden"] @ inputs["weight"].T).flatten(0, 1), inputs["targets"].flatten(), reduction="sum"
    )
    for engine in (None, "reference"):
        torch.testing.assert_close(linear_cross_entropy(**inputs, engine=engine)[0], expected)


def test_restricted_letters_leave_the_other_rows_alone(device):
    inputs = draw(2, 20, 8, 16, device, letters=4)
    before = run_loss(inputs)
    inputs["weight"] = torch.cat([inputs["weight"][:4], torch.full_like(inputs["weight"][4:], 1e6)])
    after = run_loss(inputs)
    assert torch.equal(before["out0"], after["out0"])
    assert (after["dweight"][4:] == 0).all()


def test_ignored_everywhere_and_huge_logits(device):
    inputs = draw(1, 8, 4, 16, device)
    inputs["targets"][:] = -100
    found = run_loss(inputs)
    assert found["out0"].item() == 0.0
    assert (found["dhidden"] == 0).all()
    inputs = draw(1, 8, 4, 16, device)
    inputs["hidden"] = inputs["hidden"] * 1e4
    assert_close(run_loss(inputs), run_loss(doubled(inputs), engine="reference"))


def test_a_target_out_of_range_makes_the_sum_nan(device):
    for wrong in (16, -1):
        inputs = draw(1, 8, 4, 16, device)
        inputs["targets"][0, 2] = wrong
        for engine in (None, "reference"):
            assert linear_cross_entropy(**inputs, engine=engine)[0].isnan()


def test_other_ignore_index_and_same_bits_twice(device):
    inputs = draw(2, 300, 16, 16, device)
    moved = inputs | {"targets": torch.where(inputs["targets"] == -100, 99, inputs["targets"])}
    first, second = run_loss(inputs), run_loss(moved, ignore_index=99)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_logits_never_exist_whole():
    """The largest tensor that forward and backward make is the gradient of the hidden states."""
    inputs = draw(1, 50_000, 4, 256, "cpu")
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    with Sizes():
        run_loss(inputs)
    assert largest <= 4096 * 256


def test_opcheck(device):
    inputs = draw(2, 9, 5, 16, device)
    tensors = inputs["hidden"].requires_grad_(), inputs["weight"].requires_grad_(), inputs["targets"]
    torch.library.opcheck(_loss, (*tensors, -100, 16, choose("test", None, tensors[0])))


@pytest.mark.parametrize(
    ("message", "spoiler"),
    [
        ("hidden must be", {"hidden": torch.zeros(3, 5)}),
        ("weight must be", {"weight": torch.zeros(16, 4)}),
        ("targets must be", {"targets": torch.zeros(2, 8, dtype=torch.int64)}),
        ("targets must be int64", {"targets": torch.zeros(2, 9, dtype=torch.int32)}),
        ("letters must be", {"letters": 17}),
        ("must be float32", {"weight": torch.zeros(16, 5, dtype=torch.int64)}),
    ],
)
def test_wrong_arguments_are_refused(message, spoiler):
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy(**(draw(2, 9, 5, 16, "cpu") | spoiler))
