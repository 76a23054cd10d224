"""What a run's checkpoints were trained with, kept in each: a resumed run does not go on with another config."""

import json
from pathlib import Path
from typing import Any

import torch

from dnamamba.checkpoints import Checkpoint
from dnamamba.config import to_dict
from dnamamba.corpus import parse_store
from dnamamba.differences import first_difference
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.pipelines.splits import Splits
from dnamamba.pretrain_config import PretrainConfig

RECORD = "trained_with"
"""Its key in a checkpoint's state."""
CURVE = "curve"
"""The key there of what the validation curve is measured on."""
PARTS = "parts"
"""The key there of the digest of the split that was trained on."""
_OF_RUN = ("seed", "precision", "carry_state", "reverse_complement")
"""Keys of `run` that change what is learned; device, memory, workers and the like may be others after a stop."""
_LONGEST = 80
"""Characters of a value in a message."""


def trained_with(config: PretrainConfig) -> dict[str, Any]:
    """The parts of a configuration that the weights depend on, plain data. What the split came to is in the run's
    splits.json, and its digest in the checkpoint (`PARTS`)."""
    weights = [parse_store(store)[1] for store in config.stores]
    return {
        "model": to_dict(config.model),
        "curriculum": to_dict(config.curriculum),
        "optimiser": to_dict(config.optimiser),
        "split": None if config.split is None else to_dict(config.split),
        "run": {key: getattr(config.run, key) for key in _OF_RUN},
        # Addresses may change, and simulated genomes may be named as the store that they are.
        "weights of the stores": weights if any(weights) else [],
    }


def curve_of(config: PretrainConfig) -> dict[str, Any]:
    """What the points of the validation curve are measured on: points on other targets could not be compared."""
    keys = ("targets_while_training", "seed")
    measured = {"contexts": sorted(config.contexts), **{key: getattr(config.evaluation, key) for key in keys}}
    return {"evaluation": measured}


def check_unchanged(config: PretrainConfig, checkpoint: Checkpoint, file: Path) -> None:
    """Compare a configuration with the one that a checkpoint was trained with.

    Args:
        config: of the run that goes on.
        checkpoint: what it goes on from; an older one has no record, and passes when its weights fit the model.
        file: that the configuration was read from.

    Raises:
        InputError: they differ; the first key that does is named, with both values.
    """
    if RECORD in checkpoint.state:
        _compare(checkpoint.state[RECORD], trained_with(config), f"{file}: ", checkpoint.step, "trained with")
    else:
        _check_shapes(config.model, checkpoint, file)


def check_parts(splits: Splits, checkpoint: Checkpoint, file: Path) -> None:
    """Compare a run's split with the one that a checkpoint was trained with.

    Args:
        splits: of the run that goes on.
        checkpoint: what it goes on from; an older one has no record, and passes.
        file: that the split was read from.

    Raises:
        InputError: they differ: held-out sequence could be trained on.
    """
    if checkpoint.state.get(PARTS) not in (None, splits.digest):
        raise InputError(
            f"{file}: parts the genomes otherwise than when the checkpoint of step {checkpoint.step:,} was trained; "
            "put the file back to go on, or start a new run with another --out"
        )


def check_curve(config: PretrainConfig, checkpoint: Checkpoint) -> None:
    """Compare what the next points of the validation curve are measured on with what its best one was.

    Raises:
        InputError: they differ; the first key that does is named, with both values.
    """
    if checkpoint.best is not None:
        older = {"evaluation": {"contexts": sorted(map(int, checkpoint.best.perplexity))}}
        _compare(checkpoint.state.get(CURVE, older), curve_of(config), "", checkpoint.step, "measured with")


def _compare(there: Any, here: Any, prefix: str, step: int, what: str) -> None:
    changed = first_difference(there, json.loads(json.dumps(here)), shared_only=True)
    if changed is not None:
        key, then, now = changed
        raise InputError(
            f"{prefix}{key} is {_short(now)}, the checkpoint of step {step:,} was {what} {_short(then)}; put it back "
            "to go on, or start a new run with another --out"
        )


def _check_shapes(model: ModelConfig, checkpoint: Checkpoint, file: Path) -> None:
    with torch.device("meta"):  # shapes alone
        wanted = {f"model.{name}": list(tensor.shape) for name, tensor in MambaLM(model).state_dict().items()}
    there = {name: list(tensor.shape) for name, tensor in checkpoint.tensors.items() if name.startswith("model.")}
    for name in sorted({*wanted, *there}):
        if there.get(name) != wanted.get(name):
            then, now = (sizes.get(name, "missing") for sizes in (there, wanted))
            raise InputError(
                f"{file}: model: the checkpoint of step {checkpoint.step:,} is of a model of another shape, "
                f"{name.removeprefix('model.')} is {then} there and {now} here; put it back to go on, or start a new "
                "run with another --out"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
