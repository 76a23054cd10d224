"""The least value of a function of one number."""

import pytest

from dnamamba.golden_section import golden_section


@pytest.mark.parametrize("valley", [-0.9, 0.0, 0.37, 0.999])
def test_it_finds_the_valley(valley):
    assert golden_section(lambda x: (x - valley) ** 2, -1.0, 1.0, 40) == pytest.approx(valley, abs=1e-7)


def test_each_turn_asks_once():
    asked = []
    golden_section(lambda x: asked.append(x) or abs(x), -1.0, 2.0, 10)
    assert len(asked) == 12
    assert all(-1.0 < x < 2.0 for x in asked)
