"""How a run starts: what cannot be trained or measured is said before the first step; nothing is lost or claimed."""

import json
from pathlib import Path

import pytest
from memory_genomes import random_dna
from pretrain_runs import write_config

import dnamamba
from dnamamba import outcome
from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config

SPLIT = {"method": "contig", "valid": ["b"], "test": ["c"]}
SHORT = {"stages": [{"context": 64, "share": 1.0}], "total_tokens": 4 * 1024}
"""Four optimiser steps."""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose contigs are as unlike as 40 to 3."""
    folder = tmp_path_factory.mktemp("uneven")
    lengths = {"a": 40_000, "b": 20_000, "c": 3_000}
    text = "".join(f">{name}\n{random_dna(n, seed=n).tobytes().decode()}\n" for name, n in lengths.items())
    (folder / "un.fa").write_text(text)
    ingest(folder / "un.fa", folder / "un.zarr")
    return str(folder / "un.zarr")


def _config(folder: Path, store: str, *overrides: str, **changes: object):
    path = write_config(folder, **{"split": SPLIT, "curriculum": SHORT, **changes})
    return read_config(str(path), overrides, [store])


@pytest.mark.parametrize("valid, test, part", [("b", "c", "test"), ("c", "b", "valid")])
def test_a_context_that_no_part_serves_is_refused_before_anything_is_written(uneven, tmp_path, valid, test, part):
    split = {"method": "contig", "valid": [valid], "test": [test]}
    config = _config(tmp_path, uneven, "evaluation.contexts=[4k]", split=split)
    with pytest.raises(InputError, match=f"contexts: 4k cannot be evaluated: the {part} part has no region as long"):
        pretrain(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_contexts_that_one_part_cannot_serve_are_left_out_and_said(uneven, tmp_path):
    told: list[str] = []
    config = _config(tmp_path, uneven, "evaluation.contexts=[64, 4k]", "evaluation.markov=false")
    pretrain(config, tmp_path / "run", say=told.append)
    notes = [line for line in told if "left out" in line]
    assert notes == [
        "context 4k is left out of the evaluation: the test part has no region as long as the context 4,096: the "
        "longest has 3,000 bases; contexts up to 2,048 can be evaluated"
    ]
    assert set(json.loads((tmp_path / "run" / "metrics.json").read_text())["perplexity"]) == {"64"}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["extra"]["contexts"] == [64]


def test_the_model_is_there_before_it_is_measured(uneven, tmp_path, monkeypatch):
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(outcome, "fit_markov", fail)
    with pytest.raises(RuntimeError, match="no memory left"):
        pretrain(_config(tmp_path, uneven), tmp_path / "run")
    assert dnamamba.load(tmp_path / "run").log_likelihood("ACGT" * 10).per_base < 0
