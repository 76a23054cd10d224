"""A long stream in lists of bounded length."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_lists(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter; nothing is read before it is asked for."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
