"""Training checkpoints: tensors in safetensors, the rest in JSON, a checksum over both; written whole or not at all.

    RUN/checkpoints/step-000000200/tensors.safetensors    weights and optimiser moments
    RUN/checkpoints/step-000000200/state.json             step, what else the writer gives, sha256 of both files
    RUN/checkpoints/best.json                             which step was the best on the validation part, and how good

A folder of that name is whole whatever was killed when: it appears and disappears by one rename. A damaged one is said
aloud and the one before it is used.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dnamamba.errors import InputError
from dnamamba.files import sync, write_whole

FORMAT = "dnamamba-checkpoint-2"
BEST_FILE = "best.json"

_DAMAGE = (OSError, ValueError, KeyError, TypeError, SafetensorError)


@dataclass(frozen=True)
class Best:
    """The best point of the validation curve so far."""

    step: int
    """Optimiser steps done."""
    nats: float
    """Mean over the evaluated contexts of the loss a base on the validation part."""
    perplexity: dict[str, float]
    """Context in bases -> perplexity."""


@dataclass(frozen=True)
class Checkpoint:
    """What a resumed run starts from."""

    step: int
    """Optimiser steps done."""
    tensors: dict[str, torch.Tensor]
    """`model.<name>` and `optimiser.<index>.<moment>`, on the CPU."""
    state: dict[str, Any]
    """Everything else, as the writer gave it."""
    best: Best | None = None
    """The best point up to this step; its own checkpoint is kept."""

    def weights(self, of: str = "model") -> dict[str, torch.Tensor]:
        """The tensors called `of`.<name>, by name."""
        prefix = f"{of}."
        return {name.removeprefix(prefix): one for name, one in self.tensors.items() if name.startswith(prefix)}


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    keep: int,
    best: Best | None = None,
) -> Path:
    """Write one checkpoint below `folder`, and delete all but the newest `keep` and the best. Returns its folder.

    A kill at any moment leaves the checkpoints that were there: the new one appears by a single rename.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*-step-*"):
        shutil.rmtree(left)
    final = folder / f"step-{step:09d}"
    if not _is_whole(final):  # the same step of the same run holds the same bits
        _remove(final)
        _write(folder, final, step, tensors, {**state, "best": None if best is None else asdict(best)})
    if best is not None:
        write_whole(folder / BEST_FILE, json.dumps(asdict(best), indent=1) + "\n")
    best_step = None if best is None else best.step
    for old in _numbered(folder)[:-keep]:
        if _step(old) != best_step:
            _remove(old)
    return final


def _write(folder: Path, final: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    aside = folder / f".writing-{final.name}"
    aside.mkdir()
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside / "tensors.safetensors"
    )
    record = {"format": FORMAT, "step": step, **state, "tensors_sha256": _sha256(aside / "tensors.safetensors")}
    (aside / "state.json").write_text(json.dumps(record | {"state_sha256": _digest(record)}, indent=1) + "\n")
    for path in (aside / "tensors.safetensors", aside / "state.json", aside):
        sync(path)
    os.replace(aside, final)
    sync(folder)


def _remove(path: Path) -> None:
    if path.exists():
        aside = path.with_name(f".removing-{path.name}")
        os.replace(path, aside)  # half a checkpoint must not keep its name
        shutil.rmtree(aside)


def latest_checkpoint(folder: Path, say: Callable[[str], None]) -> Checkpoint:
    """The newest checkpoint below `folder` that is whole; damaged ones are told to `say`.

    Raises:
        InputError: there is none.
    """
    for path in reversed(_numbered(folder)):
        try:
            return _read(path)
        except _DAMAGE as error:
            say(f"{path} is damaged ({error}); trying the checkpoint before it")
    raise InputError(f"{folder}: no whole checkpoint to resume from; start the run anew in another folder")


def checkpoint_to_resume(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """As latest_checkpoint; None, and said, where a run was stopped before it wrote any.

    Raises:
        InputError: all that are there are damaged.
    """
    if not folder.exists():
        say("no checkpoint was written before the run stopped: it starts at step 0")
        return None
    return latest_checkpoint(folder, say)


def checkpoint_of_step(folder: Path, step: int) -> Checkpoint:
    """The checkpoint written after optimiser step `step`.

    Raises:
        InputError: it is damaged or not there.
    """
    path = folder / f"step-{step:09d}"
    try:
        return _read(path)
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged or missing ({error})") from None


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / "state.json").read_text())
    if state["format"] != FORMAT:
        raise ValueError(f"its format is {state['format']!r}, this version reads {FORMAT!r}")
    if _digest({key: value for key, value in state.items() if key != "state_sha256"}) != state["state_sha256"]:
        raise ValueError("the checksum of state.json does not match")
    if _sha256(path / "tensors.safetensors") != state["tensors_sha256"]:
        raise ValueError("the checksum of tensors.safetensors does not match")
    best = None if state["best"] is None else Best(**state["best"])
    return Checkpoint(int(state["step"]), load_file(path / "tensors.safetensors"), state, best)


def _is_whole(path: Path) -> bool:
    try:
        _read(path)
    except _DAMAGE:
        return False
    return True


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{9,}", path.name))


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
