"""A small pretraining run for tests: two simulated contigs a species, a model of two narrow blocks, two stages."""

import hashlib
from pathlib import Path

import yaml

SMALL = {
    "simulate": {"bases": 120_000, "contigs": 3},
    "model": {"d_model": 16, "n_layers": 2, "d_state": 8},
    "curriculum": {
        "stages": [{"context": 64, "share": 0.5}, {"context": 256, "share": 0.5}],
        "tokens_per_step": 1024,
        "total_tokens": 40 * 1024,
    },
    "evaluation": {"targets": 2048, "targets_while_training": 512, "points": 4},
    "run": {"device": "cpu", "micro_batch_tokens": 512, "checkpoint_minutes": 0.001},
}


def write_config(folder: Path, **changes: object) -> Path:
    """Write the small run's configuration, its sections updated by `changes`, into `folder`."""
    data = {key: dict(value) for key, value in SMALL.items()}
    for section, values in changes.items():
        data.setdefault(section, {}).update(values)  # type: ignore[call-overload]
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def digest_of(run: Path) -> str:
    """Of the weights that a run left."""
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
