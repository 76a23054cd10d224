"""Time-sliced backpropagation against the unsliced step: loss, gradients and final state."""

import pytest
import torch
from random_models import random_model, random_tokens
from torch.utils._python_dispatch import TorchDispatchMode

from dnamamba.model import ModelState
from dnamamba.model.sliced import cut_batch, slice_borders, sliced_step

# Relative error of each gradient. float32: rounding, which each cutting of a sum does anew.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
LENGTH = 53
IGNORED = -100


def _batch(length=LENGTH, resets=(), rows=2):
    targets = random_tokens(rows, length, seed=1).long()
    targets[:, ::7] = IGNORED
    reset = torch.zeros(rows, length, dtype=torch.bool)
    for row, position in resets:
        reset[row, position] = True
    return {"tokens": random_tokens(rows, length), "targets": targets, "reset": reset if resets else None}


def _whole(model, batch, scale=1.0, state=None, autocast=None):
    """The unsliced step, written out."""
    model.zero_grad()
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        loss, count, after = model.loss(batch, state)
    (loss * scale).backward()
    return loss.detach(), count, after.detach(), _gradients(model)


def _sliced(model, batch, slice_length, **options):
    model.zero_grad()
    length = batch["tokens"].shape[1]
    loss, count, after = sliced_step(model, cut_batch(batch), length, slice_length, **options)
    return loss, count, after, _gradients(model)


def _gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def _assert_same(ours, theirs, tolerance):
    assert ours[1].item() == theirs[1].item()
    assert abs(ours[0].item() / theirs[0].item() - 1) < tolerance
    states = [(f"state {i}", *pair) for i, pair in enumerate(zip(ours[2].tensors(), theirs[2].tensors(), strict=True))]
    for name, x, y in states + [(name, ours[3][name], y) for name, y in theirs[3].items()]:
        error = (x - y).norm() / y.norm()
        assert error < tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("slice_length", [1, 2, 13, 26, 52, 53, 1000])
def test_gradients_are_those_of_the_whole(dtype, slice_length):
    model, batch = random_model(dtype=dtype), _batch()
    ours = _sliced(model, batch, slice_length, scale=0.25)
    _assert_same(ours, _whole(model, batch, scale=0.25), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("position", [0, 12, 13, 14, 40, 52])
def test_resets_at_and_beside_the_borders(dtype, position):
    """53 tokens in slices of 13: borders at 1, 14, 27 and 40."""
    model, batch = random_model(dtype=dtype), _batch(resets=[(0, position), (1, 30)])
    _assert_same(_sliced(model, batch, 13), _whole(model, batch), TOLERANCE[dtype])


def test_what_came_before_is_seen_and_what_comes_after_is_returned():
    model, batch = random_model(dtype=torch.float64), _batch()
    with torch.no_grad():
        _, state = model(random_tokens(2, 20, seed=5))
    kept = state.clone()
    ours = _sliced(model, batch, 10, state=state)
    _assert_same(ours, _whole(model, batch, state=state), 1e-10)
    assert not any(tensor.requires_grad for tensor in [*ours[2].tensors(), *state.tensors()])
    assert all(torch.equal(a, b) for a, b in zip(state.tensors(), kept.tensors(), strict=True))
    fresh = _sliced(model, batch, 10)
    assert abs(fresh[0].item() - ours[0].item()) > 1e-6


def test_several_steps_add_up():
    """Micro-batches of one optimiser step, sliced or not, add their gradients."""
    model = random_model(dtype=torch.float64)
    first, second = _batch(), _batch(rows=1, length=17)
    a, b = _whole(model, first)[3], _whole(model, second)[3]
    model.zero_grad()
    sliced_step(model, cut_batch(first), LENGTH, 20)
    sliced_step(model, cut_batch(second), 17, 5)
    for name, gradient in _gradients(model).items():
        torch.testing.assert_close(gradient, a[name] + b[name], rtol=1e-10, atol=1e-12)


def test_a_slice_that_nothing_reaches_hands_on_nothing():
    """No target from a reset on: the gradient of the state before it is zero, and no NaN comes of it."""
    model, batch = random_model(dtype=torch.float64), _batch(resets=[(0, 40), (1, 40)])
    batch["targets"][:, 40:] = IGNORED
    _assert_same(_sliced(model, batch, 13), _whole(model, batch), 1e-10)


@pytest.mark.parametrize("width", [2, 4])
def test_bfloat16_products_see_the_same_numbers_at_a_border(width):
    """The sweep's weights have no graph: the slices must not take its low-precision copies, or nothing would learn."""
    model, batch = random_model(d_conv=width), _batch(length=200)
    ours = _sliced(model, batch, 60, autocast=torch.bfloat16)
    theirs = _whole(model, batch, autocast=torch.bfloat16)
    for x, y in zip(ours[2].tensors(), theirs[2].tensors(), strict=True):
        assert x.dtype == torch.float32
        assert (x - y).norm() < 1e-6 * y.norm()  # nothing is rounded to 8 bits on its way over a border
    for name, gradient in theirs[3].items():
        error = (ours[3][name] - gradient).norm() / gradient.norm()
        assert error < 2e-2, f"{name}: relative error {error:.1e}"


def test_two_runs_give_the_same_bits():
    model, batch = random_model(), _batch(resets=[(0, 20)])
    first, second = _sliced(model, batch, 13), _sliced(model, batch, 13)
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[3][name], second[3][name]) for name in first[3])


def test_no_more_than_a_slice_has_a_graph_and_the_last_one_is_read_once():
    model, batch, seen = random_model(), _batch(), []
    cut = cut_batch(batch)

    def watch(start, end):
        seen.append((start, end, torch.is_grad_enabled()))
        return cut(start, end)

    sliced_step(model, watch, LENGTH, 20)
    swept = [(0, 13, False), (13, 33, False)]
    assert seen == [*swept, (33, 53, True), (13, 33, True), (0, 13, True)]


def test_progress_goes_from_the_first_piece_to_the_whole():
    model, shares, steps = random_model(), [], []
    sliced_step(model, cut_batch(_batch()), LENGTH, 20, progress=shares.append, backward=lambda x: steps.append(x))
    assert len(shares) == 5
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(1)
    assert len(steps) == 3
    assert all(step.ndim == 0 for step in steps)


@pytest.mark.parametrize(
    "length, slice_length, borders",
    [(10, 3, [0, 1, 4, 7, 10]), (9, 3, [0, 3, 6, 9]), (1, 3, [0, 1]), (3, 3, [0, 3]), (3, 1, [0, 1, 2, 3])],
)
def test_the_first_slice_is_the_short_one(length, slice_length, borders):
    assert slice_borders(length, slice_length) == borders


def test_a_float64_border_is_not_rounded():
    model = random_model(dtype=torch.float64)
    _, _, state = sliced_step(model, cut_batch(_batch()), LENGTH, 7)
    assert {tensor.dtype for tensor in state.tensors()} == {torch.float64}
    assert isinstance(state, ModelState)


@pytest.mark.parametrize("length, slice_length", [(0, 4), (4, 0)])
def test_empty_sequences_and_slices_are_refused(length, slice_length):
    with pytest.raises(ValueError, match="1 token or more"):
        sliced_step(random_model(), cut_batch(_batch()), length, slice_length)


class _Casts(TorchDispatchMode):
    """Counts conversions of float32 tensors of one shape."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._to_copy.default:
            self.count += args[0].shape == self.shape and args[0].dtype == torch.float32
        return function(*args, **(kwargs or {}))


def test_weights_are_cast_once_a_step_and_anew_in_the_next():
    model, batch = random_model(), _batch()
    with _Casts(model.backbone.layers[0].mixer.in_proj.weight.shape) as casts:
        _sliced(model, batch, 10, autocast=torch.bfloat16)
    assert casts.count == len(model.backbone.layers)
    before = _sliced(model, batch, 10, autocast=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    ours = _sliced(model, batch, 10, autocast=torch.bfloat16)
    theirs = _whole(model, batch, autocast=torch.bfloat16)
    assert abs(ours[0].item() / theirs[0].item() - 1) < 1e-3
    assert abs(before[0].item() / theirs[0].item() - 1) > 1e-3


def test_weights_are_let_go_of_when_a_slice_fails():
    model = random_model()

    def fail(_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        sliced_step(model, cut_batch(_batch()), LENGTH, 10, backward=fail)
    assert all(layer.held is None for layer in model.backbone.layers)
