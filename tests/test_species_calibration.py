"""Temperature, reliability and areas under curves, against other ways to get them."""

import numpy as np
import pytest

from dnamamba.species.calibration import (
    area_under_roc,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    reliability,
)


def _sampled(seed, scale, n=4000):
    """Labels drawn from softmax(logits), the logits then multiplied by `scale`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 2
    labels = (rng.random(n)[:, None] > np.exp(log_softmax(logits)).cumsum(1)).sum(1)
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_the_temperature_undoes_a_scale(scale):
    logits, labels = _sampled(0, scale)
    t = fit_temperature(logits, labels)
    assert t == pytest.approx(scale, rel=0.08)
    for other in (0.8 * t, 1.25 * t):
        assert cross_entropy(logits, labels, other) > cross_entropy(logits, labels, t)
    before = expected_calibration_error(reliability(np.exp(log_softmax(logits)), labels))
    after = expected_calibration_error(reliability(np.exp(log_softmax(logits / t)), labels))
    assert after < 0.03
    assert after < before or scale == 1


def test_reliability_by_hand():
    p = np.array([[0.95, 0.05], [0.91, 0.09], [0.6, 0.4], [0.35, 0.65]])
    bins = reliability(p, np.array([0, 1, 0, 1]))
    assert [(b.windows, b.accuracy) for b in bins] == [(2, 1.0), (2, 0.5)]
    assert [b.confidence for b in bins] == pytest.approx([0.625, 0.93])
    assert expected_calibration_error(bins) == pytest.approx((0.375 + 0.43) / 2)


def test_the_area_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    positive, negative = rng.integers(3, 12, 50) / 2, rng.integers(0, 9, 80) / 2  # with ties
    labels = np.r_[np.ones(50), np.zeros(80)]
    assert area_under_roc(positive, negative) == pytest.approx(roc_auc_score(labels, np.r_[positive, negative]))


def test_a_few_right_calls_do_not_make_it_certain():
    t = fit_temperature(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([0, 1]))
    assert 0.3 < t < 1
