"""A long stream in lists of bounded length."""

from itertools import count

import pytest

from dnamamba.in_lists import in_lists


@pytest.mark.parametrize(
    "length, lists", [(0, []), (3, [[0, 1, 2]]), (6, [[0, 1, 2], [3, 4, 5]]), (4, [[0, 1, 2], [3]])]
)
def test_lists_are_full_but_for_the_last(length, lists):
    assert list(in_lists(range(length), 3)) == lists


def test_nothing_is_read_before_it_is_asked_for():
    numbers = count()
    lists = in_lists(numbers, 2)
    assert next(lists) == [0, 1]
    assert next(numbers) == 2
