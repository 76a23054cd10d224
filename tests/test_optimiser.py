"""The learning rate's course, and the limits of the optimiser's settings."""

from itertools import pairwise

import pytest

from dnamamba.errors import InputError
from dnamamba.optimiser import OptimiserConfig, learning_rate


def test_warm_up_then_cosine():
    config = OptimiserConfig(lr=1.0, lr_end=0.1, warmup=0.1)
    course = [learning_rate(config, step, 100) for step in range(100)]
    assert course[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert course[10] == 1.0
    assert course[55] == pytest.approx(0.55)  # half way down
    assert course[99] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in pairwise(course[10:]))


def test_no_warm_up_starts_at_the_top():
    assert learning_rate(OptimiserConfig(lr=1.0, warmup=0.0), 0, 10) == 1.0


@pytest.mark.parametrize("bad", [{"lr": 0}, {"warmup": 1.0}, {"betas": (0.9,)}, {"clip": -1.0}, {"weight_decay": -0.1}])
def test_a_setting_out_of_range_is_named(bad):
    with pytest.raises(InputError, match=f"optimiser.{next(iter(bad))}: "):
        OptimiserConfig(**bad)
