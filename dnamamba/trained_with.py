"""What a run's checkpoints were trained with, kept in each: a resumed run does not go on with another config."""

import json
from pathlib import Path
from typing import Any

from dnamamba.checkpoints import Checkpoint
from dnamamba.config import to_dict
from dnamamba.corpus import parse_store
from dnamamba.differences import first_difference
from dnamamba.errors import InputError
from dnamamba.pretrain_config import PretrainConfig

RECORD = "trained_with"
"""Its key in a checkpoint's state."""
_OF_RUN = ("seed", "precision", "carry_state", "reverse_complement")
"""Keys of `run` that change what is learned; device, memory, workers and the like may be others after a stop."""
_LONGEST = 80
"""Characters of a value in a message."""


def trained_with(config: PretrainConfig) -> dict[str, Any]:
    """The parts of a configuration that the weights depend on, plain data; the split is in the run's splits.json."""
    weights = [parse_store(store)[1] for store in config.stores]
    return {
        "model": to_dict(config.model),
        "curriculum": to_dict(config.curriculum),
        "optimiser": to_dict(config.optimiser),
        "run": {key: getattr(config.run, key) for key in _OF_RUN},
        # Addresses may change, and simulated genomes may be named as the store that they are.
        "weights of the stores": weights if any(weights) else [],
    }


def check_unchanged(config: PretrainConfig, checkpoint: Checkpoint, file: Path) -> None:
    """Compare a configuration with the one that a checkpoint was trained with; an older one without it passes.

    Args:
        config: of the run that goes on.
        checkpoint: what it goes on from.
        file: that the configuration was read from.

    Raises:
        InputError: they differ; the first key that does is named, with both values.
    """
    now = json.loads(json.dumps(trained_with(config)))
    changed = first_difference(checkpoint.state.get(RECORD, {}), now, shared_only=True)
    if changed is not None:
        key, there, here = changed
        raise InputError(
            f"{file}: {key} is {_short(here)}, the checkpoint of step {checkpoint.step:,} was trained with "
            f"{_short(there)}; put it back to go on, or start a new run with another --out"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
