"""Pretraining whole: what a run leaves, that it learns, that it resumes to the bit, and what it says of bad input."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from pretrain_runs import digest_of, write_config

import dnamamba
from dnamamba.checkpoints import checkpoint_of_step
from dnamamba.cli import cli
from dnamamba.configs_of_package import pretraining_configs
from dnamamba.errors import InputError
from dnamamba.optimiser import learning_rate
from dnamamba.pipelines.splits import Splits, plan_splits
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.report import read_log


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    pretrain(read_config(str(write_config(folder)), [], []), folder / "run")
    return folder / "run"


def test_a_run_leaves_a_model_metrics_and_pictures(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert set(metrics["perplexity"]) == set(metrics["markov_perplexity"]) == {"64", "256"}
    assert metrics["tokens"] == 40 * 1024
    assert metrics["seconds"] > 0
    assert metrics["config"]["model"]["d_model"] == 16
    assert set(metrics["store"]) == {f"sim_{s}" for s in ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")}
    assert metrics["trained_on"].startswith("simulated genomes")
    for name in ("training.png", "contexts.png"):
        assert (finished / "figures" / name).read_bytes().startswith(b"\x89PNG")
    model = dnamamba.load(finished)
    assert model.log_likelihood("ACGT" * 10).per_base < 0


def test_the_model_carries_the_split_of_its_run(finished):
    stored = json.loads((finished / "config.json").read_text())["extra"]["splits"]
    assert stored == json.loads((finished / "splits.json").read_text())
    splits = Splits.from_json(stored)
    store = dnamamba.open_store(finished / "genomes.zarr")
    splits.check([store[name] for name in store.assemblies])
    config = read_config(str(finished / "pretrain.yaml"), [], [])
    assert splits == plan_splits([store[name] for name in store.assemblies], config.split_in_force)
    assert all(splits.bases(part, name) for part in splits.parts for name in store.assemblies)


def test_metrics_say_what_each_stage_was(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    rows = read_log(finished / "logs")
    assert [(stage["context"], stage["steps"], stage["tokens"]) for stage in metrics["stages"]] == [
        (64, 20, 20 * 1024),
        (256, 20, 20 * 1024),
    ]
    for stage, end in zip(metrics["stages"], (20, 40), strict=True):
        row = next(row for row in rows if row["tokens"] == end * 1024 and "perplexity_64" in row)
        assert stage["valid"] == {"64": row["perplexity_64"], "256": row["perplexity_256"]}
        losses = [row["loss"] for row in rows if "loss" in row][end - 2 : end]
        assert stage["perplexity"] == pytest.approx(math.exp(sum(losses) / 2))
        assert stage["peak_memory"] > 1e8
        assert 0 <= stage["data_share"] < 1
    points = {row["tokens"] // 1024: row for row in rows if "perplexity_64" in row}
    nats = {step: math.log(row["perplexity_64"] * row["perplexity_256"]) / 2 for step, row in points.items()}
    assert metrics["best"]["step"] == min(nats, key=nats.get)
    assert metrics["best"]["nats"] == pytest.approx(min(nats.values()))


def test_a_run_that_gains_no_more_stops_and_leaves_its_best_weights(finished, tmp_path):
    changes = ["optimiser.lr=1.0", "optimiser.warmup=0.5", "evaluation.points=20", "evaluation.early_stop=2"]
    path = write_config(tmp_path, split={"method": "contig", "valid": ["chr2"], "test": ["chr3"]})
    config, told = read_config(str(path), changes, [str(finished / "genomes.zarr")]), []
    pretrain(config, tmp_path / "run", say=told.append)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    best = metrics["best"]["step"]
    assert metrics["tokens"] == best * 1024
    assert sum(stage["steps"] for stage in metrics["stages"]) == best + 2 * 2 < 40
    assert any(line.startswith(f"best on the validation part: step {best} of {best + 4}, ") for line in told)
    kept = checkpoint_of_step(tmp_path / "run" / "checkpoints", best).tensors
    model = dnamamba.load(tmp_path / "run").state_dict()
    assert all(torch.equal(model[name], kept[f"model.{name}"]) for name in model)
    digest = digest_of(tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    pretrain(config, tmp_path / "run", resume=True)  # killed while it was measured: it does not train on
    assert digest_of(tmp_path / "run") == digest


def test_a_run_learns(finished):
    rows = [row for row in read_log(finished / "logs") if "loss" in row]
    assert len(rows) == 40
    assert rows[0]["loss"] > 2.5  # sixteen tokens, all alike: log 16 = 2.77
    assert rows[-1]["loss"] < 1.42  # four letters: log 4 = 1.386
    assert rows[-1]["tokens"] == 40 * 1024
    assert [row["context"] for row in rows] == [64.0] * 20 + [256.0] * 20


def test_every_step_runs_at_its_own_learning_rate(finished, tmp_path):
    config = read_config(str(write_config(tmp_path)), [], [])
    rows = [row for row in read_log(finished / "logs") if "loss" in row]
    expected = [learning_rate(config.optimiser, step, 40) for step in range(40)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


def test_the_curve_is_measured_at_every_context_throughout(finished):
    rows = [row for row in read_log(finished / "logs") if "perplexity_64" in row]
    assert [row["tokens"] / 1024 for row in rows] == [10, 20, 30, 40]
    assert all("perplexity_256" in row for row in rows)


def test_workers_and_the_threads_of_the_loader_change_nothing(finished, tmp_path):
    split = {"method": "contig", "valid": ["chr2"], "test": ["chr3"]}
    path = write_config(tmp_path, run={"workers": 2}, split=split)
    config = read_config(str(path), [], [str(finished / "genomes.zarr")])
    pretrain(config, tmp_path / "run")
    assert digest_of(tmp_path / "run") == digest_of(finished)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.yaml"], "no such file, and no config of the package has that name; there are .*quick"),
        (["quick", "optimizer.lr=1"], "optimizer: unknown key; is optimiser meant"),
        (["quick", "model.d_modle=1"], "model.d_modle: unknown key; is model.d_model meant"),
        (["quick", "curriculum.tokens_per_step=1000"], "curriculum.tokens_per_step: 1000 is no multiple"),
        (["quick", "--store", "nowhere.zarr"], "nowhere.zarr"),
        (["--resume"], "say which run with --out RUN"),
        (["--resume", "--out", "nowhere"], "there is no run to resume"),
        (["quick", "run.device=tpu"], "run.device: want one of auto, cpu, cuda, got 'tpu'"),
        (["quick", "simulate=null"], "names no store to train on; give --store S"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["pretrain", *arguments])
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=message) as caught:
        raise result.exception
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_empty_is_left_alone(finished, tmp_path):
    before = sorted(finished.rglob("*"))
    result = CliRunner().invoke(cli, ["pretrain", str(write_config(tmp_path)), "--out", str(finished)])
    assert "is not empty; --resume goes on with a run" in str(result.exception)
    assert sorted(finished.rglob("*")) == before


def test_every_config_of_the_package_reads():
    assert "quick" in [path.stem for path in pretraining_configs()]
    for path in pretraining_configs():
        read_config(str(path), [], ["some.zarr"])


def test_a_split_nobody_named_fits_the_genomes():
    simulated = read_config("quick", ["simulate.contigs=5"], []).split_in_force
    assert (simulated.method, simulated.valid, simulated.test) == ("contig", ("chr4",), ("chr5",))
    assert read_config("quick", ["simulate.contigs=2"], []).split_in_force.method == "fraction"
    assert read_config("quick", [], ["hg38.zarr"]).split_in_force.method == "fraction"
    named = read_config("quick", ["split.method=contig", "split.test=[chr1]"], ["hg38.zarr"]).split_in_force
    assert (named.method, named.test) == ("contig", ("chr1",))


def test_evaluate_prints_the_run_s_own_figures(finished):
    arguments = ["evaluate", str(finished), "--store", str(finished / "genomes.zarr"), "--targets", "2048", "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    printed = json.loads(result.stdout)["contexts"]
    metrics = json.loads((finished / "metrics.json").read_text())
    for context, value in metrics["perplexity"].items():
        assert printed[context]["all"]["perplexity"] == pytest.approx(value, rel=1e-6)
    assert {"soft-masked", "unique"} <= set(printed["64"])


def test_evaluate_says_what_to_do_about_another_genome(finished, tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACGTTGCA" * 400 + "\n")
    store = str(tmp_path / "g.zarr")
    arguments = ["genome", "ingest", str(tmp_path / "g.fa"), "--assembly", "other", "--store", store]
    CliRunner().invoke(cli, arguments, catch_exceptions=False)
    arguments = ["evaluate", str(finished), "--store", store, "--context", "64"]
    answer = CliRunner().invoke(cli, arguments)
    assert "its split knows no assembly 'other'" in str(answer.exception)
    assert "--split all takes every base" in str(answer.exception)
    answer = CliRunner().invoke(cli, [*arguments, "--split", "all"], catch_exceptions=False)
    assert "64" in answer.stdout
    answer = CliRunner().invoke(cli, [*arguments, "--split", "all", "--targets", "0"])
    assert "--targets: want 1 or more, got 0" in str(answer.exception)


def test_the_checkpoint_holds_no_pickle(finished):
    names = {path.name for path in (finished / "checkpoints").rglob("*") if path.is_file()}
    assert names == {"state.json", "tensors.safetensors", "best.json"}
    assert os.path.getsize(finished / "config.json") > 0
    assert torch.is_grad_enabled()
