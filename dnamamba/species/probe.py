"""A head before fine-tuning: logistic regression on what the pretrained model's features are on average in a window.

From a head that says nothing, the first steps of a full fine-tuning pull the features about at random; from the best
head for the features as they are, they improve on it.

Source: Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution (ICLR 2022).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from dnamamba.model.autocasting import autocasting
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.species.held_windows import HeldWindows
from dnamamba.species.loss import with_start
from dnamamba.species.model import EVIDENCE_UNIT, SpeciesClassifier
from dnamamba.species.predict import BATCH_TOKENS
from dnamamba.species.regression import Regression, fit_regression
from dnamamba.species.training import evaluating


def mean_features(
    model: SpeciesClassifier, tokens: NDArray[np.uint8], *, autocast: torch.dtype | None = None
) -> NDArray[np.float32]:
    """What evidence is linear in, mean over a window's positions, [windows, width]."""
    alphabet = ALPHABETS[model.lm.config.alphabet]
    rows = max(1, BATCH_TOKENS.get(model.device.type, 2**15) // (tokens.shape[1] + 1))
    found = []
    with evaluating(model), autocasting(model.device, autocast):
        for first in range(0, len(tokens), rows):
            bases = torch.from_numpy(tokens[first : first + rows]).to(model.device)
            features, _ = model.lm.backbone(with_start(bases, alphabet))
            found.append(model.hidden_features(features).mean(1, dtype=torch.float64).float().cpu().numpy())
    return np.concatenate(found)


def probe_head(
    model: SpeciesClassifier, train: HeldWindows, valid: HeldWindows, *, seed: int, autocast: torch.dtype | None = None
) -> Regression:
    """Put the best head for the features as they are on a model that pools by mean or sum.

    Args:
        model: on its device; its head is overwritten.
        train: windows of the training part.
        valid: windows of the validation part, of the same length.
        seed: of the regression.
        autocast: dtype of matrix products, None for the model's own.
    """
    assert model.config.pool != "last", "one position's features are no mean"
    fitted = fit_regression(
        (mean_features(model, train.tokens, autocast=autocast), train.labels),
        (mean_features(model, valid.tokens, autocast=autocast), valid.labels),
        len(model.config.classes),
        seed=seed,
    )
    scale = EVIDENCE_UNIT / (train.length + 1) if model.config.pool == "sum" else 1.0
    with torch.no_grad():
        model.evidence.weight.copy_(torch.from_numpy(fitted.weight * scale))
        model.evidence.bias.copy_(torch.from_numpy(-(fitted.weight @ fitted.mean) * scale))
        model.bias.copy_(torch.from_numpy(fitted.bias))
    return fitted
