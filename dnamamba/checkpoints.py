"""Training checkpoints: tensors in safetensors, the rest in JSON, a checksum over both; written whole or not at all.

    RUN/checkpoints/step-000000200/tensors.safetensors    weights and optimiser moments
    RUN/checkpoints/step-000000200/state.json             step, tokens, micro-batch, sha256 of the tensors

A damaged checkpoint is said aloud and the one before it is used.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dnamamba.errors import InputError

FORMAT = "dnamamba-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """What a resumed run starts from."""

    step: int
    """Optimiser steps done."""
    tensors: dict[str, torch.Tensor]
    """`model.<name>` and `optimiser.<index>.<moment>`, on the CPU."""
    state: dict[str, Any]
    """Everything else, as the writer gave it."""


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], keep: int
) -> Path:
    """Write one checkpoint below `folder` and delete all but the newest `keep`. Returns its folder.

    A kill at any moment leaves the checkpoints that were there: the new one appears by a single rename.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:09d}"
    if final.exists():  # the same step of the same run holds the same bits
        return final
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left)
    aside = folder / f".writing-{final.name}"
    aside.mkdir()
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside / "tensors.safetensors"
    )
    record = {"format": FORMAT, "step": step, **state, "tensors_sha256": _sha256(aside / "tensors.safetensors")}
    (aside / "state.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    for path in (aside / "tensors.safetensors", aside / "state.json", aside):
        _sync(path)
    os.replace(aside, final)
    _sync(folder)
    for old in _numbered(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def latest_checkpoint(folder: Path) -> Checkpoint:
    """The newest checkpoint below `folder` that is whole.

    Raises:
        InputError: there is none.
    """
    for path in reversed(_numbered(folder)):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            warnings.warn(f"{path} is damaged ({error}); trying the checkpoint before it", stacklevel=2)
    raise InputError(f"{folder}: no whole checkpoint to resume from; start the run again without --resume")


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / "state.json").read_text())
    if state["format"] != FORMAT:
        raise ValueError(f"its format is {state['format']!r}, this version reads {FORMAT!r}")
    if _sha256(path / "tensors.safetensors") != state["tensors_sha256"]:
        raise ValueError("the checksum of tensors.safetensors does not match")
    return Checkpoint(int(state["step"]), load_file(path / "tensors.safetensors"), state)


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{9,}", path.name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
