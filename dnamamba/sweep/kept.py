"""What a sweep keeps in its folder as it comes, so that the same command goes on where a killed one stopped."""

import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamamba.config import read_json
from dnamamba.differences import ABSENT, first_difference
from dnamamba.errors import InputError
from dnamamba.files import opened_whole, write_whole

_CHECKSUM = 4  # bytes, CRC-32


def claim_folder(out: Path, file: str, inputs: Mapping[str, Any]) -> bool:
    """Make a sweep's folder, or go on with the one that is there.

    Args:
        out: the folder.
        file: its JSON file with the inputs; written when it is not there.
        inputs: everything that the results depend on, plain data.

    Returns:
        Whether the folder was there with the same inputs.

    Raises:
        InputError: the folder holds other things, or a sweep with other inputs; the first key that differs is named.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; want a folder")
    wanted = json.loads(json.dumps(inputs))
    path = out / file
    if path.exists():
        there = read_json(path)
        odd = first_difference(there, wanted)
        if odd is not None:
            key, one, other = odd
            raise InputError(
                f"{out}: holds a sweep with another {key}: {_short(one)} there, {_short(other)} now; choose another "
                "--out or delete the folder"
            )
        return True
    if out.exists() and any(not one.name.startswith(".") for one in out.iterdir()):
        raise InputError(f"{out}: is not empty and holds no {file}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(wanted, indent=1) + "\n")
    return False


def keep_losses(path: Path, losses: NDArray[np.float32]) -> None:
    """Write an array that is never there in part. Numpy reads it; the checksum behind it is ours."""
    data = io.BytesIO()
    np.save(data, losses, allow_pickle=False)
    with opened_whole(path) as file:
        file.write(data.getvalue() + zlib.crc32(data.getvalue()).to_bytes(_CHECKSUM, "little"))


def kept_losses(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """The array that was kept; None when it is not there, or damaged: then it is made again."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) <= _CHECKSUM or zlib.crc32(data[:-_CHECKSUM]).to_bytes(_CHECKSUM, "little") != data[-_CHECKSUM:]:
        return None
    losses: NDArray[np.float32] = np.load(io.BytesIO(data[:-_CHECKSUM]), allow_pickle=False)
    return losses if losses.shape == shape and losses.dtype == np.float32 else None


def _short(value: Any) -> str:
    """A value for a message. Text is left whole: two long paths may differ in their last letters."""
    if value is ABSENT:
        return "nothing"
    text = json.dumps(value)
    return text if isinstance(value, str) or len(text) <= 60 else f"{text[:57]}..."
