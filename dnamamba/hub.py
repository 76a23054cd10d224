"""Model directories of the Hugging Face Hub: fetched once, kept by its own library's cache."""

import re
from pathlib import Path

from dnamamba.errors import InputError

_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
FILES = ("*.json", "*.safetensors")
"""What is fetched of a repository: nothing that would have to be unpickled."""


def is_hub_id(path: Path) -> bool:
    """Whether a path that is not there may be OWNER/NAME on the Hub: not where the first word is a folder here."""
    return _ID.fullmatch(str(path)) is not None and not path.parent.exists()


def fetch_model(name: str) -> Path:
    """The folder of a model on the Hub, downloaded if it is not in the cache.

    Args:
        name: OWNER/NAME.

    Raises:
        InputError: huggingface_hub is not installed, there is no such model, or it cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            f"{name}: no such model directory; to fetch a model of that name from the Hugging Face Hub: "
            "pip install 'dnamamba[hub]'"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:  # its own errors are kinds of these
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{name}: no such model directory, and none from the Hugging Face Hub: {reason}") from None
