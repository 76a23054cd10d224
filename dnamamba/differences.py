"""Where two pieces of plain data differ, for messages about a run or a sweep that goes on with other settings."""

from itertools import zip_longest
from typing import Any

ABSENT = object()
"""In place of a value that one side does not have."""


def first_difference(there: Any, now: Any, key: str = "", *, shared_only: bool = False) -> tuple[str, Any, Any] | None:
    """The innermost key whose values differ, as "runs.a.model.d_model", and both values; None where none does.

    Args:
        there, now: as JSON has them.
        key: of the two, in front of the name.
        shared_only: pass over the keys that only one side has, such as those of another version of the package.
    """
    if isinstance(there, dict) and isinstance(now, dict):
        dot = f"{key}." if key else ""
        names = [name for name in {**there, **now} if not shared_only or (name in there and name in now)]
        pairs = [(f"{dot}{name}", there.get(name, ABSENT), now.get(name, ABSENT)) for name in names]
    elif isinstance(there, list) and isinstance(now, list) and (not shared_only or len(there) == len(now)):
        both = zip_longest(there, now, fillvalue=ABSENT)
        pairs = [(f"{key}[{number}]", *pair) for number, pair in enumerate(both)]
    else:
        return None if there == now else (key, there, now)
    found = (first_difference(one, other, name, shared_only=shared_only) for name, one, other in pairs)
    return next((odd for odd in found if odd is not None), None)
