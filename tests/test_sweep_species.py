"""Fine-tuning for species at each length: equal bases, all measured at all lengths, reported, gone on with."""

import csv
import json

import pytest
from click.testing import CliRunner
from species_cases import tiny_model

from dnamamba.cli import cli
from dnamamba.config import to_dict
from dnamamba.errors import InputError, UsageError
from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store
from dnamamba.sweep import species_worker
from dnamamba.sweep.kept import claim_folder
from dnamamba.sweep.plan import PLAN
from dnamamba.sweep.species_contexts import carry_out_species, species_plan
from dnamamba.sweep.species_worker import tune_one

KEYS = [
    "data.split={method: contig, valid: [chr2], test: [chr3]}", "stages=[{length: 64, steps: 6, windows: 16}]",
    "loss.first=16", "measure.windows=12", "measure.valid_windows=8", "measure.kmer_windows=20", "measure.ks=[2]",
    "measure.points=2", "head.probe=null", "run.device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("species")
    simulate_store(folder / "apes.zarr", SimulateConfig(bases=90_000, contigs=3))
    return folder


@pytest.fixture(scope="module")
def plan(folder):
    return species_plan(None, KEYS, [str(folder / "apes.zarr")], str(tiny_model(folder)), "64,128", None)


def test_every_run_reads_as_many_bases_at_its_own_length(plan):
    assert list(plan.runs) == ["64", "128"]
    stages = [config.stages[0] for config in plan.runs.values()]
    assert [(stage.length, stage.windows, stage.steps) for stage in stages] == [(64, 16, 6), (128, 8, 6)]
    assert all(config.lengths == (64, 128) for config in plan.runs.values())


def test_from_the_runs_to_the_report(folder, plan, monkeypatch):
    out, said = folder / "out", []
    claim_folder(out, PLAN, to_dict(plan))
    for name in plan.runs:
        tune_one(out, name)
    carry_out_species(plan, out, 1, said.append)  # all is done: no process is started
    rows = {(row["trained_length"], row["length"]): row for row in csv.DictReader((out / "runs.csv").open())}
    assert set(rows) == {(a, b) for a in ("64", "128") for b in ("64", "128")}
    for (name, length), row in rows.items():
        metrics = json.loads((out / "runs" / name / "metrics.json").read_text())
        assert float(row["accuracy"]) == metrics["lengths"][length]["accuracy"]
        assert float(row["low"]) <= float(row["accuracy"]) <= float(row["high"])
        assert int(row["tokens"]) == metrics["steps"] * 1024
        assert f"{float(row['accuracy']):.3f}" in said[0]
    html = (out / "report.html").read_text()
    assert "data:image/png;base64," in html
    assert "right calls at 128" in html
    monkeypatch.setattr(species_worker, "finetune", lambda *arguments, **options: pytest.fail("trains again"))
    tune_one(out, "64")
    (out / "runs" / "64" / "result.json").unlink()
    tune_one(out, "64")


def test_a_length_starts_from_the_model_pretrained_at_it(folder):
    sweep = folder / "pretrained"
    for name in ("64", "128"):
        (sweep / "runs").mkdir(parents=True, exist_ok=True)
        tiny_model(sweep).rename(sweep / "runs" / name)
    (sweep / PLAN).write_text("{}")
    plan = species_plan(None, KEYS, ["s.zarr"], str(sweep), "64,128", "12k")
    assert [config.model for config in plan.runs.values()] == [str(sweep / "runs" / name) for name in ("64", "128")]
    assert [config.stages[0].steps for config in plan.runs.values()] == [12, 12]


def test_a_run_of_less_than_a_window_is_refused(folder, plan):
    with pytest.raises(UsageError, match="run 128: one window has more bases than --tokens gives a run, 64"):
        species_plan(None, KEYS, [str(folder / "apes.zarr")], plan.runs["64"].model, "64,128", "64")


@pytest.mark.parametrize("option", [("--targets", "8k"), ("--seed", "1")])
def test_options_of_language_models_are_refused(option):
    result = CliRunner().invoke(cli, ["sweep", "context", "--train", "--task", "species", "--contexts", "64", *option])
    assert result.exit_code == 2
    assert f"{option[0]}: is for language models" in result.stderr


def test_a_length_that_could_not_be_measured_is_said(folder, plan, tmp_path):
    out, said = tmp_path / "out", []
    claim_folder(out, PLAN, to_dict(plan))
    for name in plan.runs:
        (out / "runs" / name).mkdir(parents=True)
        row = {"accuracy": 0.5, "interval": [0.4, 0.6], "windows": 12, "kmer_accuracy": 0.3}
        result = {"task": "apes", "lengths": {"64": row}, "bound": {}, "tokens": 1, "seconds": 1, "peak_memory": 1}
        (out / "runs" / name / "result.json").write_text(json.dumps({**result, "device": "CPU"}))
    carry_out_species(plan, out, 1, said.append)
    line = "run 128 could not be measured at its own length: the held-out parts hold no such windows in every class"
    assert line in said[0]
    assert line in (out / "report.html").read_text()
    assert "run 64 could" not in said[0]


def test_a_store_that_is_not_there_claims_no_folder(tmp_path):
    plan = species_plan(None, KEYS, [str(tmp_path / "s.zarr")], str(tiny_model(tmp_path)), "64,128", None)
    with pytest.raises(InputError, match=r"s\.zarr"):
        carry_out_species(plan, tmp_path / "out", 1, print)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--store", "s"], "want --contexts such as"),
        (["--contexts", "64,full", "--store", "s"], "want --contexts such as"),
        (["--contexts", "64"], "--task species: give --store S"),
        (["--contexts", "64", "--store", "s"], "--task species: give --model M"),
        (["--contexts", "64", "--store", "s", "--model", "nowhere"], "nowhere: no such model directory"),
        (["--contexts", "64", "--store", "s", "--model", "nowhere", "measure.window=1"], "measure.window: unknown key"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    result = CliRunner().invoke(cli, ["sweep", "context", "--train", "--task", "species", *arguments])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
