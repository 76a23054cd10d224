"""The errors, and the warning, that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """The user's to fix: the message names the file, line or key, what came and what was wanted."""


class UsageError(InputError):
    """What was asked for cannot be, whatever the files hold. On the command line: wrong usage, exit code 2."""


class InputWarning(UserWarning):
    """Something came that is probably not meant: the message says what, and what is done all the same."""


@contextmanager
def usage() -> Iterator[None]:
    """Within, an InputError is a UsageError: what is looked at was asked for, and is of no file."""
    try:
        yield
    except InputError as error:
        raise UsageError(str(error)) from None
