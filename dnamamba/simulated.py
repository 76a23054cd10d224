"""Genomes to train on where no store is given: simulated once into the run's folder."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from dnamamba.errors import InputError
from dnamamba.outcome import Say

if TYPE_CHECKING:
    from dnamamba.pipelines.simulate.apes import SimulateConfig

GENOMES = "genomes.zarr"
"""The store in a run's folder."""


def simulate_genomes(simulate: "SimulateConfig | None", path: Path, say: Say) -> str:
    """Make the store of a configuration without stores, unless it is there. Returns its path.

    Raises:
        InputError: there is nothing to simulate, or the store cannot be written.
    """
    from dnamamba.pipelines.simulate.apes import simulate_store  # zarr takes 0.3 s to import

    if simulate is None:
        raise InputError(f"{path.parent}: its configuration names no store, and nothing to simulate either")
    if not path.exists():
        say(f"simulating five great apes of {simulate.bases:,} bases into {path}")
        aside = path.with_name(f".{path.name}.writing")
        shutil.rmtree(aside, ignore_errors=True)
        simulate_store(aside, simulate)
        aside.replace(path)  # a kill leaves no store with some of the species
    return str(path)
