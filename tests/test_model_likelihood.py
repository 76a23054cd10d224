"""log_likelihood against the logits of one whole pass, however the sequence comes and is cut."""

import math

import numpy as np
import pytest
import torch
from random_models import random_model

from dnamamba.errors import InputError
from dnamamba.letters import vocabulary_of
from dnamamba.pipelines.alphabet import ALPHABETS, DNA

SEQUENCE = "ACGTTNNRGattacaNCCGTA" * 3


@pytest.fixture(scope="module")
def model():
    model = random_model()
    model.vocabulary = vocabulary_of(DNA)
    return model


@torch.no_grad()
def _by_hand(model, sequence):
    """Nats of each letter among A, C, G, T from one pass over the whole sequence; None where it is none of them."""
    tokens = ["ACGTNRYSWKMBDHV".index(letter) for letter in sequence.upper()]
    log_p = model(torch.tensor([[15, *tokens[:-1]]]))[0][0, :, :4].double().log_softmax(-1)
    return [log_p[i, token].item() if token < 4 else None for i, token in enumerate(tokens)]


@pytest.mark.parametrize("chunk", [1, 2, 7, 63, 10_000])
def test_equals_one_whole_pass(model, chunk):
    wanted = _by_hand(model, SEQUENCE)
    ours = model.log_likelihood(SEQUENCE, chunk=chunk, each=True)
    counted = [value for value in wanted if value is not None]
    assert ours.count == len(counted) == 51
    assert ours.total == pytest.approx(sum(counted), rel=1e-6)
    assert ours.per_base == pytest.approx(sum(counted) / len(counted), rel=1e-6)
    for value, other in zip(ours.each.tolist(), wanted, strict=True):
        assert math.isnan(value) if other is None else value == pytest.approx(other, abs=1e-5)


def test_every_form_of_a_sequence_is_read_alike(model):
    letters = np.frombuffer(SEQUENCE.encode(), np.uint8)
    wanted = model.log_likelihood(SEQUENCE)
    blocks = [letters[:1], letters[1:1], letters[1:40], letters[40:]]
    for form in (SEQUENCE.encode(), bytearray(SEQUENCE.encode()), letters, SEQUENCE.lower()):
        assert model.log_likelihood(form) == wanted
    streamed = model.log_likelihood(iter(blocks))
    assert (streamed.count, streamed.total) == (wanted.count, pytest.approx(wanted.total, rel=1e-6))


def test_bytes_model_predicts_every_byte():
    model = random_model(vocab_size=256)
    model.vocabulary = vocabulary_of(ALPHABETS["bytes"])
    text = "any data: é"
    with torch.no_grad():
        data = list(text.encode())
        log_p = model(torch.tensor([[0, *data[:-1]]]))[0][0].log_softmax(-1)
    ours = model.log_likelihood(text)
    assert ours.count == len(data)
    assert ours.total == pytest.approx(sum(log_p[i, byte].item() for i, byte in enumerate(data)), rel=1e-6)


def test_a_sequence_without_a_base_counts_nothing(model):
    ours = model.log_likelihood("NNN")
    assert (ours.total, ours.count) == (0.0, 0)
    assert math.isnan(ours.per_base)


def test_a_nan_of_the_model_is_not_hidden():
    model = random_model()
    model.vocabulary = vocabulary_of(DNA)
    with torch.no_grad():
        model.backbone.norm_f.weight[0] = torch.nan
    assert math.isnan(model.log_likelihood("ACGT").total)


def test_no_graph_is_kept(model):
    assert not model.log_likelihood("ACGT", each=True).each.requires_grad


@pytest.mark.parametrize(
    "sequence, message",
    [
        ("", "empty sequence"),
        ([], "empty sequence"),
        ("ACXG", "base 3: 'X'"),
        ([np.frombuffer(b"ACG", np.uint8), np.frombuffer(b"A!", np.uint8)], "block that starts at base 4: base 2: '!'"),
        (torch.tensor([1, 2, 3]), "got Tensor"),
        (np.zeros(3), r"got an array of float64, shape \[3\]"),
        (np.zeros((2, 2), np.uint8), r"got an array of uint8, shape \[2, 2\]"),
        (7, "got int"),
        ([1, 2], "got int"),
    ],
)
def test_what_is_no_sequence_is_refused(model, sequence, message):
    with pytest.raises(InputError, match=message):
        model.log_likelihood(sequence)


def test_chunk_and_alphabet_are_checked(model):
    with pytest.raises(InputError, match="chunk: want at least one base, got 0"):
        model.log_likelihood("ACGT", chunk=0)
    with pytest.raises(InputError, match="no alphabet"):
        random_model().log_likelihood("ACGT")
