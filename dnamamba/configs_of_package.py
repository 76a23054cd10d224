"""The configurations that come with the package, found by name."""

from collections.abc import Sequence
from pathlib import Path

from dnamamba.errors import InputError

CONFIGS = Path(__file__).parent / "configs"


def pretraining_configs() -> list[Path]:
    """Those that are of pretraining runs: neither bases of others nor of a fine-tuning."""
    return sorted(path for path in CONFIGS.glob("[!_]*.yaml") if not path.name.startswith("species-"))


def species_configs() -> list[Path]:
    """Those of fine-tuning into a species classifier."""
    return sorted(CONFIGS.glob("species-*.yaml"))


def find_config(asked: str, known: Sequence[Path]) -> Path:
    """A file, or one of the package by its name, with or without ".yaml".

    Raises:
        InputError: neither; `known` is what there would be.
    """
    file = Path(asked)
    if file.exists():
        return file
    named = CONFIGS / f"{file.name.removesuffix('.yaml')}.yaml"
    if not named.exists():
        names = ", ".join(one.stem for one in known)
        raise InputError(f"{file}: no such file, and no config of the package has that name; there are {names}")
    return named
