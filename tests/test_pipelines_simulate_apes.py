"""The apes in a store: labelled, with their provenance, same seed same bytes, refused where they are there already."""

from dataclasses import asdict

import numpy as np
import pytest

from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.simulate.apes import (
    ASSEMBLIES,
    SimulateConfig,
    context_gain,
    simulate_store,
    species_bound,
)
from dnamamba.pipelines.simulate.contig import simulate_contig
from dnamamba.pipelines.simulate.library import make_library
from dnamamba.pipelines.simulate.measure import Measured
from dnamamba.pipelines.store import open_store

CONFIG = SimulateConfig(seed=9, bases=240_000, contigs=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("apes") / "sim.zarr"
    said = []
    simulate_store(path, CONFIG, progress=lambda what, done, total: said.append((what, done, total)))
    assert [s[1:] for s in said] == sorted(s[1:] for s in said)
    assert said[-1][1:] == (1_200_000, 1_200_000)
    assert not [p for p in path.parent.iterdir() if p != path]  # nothing is left beside the store
    return open_store(path)


def test_five_assemblies_with_orthologous_names(store):
    assert sorted(store.assemblies) == sorted(ASSEMBLIES)
    for name in ASSEMBLIES:
        assert [c.name for c in store[name].contigs] == ["chr1", "chr2", "chr3"]


def test_bases_are_the_simulated_ones(store):
    library = make_library(CONFIG.seed, CONFIG.young_diagnostic)
    contig = simulate_contig(CONFIG, library, 1)
    for species, name in enumerate(ASSEMBLIES):
        assert np.array_equal(store[name]["chr2"], contig.sequence(species))


def test_labelled_as_simulated_wherever_it_shows(store):
    for species, name in enumerate(ASSEMBLIES):
        attributes = store[name].attributes
        assert name.startswith("sim_")
        assert attributes["simulated"] is True
        kept = attributes["provenance"]
        assert kept["config"] == asdict(CONFIG)
        assert SimulateConfig(**kept["config"]) == CONFIG
        assert kept["species"] == name[4:] == ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")[species]
        assert "no real DNA" in kept["note"]
        assert {"dnamamba", "numpy", "divergence", "incomplete_lineage_sorting"} <= set(kept)
        for contig in store[name].contigs:
            assert "SIMULATED" in contig.description
            assert f"seed {CONFIG.seed}" in contig.description


def test_oracles_from_the_store(store):
    gain = context_gain(store["sim_human"])
    assert gain["log2_context"] == list(range(8, 21))
    assert gain["gain_bits_per_base"][-1] > 0.05
    bound = species_bound(store["sim_gorilla"])
    assert bound["length"] == [2**k for k in range(8, 21)]
    assert bound["library_and_spectrum"][0] < bound["library_and_spectrum"][-1]


def test_oracles_need_a_simulated_assembly(tmp_path):
    letters = np.frombuffer(b"ACGT" * 50, np.uint8)
    real = ingest_arrays([("c", "", letters)], tmp_path / "s.zarr", assembly="real")
    with pytest.raises(InputError, match="'real' was not made by the simulator"):
        context_gain(real)


def test_what_is_there_is_not_replaced_unasked(store, tmp_path):
    with pytest.raises(InputError, match="'sim_human' is there already"):
        simulate_store(store.location, CONFIG)
    small = SimulateConfig(bases=20_000, contigs=1)
    first = simulate_store(tmp_path / "s.zarr", small)
    before = [a.fingerprint for a in first]
    again = simulate_store(tmp_path / "s.zarr", small, overwrite=True)
    assert [a.fingerprint for a in again] == before
    other = simulate_store(tmp_path / "s.zarr", SimulateConfig(seed=1, bases=20_000, contigs=1), overwrite=True)
    assert not set(before) & {a.fingerprint for a in other}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file"):
        simulate_store(tmp_path / "file" / "s.zarr", SimulateConfig(bases=20_000, contigs=1))


def test_report_is_what_json_holds():
    import json

    config = SimulateConfig(bases=30_000, contigs=1)
    measured = Measured(config)
    measured.add(simulate_contig(config, make_library(0, config.young_diagnostic), 0))
    for species in range(5):
        json.dumps(measured.report(species), allow_nan=False)
