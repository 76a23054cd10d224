"""Accuracy with its interval, confusion, precision and recall, against other implementations."""

import numpy as np
import pytest

from dnamamba.intervals import wilson
from dnamamba.species.figures_of_merit import accuracy_of, confusion, precision_recall


def test_windows_of_one_place_count_less():
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(50) < 0.7, 5)
    alone, together = accuracy_of(right, np.arange(250)), accuracy_of(right, np.repeat(np.arange(50), 5))
    assert alone.value == together.value == right.mean()
    assert alone.independent == pytest.approx(250, rel=0.01)
    assert together.independent == pytest.approx(50, rel=0.05)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_all_alike_are_as_many_as_their_places():
    all_right = accuracy_of(np.ones(40, bool), np.repeat(np.arange(8), 5))
    assert (all_right.value, all_right.independent) == (1.0, 8)
    assert all_right.low == pytest.approx(wilson(1.0, 8)[0])


def test_confusion_is_that_of_scikit_learn():
    from sklearn.metrics import confusion_matrix, precision_score, recall_score

    rng = np.random.default_rng(0)
    labels, calls = rng.integers(0, 3, 100), rng.integers(0, 2, 100)  # class 2 is never called
    table = confusion(calls, labels, 3)
    assert np.array_equal(table, confusion_matrix(labels, calls))
    pairs = precision_recall(table)
    assert pairs[2] == (None, 0.0)
    assert [p for p, _ in pairs[:2]] == pytest.approx(precision_score(labels, calls, average=None, zero_division=0)[:2])
    assert [r for _, r in pairs] == pytest.approx(recall_score(labels, calls, average=None))
