"""A Decoder's steps equal the model's own pass over the whole sequence, and leave the caller's state alone."""

import pytest
import torch
from random_models import random_model, random_tokens

from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig, ModelState
from dnamamba.model.decoder import Decoder

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # rounding, over a handful of layers


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_steps_equal_the_whole_pass(dtype, device):
    model = random_model(dtype=dtype).to(device)
    tokens = random_tokens(3, 24).to(device)
    whole, last = model(tokens)
    _, prefix = model(tokens[:, :9])
    before = prefix.clone()
    decoder = Decoder(model, prefix)
    for t in range(9, 24):
        logits = decoder.step(tokens[:, t])
        assert logits.shape == (3, 16)
        assert (logits - whole[:, t]).norm() < TOLERANCE[dtype] * whole[:, t].norm()
    for ours, theirs in zip(decoder.state.tensors(), last.tensors(), strict=True):
        assert (ours - theirs).norm() < TOLERANCE[dtype] * theirs.norm()
    for now, then in zip(prefix.tensors(), before.tensors(), strict=True):
        assert torch.equal(now, then), "the caller's state was written to"


def test_a_decoder_in_bfloat16_follows_autocast(device):
    model = random_model().to(device)
    tokens = random_tokens(2, 12).to(device)
    _, start = model(tokens[:, :4])
    decoder = Decoder(model, start, dtype=torch.bfloat16)
    with torch.autocast(device, torch.bfloat16), torch.no_grad():
        expected, _ = model(tokens[:, 4:], start)
    for t in range(4, 12):
        logits = decoder.step(tokens[:, t])
        assert (logits - expected[:, t - 4]).norm() < 3e-2 * expected[:, t - 4].norm()  # 8 bits of mantissa


def test_a_state_read_out_is_not_written_to():
    model = random_model()
    decoder = Decoder(model, model(random_tokens(1, 3))[1])
    state = decoder.state
    before = state.clone()
    decoder.step(torch.tensor([2]))
    assert all(torch.equal(a, b) for a, b in zip(state.tensors(), before.tensors(), strict=True))


def test_one_token_a_sequence():
    model = random_model()
    decoder = Decoder(model, model(random_tokens(2, 3))[1])
    with pytest.raises(ValueError, match=r"want one a sequence, \[2\], got \[2, 1\]"):
        decoder.step(torch.zeros(2, 1, dtype=torch.int64))


def test_other_mixers_are_refused():
    for twin in ({"mixer": "s4d"}, {"selective": ("dt",)}):
        model = MambaLM(ModelConfig(d_model=8, n_layers=1, **twin))
        with pytest.raises(InputError, match="call this model itself"):
            Decoder(model, ModelState.zeros(model.config, 1))
