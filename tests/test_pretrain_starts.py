"""How a run starts: what cannot be trained or measured is said before the first step; nothing is lost or claimed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from memory_genomes import random_dna
from pretrain_runs import write_config

import dnamamba
from dnamamba import outcome
from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.run_folder import held, is_held
from dnamamba.training import Pretraining

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


def test_ctrl_c_while_measuring_says_how_to_go_on(uneven, tmp_path, monkeypatch):
    def press(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    config, run = _config(tmp_path, uneven), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "fit_markov", press)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell's `&` started us
        try:
            with pytest.raises(InputError) as caught:
                pretrain(config, run)
        finally:
            signal.signal(signal.SIGINT, before)
    assert str(caught.value) == (
        f"stopped by SIGINT while measuring, the training is done; go on with: dnamamba pretrain --resume --out {run}"
    )
    weights = (run / "model.safetensors").read_bytes()
    pretrain(config, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == weights
    assert (run / "metrics.json").exists()


# Runs the command line; SIGTERM comes to it while a file of the model is about to appear, or in the measuring.
TERMINATED = """
import os, signal, sys
from dnamamba import outcome
from dnamamba.cli import main

def in_the_replacing(source, target, replace=os.replace):
    if os.fspath(target).endswith("model.safetensors"):
        signal.raise_signal(signal.SIGTERM)
    replace(source, target)

def in_the_measuring(*arguments, **options):
    signal.raise_signal(signal.SIGTERM)

if {moment!r} == "replacing":
    os.replace = in_the_replacing
else:
    outcome.fit_markov = in_the_measuring
sys.argv = ["dnamamba", "pretrain", *{arguments!r}]
main()
"""


def test_sigterm_after_the_training_leaves_nothing_aside_and_says_how_to_go_on(uneven, tmp_path):
    run = tmp_path / "run"
    arguments = [str(write_config(tmp_path, split=SPLIT, curriculum=SHORT)), "--store", uneven, "--out", str(run)]
    for moment in ("replacing", "measuring"):
        script = TERMINATED.format(moment=moment, arguments=arguments)
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert ended.returncode == 1, ended.stderr
        assert ended.stderr.splitlines()[-1] == (
            "dnamamba: error: stopped by SIGTERM while measuring, the training is done; go on with: "
            f"dnamamba pretrain --resume --out {run}"
        )
        assert not [path for path in tmp_path.rglob(".*") if "writing" in path.name]
        arguments = ["--resume", "--out", str(run)]
    assert dnamamba.load(run).log_likelihood("ACGT" * 10).per_base < 0


def test_ctrl_c_before_the_first_step_says_how_to_go_on_once_there_is_a_run(uneven, tmp_path, monkeypatch):
    def press(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    config, run = _config(tmp_path, uneven), tmp_path / "run"
    for place, begun in (("dnamamba.pretrain.open_corpus", False), ("dnamamba.curriculum_run.make_loggers", True)):
        with monkeypatch.context() as patch:
            patch.setattr(place, press)
            with pytest.raises(InputError if begun else KeyboardInterrupt) as caught:
                pretrain(config, run)
    assert str(caught.value) == (
        f"stopped by SIGINT before the training was done; go on with: dnamamba pretrain --resume --out {run}"
    )


def test_the_second_ctrl_c_does_not_wait_and_says_how_to_go_on(uneven, tmp_path, monkeypatch):
    def press_twice(self: Pretraining, batch: object, index: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # lightning's answer is to ignore it from then on
    monkeypatch.setattr(Pretraining, "training_step", press_twice)
    try:
        with pytest.raises(InputError, match="stopped by SIGINT before the training was done; go on with: dnamamba"):
            pretrain(_config(tmp_path, uneven), tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)


def _command(config: Path, *arguments: object) -> BaseException | None:
    """Run `dnamamba pretrain`; what it ended with."""
    return CliRunner().invoke(cli, ["pretrain", str(config), *map(str, arguments)]).exception


@pytest.mark.parametrize(
    "store, override, message",
    [
        ("nothere.zarr", "run.seed=0", "nothere.zarr"),
        ("{store}:0", "run.seed=0", "its weight must be above 0, got 0"),
        ("{store}", "split.test=[d]", "'d'"),
        ("{store}", "evaluation.contexts=[32k]", "32k cannot be evaluated"),
        ("{store}", "run.seed=18446744073709551616", "run.seed: want less than 2^64, got 18446744073709551616"),
        ("{store}", "run.checkpoint_minutes=.nan", "run.checkpoint_minutes: want above 0, got nan"),
    ],
)
def test_what_cannot_be_read_claims_no_folder(uneven, tmp_path, store, override, message):
    path = write_config(tmp_path, split=SPLIT, curriculum=SHORT)
    error = _command(path, override, "--store", store.format(store=uneven), "--out", tmp_path / "run")
    assert isinstance(error, InputError)
    assert message in str(error)
    assert not (tmp_path / "run").exists()


def test_a_start_that_failed_leaves_its_folder_free_and_nothing_of_it_is_taken_over(uneven, tmp_path):
    run = tmp_path / "run"
    path = write_config(tmp_path, split=SPLIT, curriculum=SHORT)
    arguments = ("--store", uneven, "--out", run)
    error = _command(path, *arguments, "run.loggers=[{class: NoLogger}]", "split.test=[a]", "run.micro_batch_tokens=64")
    assert "got 'NoLogger'" in str(error)
    left = {path.name for path in run.iterdir()}
    assert {"pretrain.yaml", "splits.json", "memory_plan.json"} <= left <= {*left, "logs"}
    (run / "logs" / "part-0").mkdir(parents=True, exist_ok=True)
    assert _command(path, *arguments, "evaluation.markov=false") is None
    tests = json.loads((run / "splits.json").read_text())["parts"]["test"]
    assert [contig for _, contig, _, _ in tests] == ["c"]
    assert json.loads((run / "memory_plan.json").read_text()) == {"64": [8, 64]}
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["tokens"] == 4 * 1024
    assert "is not empty; --resume goes on with a run" in str(_command(path, *arguments))


def test_a_start_that_failed_can_be_resumed(uneven, tmp_path):
    run = tmp_path / "run"
    path = write_config(tmp_path, split=SPLIT, curriculum=SHORT, evaluation={"markov": False})
    _command(path, "--store", uneven, "--out", run, "run.loggers=[{class: NoLogger}]")
    text = (run / "pretrain.yaml").read_text()
    (run / "pretrain.yaml").write_text(
        text.replace("class: NoLogger", "class: CSVLogger\n    save_dir: " + str(tmp_path))
    )
    result = CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(run)])
    assert result.exception is None
    assert "no checkpoint was written before the run stopped: it starts at step 0" in result.stderr
    assert (run / "model.safetensors").exists()


def test_a_configuration_that_was_emptied_is_said(tmp_path):
    (tmp_path / "pretrain.yaml").touch()
    error = CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(tmp_path)]).exception
    assert isinstance(error, InputError)
    assert "its configuration names no store, and nothing to simulate either" in str(error)


def test_a_folder_is_not_free_while_a_run_is_at_work_or_after_rows_or_with_a_config_of_the_user_s_own(uneven, tmp_path):
    run, refused = tmp_path / "run", "is not empty; --resume goes on with a run"
    path = write_config(tmp_path, split=SPLIT, curriculum=SHORT)
    arguments = ("--store", uneven, "--out", run, "run.loggers=[{class: NoLogger}]")
    assert "NoLogger" in str(_command(path, *arguments))
    with held(run / "pretrain.yaml"):
        assert is_held(run / "pretrain.yaml")
        assert refused in str(_command(path, *arguments))
    assert not is_held(run / "pretrain.yaml")
    (run / "logs" / "part-0").mkdir(parents=True)
    (run / "logs" / "part-0" / "metrics.csv").touch()
    assert refused in str(_command(path, *arguments))
    (run / "logs" / "part-0" / "metrics.csv").unlink()
    assert "NoLogger" in str(_command(path, *arguments))
    with (run / "pretrain.yaml").open("a") as file:
        file.write("# my own notes\n")
    assert refused in str(_command(path, *arguments))


def test_genomes_of_another_simulation_are_not_taken_over(tmp_path):
    path = write_config(tmp_path, curriculum=SHORT, evaluation={"markov": False})
    arguments = ("--out", tmp_path / "run")
    genomes = tmp_path / "run" / "genomes.zarr"
    assert "64k cannot be evaluated" in str(_command(path, *arguments, "evaluation.contexts=[64k]"))
    first = genomes.stat().st_ino
    assert "NoLogger" in str(_command(path, *arguments, "run.loggers=[{class: NoLogger}]"))
    assert genomes.stat().st_ino == first  # the same simulation is not made again
    assert _command(path, *arguments, "simulate.bases=90000") is None
    store = dnamamba.open_store(genomes)
    assert all(sum(store[name].sizes.values()) < 105_000 for name in store.assemblies)
