"""The first head: the model says what the regression says, at any pool, and two classes are no special case."""

import numpy as np
import pytest
import torch
from species_cases import composed_dna

from dnamamba.model import MambaLM, ModelConfig
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.held_windows import HeldWindows
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.predict import predict
from dnamamba.species.probe import mean_features, probe_head
from dnamamba.species.regression import fit_regression


def _windows(seed, classes, n=30, length=200):
    rows = [DNA.encode(composed_dna(length, 0.2 + 0.3 * c, [seed, c, i])) for c in range(classes) for i in range(n)]
    labels = np.repeat(np.arange(classes), n)
    return HeldWindows(np.stack(rows), labels, np.arange(len(labels)))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("pool,hidden", [("mean", 0), ("sum", 0), ("sum", 24)])
def test_the_model_says_what_the_regression_says(pool, hidden, classes):
    torch.manual_seed(0)
    config = ClassifierConfig(classes=tuple("abc"[:classes]), pool=pool, hidden=hidden)
    model = SpeciesClassifier(MambaLM(ModelConfig(d_model=16, n_layers=1)), config)
    train, valid, test = (_windows(seed, classes) for seed in range(3))
    fitted = probe_head(model, train, valid, seed=0)
    got = predict(model, test.tokens).logits[:, 0]
    wanted = fitted.logits(mean_features(model, test.tokens))
    np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=2e-3)
    assert (got.argmax(1) == test.labels).mean() > 0.8


def test_two_classes_as_scikit_learn_has_them():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(3, [1, 10], (200, 2)).astype(np.float32)
    y = (x[:, 0] + 0.1 * x[:, 1] + rng.normal(size=200) > 3.3).astype(np.int64)
    ours = fit_regression((x, y), (x, y), 2, strengths=(2.0,))
    standard = (x - x.mean(0)) / x.std(0)
    theirs = LogisticRegression(C=1.0).fit(standard, y)
    np.testing.assert_allclose(
        np.exp(ours.logits(x))[:, 1] / np.exp(ours.logits(x)).sum(1), theirs.predict_proba(standard)[:, 1], atol=1e-2
    )
