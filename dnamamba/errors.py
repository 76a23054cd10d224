"""The errors a user can act on."""


class InputError(ValueError):
    """The user's to fix: the message names the file, line or key, what came and what was wanted."""


class MissingPackageError(ImportError):
    """An optional package is needed and absent; the message says which command installs it."""

    def __init__(self, package: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install {package}")
