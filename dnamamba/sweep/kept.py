"""What a sweep keeps in its folder as it comes, so that the same command goes on where a killed one stopped."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.files import sync, write_whole


def claim_folder(out: Path, file: str, inputs: Mapping[str, Any]) -> bool:
    """Make a sweep's folder, or go on with the one that is there.

    Args:
        out: the folder.
        file: its JSON file with the inputs; written when it is not there.
        inputs: everything that the results depend on, plain data.

    Returns:
        Whether the folder was there with the same inputs.

    Raises:
        InputError: the folder holds other things, or a sweep with other inputs; the first that differs is named.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; want a folder")
    wanted = json.loads(json.dumps(inputs))
    path = out / file
    if path.exists():
        there = read_json(path)
        odd = next((key for key in {**there, **wanted} if there.get(key) != wanted.get(key)), None)
        if odd is not None:
            raise InputError(
                f"{out}: holds a sweep with another {odd}: {_short(there.get(odd))} there, {_short(wanted.get(odd))} "
                "now; choose another --out or delete the folder"
            )
        return True
    if out.exists() and any(not one.name.startswith(".") for one in out.iterdir()):
        raise InputError(f"{out}: is not empty and holds no {file}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(wanted, indent=1) + "\n")
    return False


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError when it is none."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: want a JSON object, got a {type(data).__name__}")
    return data


def keep_losses(path: Path, losses: NDArray[np.float32]) -> None:
    """Write an array that is never there in part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    with open(aside, "wb") as file:
        np.save(file, losses, allow_pickle=False)
    sync(aside)
    aside.replace(path)


def kept_losses(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """The array that was kept; None when it is not there, or damaged: then it is made again."""
    try:
        losses = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return losses if losses.shape == shape and losses.dtype == np.float32 else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
