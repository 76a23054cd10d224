"""The interval of a share, against other implementations."""

import pytest

from dnamamba.intervals import wilson


def test_wilson_is_that_of_scipy():
    from scipy.stats import binomtest

    for k, n in ((0, 10), (7, 10), (10, 10), (433, 1000)):
        theirs = binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_wilson_is_that_of_r():
    """Values of R's prop.test(x, n, correct=FALSE)."""
    assert wilson(1.0, 64) == pytest.approx((0.9433759, 1.0), abs=1e-6)
    assert wilson(0.5, 100) == pytest.approx((0.4038315, 0.5961685), abs=1e-6)
    assert wilson(0.0, 10)[0] == 0.0
