"""The error, and the warning, that a user can act on."""


class InputError(ValueError):
    """The user's to fix: the message names the file, line or key, what came and what was wanted."""


class InputWarning(UserWarning):
    """Something came that is probably not meant: the message says what, and what is done all the same."""
