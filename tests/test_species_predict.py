"""Predictions of windows: in pieces or whole, at the end or on the way."""

import numpy as np
import pytest
import torch

from dnamamba.letters import vocabulary_of
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species import predict as module
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.predict import predict


@pytest.mark.parametrize("budget", [2**15, 400, 37])
def test_pieces_and_prefixes(budget, monkeypatch):
    monkeypatch.setitem(module.BATCH_TOKENS, "cpu", budget)
    torch.manual_seed(0)
    model = SpeciesClassifier(MambaLM(ModelConfig(d_model=16, n_layers=1)), ClassifierConfig(classes=("a", "b")))
    torch.nn.init.normal_(model.evidence.weight, std=30)
    model.lm.vocabulary = vocabulary_of(DNA)
    tokens = np.random.default_rng(0).integers(0, 6, (3, 150)).astype(np.uint8)  # with N and R
    got = predict(model, tokens, [16, 100, 150])
    for i, row in enumerate(tokens):
        with torch.no_grad():
            logits, _ = model(torch.from_numpy(np.r_[DNA.start, row].astype(np.uint8))[None])
        for j, n in enumerate((16, 100, 150)):
            np.testing.assert_allclose(got.logits[i, j], logits[0, n].numpy(), rtol=1e-4, atol=1e-4)
            likelihood = model.lm.log_likelihood(DNA.decode(row[:n]))
            assert got.nats[i, j] == pytest.approx(-likelihood.per_base, rel=1e-5)
    alone = predict(model, tokens)
    np.testing.assert_allclose(alone.logits[:, 0], got.logits[:, 2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(alone.nats[:, 0], got.nats[:, 2], rtol=1e-5)
