"""The error a user can act on."""


class InputError(ValueError):
    """The user's to fix: the message names the file, line or key, what came and what was wanted."""
