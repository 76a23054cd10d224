"""States: any cutting of a sequence, any packing and any fork gives the numbers of the whole sequence alone."""

from itertools import pairwise

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import random_model, random_tokens

from dnamamba.model import ModelConfig, ModelState

LENGTH = 40
# Rounding of sums taken in another order, through three blocks, at logits of order 1; a leak is as large in float64.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
MODELS = {dtype: random_model(dtype=dtype) for dtype in TOLERANCE}

cuts = st.lists(st.integers(1, LENGTH - 1), max_size=12).map(lambda at: sorted({0, LENGTH, *at}))
resets = st.lists(st.tuples(st.integers(0, 1), st.integers(0, LENGTH - 1)), max_size=5)


def _chunked(model, tokens, reset, borders, state=None):
    logits = []
    for start, end in pairwise(borders):
        piece, state = model(tokens[:, start:end], state, None if reset is None else reset[:, start:end])
        logits.append(piece)
    return torch.cat(logits, 1), state


def _assert_same_state(ours, theirs, tolerance):
    for a, b in zip(ours.tensors(), theirs.tensors(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@DTYPES
@given(borders=cuts, at=resets, seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_any_chunking_is_the_whole(dtype, borders, at, seed):
    model, tokens = MODELS[dtype], random_tokens(2, LENGTH, seed)
    reset = torch.zeros(2, LENGTH, dtype=torch.bool)
    for row, position in at:
        reset[row, position] = True
    reset = reset if at else None
    whole, after = model(tokens, None, reset)
    pieces, state = _chunked(model, tokens, reset, borders)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=TOLERANCE[dtype])
    _assert_same_state(state, after, TOLERANCE[dtype])


@DTYPES
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@torch.no_grad()
def test_chunks_shorter_than_the_convolution(dtype, size):
    model, tokens = MODELS[dtype], random_tokens(1, 25)
    whole, after = model(tokens)
    pieces, state = _chunked(model, tokens, None, [*range(0, 25, size), 25])
    torch.testing.assert_close(pieces, whole, rtol=0, atol=TOLERANCE[dtype])
    _assert_same_state(state, after, TOLERANCE[dtype])


@torch.no_grad()
def test_long_chunks_are_the_whole(device):
    """Lengths at which the engines work in chunks of their own, on the GPU where there is one."""
    model, tokens = random_model().to(device), random_tokens(2, 3000).to(device)
    reset = torch.zeros(2, 3000, dtype=torch.bool, device=device)
    reset[0, [700, 1024]] = True
    whole, after = model(tokens, None, reset)
    pieces, state = _chunked(model, tokens, reset, [0, 1, 1000, 1024, 2999, 3000])
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)
    _assert_same_state(state, after, 1e-5)


@DTYPES
@given(lengths=st.lists(st.integers(1, 15), min_size=2, max_size=6))
@settings(max_examples=15, deadline=None)
@torch.no_grad()
def test_packed_sequences_are_the_separate_ones(dtype, lengths):
    model = MODELS[dtype]
    sequences = [random_tokens(1, length, seed) for seed, length in enumerate(lengths)]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    reset = torch.zeros(1, sum(lengths), dtype=torch.bool)
    reset[0, starts[1:]] = True
    packed, after = model(torch.cat(sequences, 1), None, reset)
    for start, tokens in zip(starts, sequences, strict=True):
        alone, state = model(tokens)
        torch.testing.assert_close(packed[:, start : start + tokens.shape[1]], alone, rtol=0, atol=TOLERANCE[dtype])
    _assert_same_state(after, state, TOLERANCE[dtype])


@torch.no_grad()
def test_a_reset_at_the_first_token_forgets_the_state():
    model, tokens = MODELS[torch.float32], random_tokens(2, 10)
    _, before = model(random_tokens(2, 10, seed=5))
    reset = torch.zeros(2, 10, dtype=torch.bool)
    reset[0, 0] = True
    logits, _ = model(tokens, before, reset)
    fresh, kept = model(tokens)[0], model(tokens, before)[0]
    torch.testing.assert_close(logits[0], fresh[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(logits[1], kept[1], rtol=0, atol=1e-5)
    assert (fresh[1] - kept[1]).abs().max() > 1e-2  # a state that nothing reads would pass all of this


@torch.no_grad()
def test_a_nan_before_a_reset_does_not_leak():
    model, tokens = MODELS[torch.float32], random_tokens(1, 8)
    _, state = model(tokens)
    broken = ModelState.from_tensors([torch.full_like(tensor, torch.nan) for tensor in state.tensors()])
    reset = torch.zeros(1, 8, dtype=torch.bool)
    reset[0, 0] = True
    torch.testing.assert_close(model(tokens, broken, reset)[0], model(tokens)[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_zeros_are_the_state_before_the_first_token():
    model, tokens = MODELS[torch.float32], random_tokens(2, 9)
    zeros = ModelState.zeros(model.config, 2)
    assert torch.equal(model(tokens, zeros)[0], model(tokens)[0])
    shapes = {name: tuple(tensor.shape) for name, tensor in zeros.to_dict().items() if name.startswith("layers.2")}
    assert shapes == {"layers.2.conv": (2, 3, 48), "layers.2.ssm": (2, 48, 16)}


@torch.no_grad()
def test_forks_go_their_own_ways_and_leave_the_parent_alone():
    model = MODELS[torch.float32]
    _, parent = model(random_tokens(2, 20))
    before = parent.clone()
    tokens = random_tokens(6, 7, seed=9)
    logits, children = model(tokens, parent.expand(3))
    for child in range(6):
        alone, state = model(tokens[child : child + 1], parent.index([child // 3]))
        torch.testing.assert_close(logits[child : child + 1], alone, rtol=0, atol=1e-5)
        _assert_same_state(children.index(slice(child, child + 1)), state, 1e-5)
    assert all(torch.equal(a, b) for a, b in zip(parent.tensors(), before.tensors(), strict=True))


@torch.no_grad()
def test_a_single_sequence_forks_without_copies():
    model = MODELS[torch.float32]
    _, parent = model(random_tokens(1, 20))
    forks = parent.expand(4)
    assert forks.batch == 4
    assert forks.layers[0].ssm.data_ptr() == parent.layers[0].ssm.data_ptr()
    tokens = random_tokens(4, 5)
    _, alone = model(tokens[2:3], parent)
    _assert_same_state(model(tokens, forks)[1].index([2]), alone, 1e-5)


@torch.no_grad()
def test_a_state_can_be_saved(tmp_path):
    _, state = MODELS[torch.float32](random_tokens(1, 20))
    for kept in (state, state.expand(3), ModelState.zeros(ModelConfig(d_model=24, n_layers=3), 1)):
        safetensors.torch.save_file(kept.to_dict(), tmp_path / "state")
        back = ModelState.from_dict(safetensors.torch.load_file(tmp_path / "state"))
        assert all(torch.equal(a, b) for a, b in zip(back.tensors(), kept.tensors(), strict=True))


def test_a_dict_that_is_no_state_is_refused():
    tensors = ModelState.zeros(ModelConfig(d_model=16, n_layers=2), 1).to_dict()
    del tensors["layers.1.conv"]
    with pytest.raises(ValueError, match=r"'layers\.1\.conv' is missing or does not belong"):
        ModelState.from_dict(tensors)
    with pytest.raises(ValueError, match="two tensors a block, got 3"):
        ModelState.from_tensors(list(tensors.values()))


def test_state_stays_float32_under_autocast_and_comes_back_exactly():
    model, tokens = MODELS[torch.float32], random_tokens(2, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, state = model(tokens)
        again, _ = model(tokens, ModelState.from_dict(state.to_dict()))
        assert torch.equal(again, model(tokens, state)[0])
    assert {tensor.dtype for tensor in state.tensors()} == {torch.float32}
    assert not torch.equal(state.layers[0].ssm, state.layers[0].ssm.bfloat16().float())  # and holds float32's digits


def test_detach_cuts_the_graph():
    _, state = MODELS[torch.float32](random_tokens(1, 4))
    assert all(tensor.requires_grad for tensor in state.tensors())
    assert not any(tensor.requires_grad for tensor in state.detach().tensors())
    assert not any(tensor.requires_grad for tensor in state.to_dict().values())


@DTYPES
@pytest.mark.parametrize("slices", [[0, 40], [0, 13, 14, 16, 40]], ids=["whole", "slices"])
def test_backward_slice_by_slice_is_the_backward_of_the_whole(dtype, slices):
    """What training at any length rests on: keep the states at the borders, recompute the slices last to first."""
    model = random_model(dtype=dtype)
    tokens, targets = random_tokens(2, LENGTH), random_tokens(2, LENGTH, seed=1).long()
    reset = torch.zeros(2, LENGTH, dtype=torch.bool)
    reset[0, [5, 20]] = True
    model.loss({"tokens": tokens, "targets": targets, "reset": reset})[0].backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.zero_grad()
    pieces = [slice(start, end) for start, end in pairwise(slices)]
    borders = [ModelState.zeros(model.config, 2, dtype=dtype)]
    with torch.no_grad():
        for piece in pieces[:-1]:
            borders.append(model(tokens[:, piece], borders[-1], reset[:, piece])[1])
    handed = [torch.zeros_like(tensor) for tensor in borders[0].tensors()]  # gradient of the state after the last slice
    for piece, border in zip(reversed(pieces), reversed(borders), strict=True):
        leaves = [tensor.detach().requires_grad_() for tensor in border.tensors()]
        batch = {"tokens": tokens[:, piece], "targets": targets[:, piece], "reset": reset[:, piece]}
        loss, _, after = model.loss(batch, ModelState.from_tensors(leaves))
        torch.autograd.backward([loss, *after.tensors()], [torch.ones_like(loss), *handed])
        handed = [leaf.grad for leaf in leaves]
    for name, p in model.named_parameters():
        error = (p.grad - wanted[name]).norm() / wanted[name].norm()
        assert error < (1e-10 if dtype == torch.float64 else 1e-5), f"{name}: relative error {error:.1e}"
