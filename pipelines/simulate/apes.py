"""The embedded apes in a store: five assemblies, simulated contig by contig, labelled as simulated."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dnamamba import __version__
from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.simulate.bound import bound_table
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import simulate_contig
from dnamamba.pipelines.simulate.library import make_library
from dnamamba.pipelines.simulate.measure import Measured
from dnamamba.pipelines.simulate.tree import LATIN, SPECIES
from dnamamba.pipelines.store import Assembly, local_folder, open_store
from dnamamba.pipelines.store_format import LayoutName

__all__ = ["ASSEMBLIES", "Progress", "SimulateConfig", "context_gain", "simulate_store", "species_bound"]

ASSEMBLIES = tuple(f"sim_{name}" for name in SPECIES)
"""Names of the assemblies in the store, in the order of tree.SPECIES."""

Progress = Callable[[str, int, int | None], None]
"""Called after each contig with what is being done, bases of all five species done so far, and bases in all."""


def simulate_store(
    store_path: str | PathLike[str],
    config: SimulateConfig,
    *,
    overwrite: bool = False,
    layout: LayoutName = "raw",
    progress: Progress | None = None,
) -> list[Assembly]:
    """Simulate the five apes and put them into a store, one assembly each, contigs named alike.

    Contigs are made one after the other and wait in a folder beside the store, so memory is bounded by a contig and the
    five genomes together must fit on the disk once more. Same config and numpy version, same bytes.

    Args:
        store_path: a local folder; the store is made when there is none.
        config: see `SimulateConfig`.
        overwrite: replace simulated assemblies that are there.
        layout: as of `ingest`.
        progress: see `Progress`.

    Returns:
        The assemblies sim_human, sim_chimpanzee, sim_bonobo, sim_gorilla, sim_orangutan. Their attributes say
        `simulated: true`; `provenance` holds the whole config, the versions, the measured divergences, the gain of each
        context doubling (`context_gain`) and the best accuracy of telling species (`species_bound`).

    Raises:
        InputError: an assembly of that name is there already, or the store cannot be written.
    """
    store = local_folder(store_path)
    if (store / "zarr.json").exists() and not overwrite:
        there = [name for name in ASSEMBLIES if name in open_store(store)]
        if there:
            raise InputError(f"{store}: assembly {there[0]!r} is there already; --overwrite replaces it")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".simulating-", dir=store.parent) as folder:
            measured = _spool(Path(folder), config, progress)
            bound = bound_table(config)
            return [
                ingest_arrays(
                    _read_back(Path(folder), config, species),
                    store,
                    assembly=name,
                    source=f"dnamamba simulator, {LATIN[species]}",
                    overwrite=overwrite,
                    layout=layout,
                    simulated=True,
                    provenance=_provenance(config, measured.report(species), bound, species),
                )
                for species, name in enumerate(ASSEMBLIES)
            ]
    except OSError as error:
        raise InputError(f"{store}: cannot simulate there: {error.strerror or error}") from None


def _spool(folder: Path, config: SimulateConfig, progress: Progress | None) -> Measured:
    library = make_library(config.seed, config.young_diagnostic)
    measured = Measured(config)
    done = 0
    for index, length in enumerate(config.contig_lengths()):
        contig = simulate_contig(config, library, index)
        measured.add(contig)
        for species in range(len(SPECIES)):
            np.save(folder / f"{species}-{index}.npy", contig.sequence(species))
        done += length * len(SPECIES)
        if progress is not None:
            progress(f"simulating {contig.name}", done, config.bases * len(SPECIES))
    return measured


def _read_back(folder: Path, config: SimulateConfig, species: int) -> Iterator[tuple[str, str, npt.NDArray[np.uint8]]]:
    for index in range(config.contigs):
        name = f"chr{index + 1}"
        description = f"{name} SIMULATED {SPECIES[species]} (dnamamba {__version__}, seed {config.seed}); no real DNA"
        yield name, description, np.load(folder / f"{species}-{index}.npy")


def _provenance(
    config: SimulateConfig, measured: dict[str, Any], bound: dict[str, list[float]], species: int
) -> dict[str, Any]:
    return {
        "made_by": "dnamamba genome simulate",
        "note": "Simulated sequence on the great-ape tree from a synthetic ancestor; it holds no real DNA.",
        "species": SPECIES[species],
        "modelled_on": LATIN[species],
        "config": asdict(config),
        "dnamamba": __version__,
        "numpy": np.__version__,
        **measured,
        "species_bound": bound,
    }


def _kept(assembly: Assembly, key: str) -> dict[str, list[float]]:
    table = assembly.attributes.get("provenance", {}).get(key)
    if table is None:
        raise InputError(f"assembly {assembly.name!r} was not made by the simulator: it has no {key!r}")
    return dict(table)


def context_gain(assembly: Assembly) -> dict[str, list[float]]:
    """Bits a base that far context saves a reader with the map of the private families.

    Returns:
        "log2_context" 8 .. 20, "gain_bits_per_base" up to each context, "gain_of_the_last_doubling".

    Raises:
        InputError: the assembly is not simulated.
    """
    return _kept(assembly, "context_gain")


def species_bound(assembly: Assembly) -> dict[str, list[float]]:
    """Best five-way accuracy by length: "length" in bases, "library" alone, "library_and_spectrum" together.

    Raises:
        InputError: the assembly is not simulated.
    """
    return _kept(assembly, "species_bound")
