"""A run is resumed with what it was trained with, or refused in a line that names the key and both values."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pretrain_runs import write_config

from dnamamba.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import PretrainConfig, read_config
from dnamamba.trained_with import RECORD, check_unchanged, trained_with

STAGES = {"stages": [{"context": 64, "share": 0.5}, {"context": 256, "share": 0.5}], "total_tokens": 8 * 1024}
SPLIT = {"method": "contig", "valid": ["chr2"], "test": ["chr3"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    path = write_config(folder, curriculum=STAGES, split=SPLIT, evaluation={"markov": False})
    pretrain(read_config(str(path), [], []), folder / "run")
    return folder / "run"


def _resumed(
    finished: Path, folder: Path, section: str, *, prepare: Callable[[Path], None] = lambda run: None, **changes: object
) -> tuple[Path, BaseException | None]:
    """A copy of the run, `prepare`d, whose pretrain.yaml is changed, and what resuming it ended with."""
    run = folder / "run"
    shutil.copytree(finished, run)
    prepare(run)
    data = yaml.safe_load((run / "pretrain.yaml").read_text())
    data[section].update(changes)
    (run / "pretrain.yaml").write_text(yaml.safe_dump(data))
    return run, CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(run)]).exception


@pytest.mark.parametrize(
    "section, changes, message",
    [
        ("model", {"d_model": 32}, "model.d_model is 32, the checkpoint of step 8 was trained with 16; put it back"),
        (
            "curriculum",
            {"stages": [{"context": 64, "share": 0.5}, {"context": 512, "share": 0.5}]},
            "curriculum.stages[1].context is 512, the checkpoint of step 8 was trained with 256; put it back",
        ),
        ("curriculum", {"total_tokens": 16 * 1024}, "curriculum.total_tokens is 16384, the checkpoint of step 8 was"),
        ("optimiser", {"lr": 1e-4}, "optimiser.lr is 0.0001, the checkpoint of step 8 was trained with 0.008"),
        ("split", {"test": ["chr1"]}, 'split.test[0] is "chr1", the checkpoint of step 8 was trained with "chr3"; put'),
        ("run", {"seed": 1}, "run.seed is 1, the checkpoint of step 8 was trained with 0"),
    ],
)
def test_another_config_is_refused(finished, tmp_path, section, changes, message):
    run, error = _resumed(finished, tmp_path, section, **changes)
    assert isinstance(error, InputError)
    assert str(error).startswith(f"{run / 'pretrain.yaml'}: {message}")
    assert "\n" not in str(error)


def test_what_changes_no_weight_may_be_another(finished, tmp_path):
    run, error = _resumed(finished, tmp_path, "run", workers=1, memory="lean", checkpoint_minutes=5, keep_checkpoints=7)
    assert error is None
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_a_damaged_split_is_one_line(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "splits.json").write_text("{")
    error = CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(run)]).exception
    assert isinstance(error, InputError)
    assert str(error).startswith(f"{run / 'splits.json'}: not a JSON file: ")
    assert "\n" not in str(error)


def test_a_context_changed_before_the_first_checkpoint_is_planned_anew(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for name in ("checkpoints", "logs"):
        shutil.rmtree(run / name)
    data = yaml.safe_load((run / "pretrain.yaml").read_text())
    data["curriculum"]["stages"][1]["context"] = 512
    (run / "pretrain.yaml").write_text(yaml.safe_dump(data))
    assert CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(run)]).exception is None
    assert set(json.loads((run / "memory_plan.json").read_text())) == {"64", "512"}


def test_a_damaged_memory_plan_is_one_line(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "checkpoints")
    (run / "memory_plan.json").write_text("{")
    error = CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(run)]).exception
    assert isinstance(error, InputError)
    assert str(error).startswith(f"{run / 'memory_plan.json'}: not a JSON file: ")


def _without_record(run: Path) -> None:
    """The last checkpoint as it was before there was a record, and no other."""
    there = latest_checkpoint(run / "checkpoints", lambda text: None)
    assert there.state[RECORD]["model"]["d_model"] == 16
    shutil.rmtree(run / "checkpoints")
    state = {key: there.state[key] for key in ("memory_plan", "data_ranks")}
    save_checkpoint(run / "checkpoints", there.step, there.tensors, state, 2, there.best)


def _without_last(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "step-000000008")


def _without_last_and_record(run: Path) -> None:
    _without_last(run)
    _without_record(run)


def test_a_checkpoint_of_before_the_record_is_gone_on_from(finished, tmp_path):
    _, error = _resumed(finished, tmp_path, "run", prepare=_without_record)
    assert error is None


@pytest.mark.parametrize(
    "changes, odd",
    [
        ({"d_model": 32}, "backbone.embedding.weight is [16, 16] there and [16, 32] here"),
        ({"n_layers": 1}, "backbone.layers.1.mixer.A_log is [32, 8] there and missing here"),
    ],
)
def test_a_checkpoint_of_before_the_record_and_of_another_model_is_refused(finished, tmp_path, changes, odd):
    run, error = _resumed(finished, tmp_path, "model", prepare=_without_record, **changes)
    assert isinstance(error, InputError)
    assert str(error) == (
        f"{run / 'pretrain.yaml'}: model: the checkpoint of step 8 is of a model of another shape, {odd}; put it back "
        "to go on, or start a new run with another --out"
    )


@pytest.mark.parametrize(
    "prepare, changes, now, then",
    [
        (_without_last, {"contexts": [64]}, "contexts is [64]", "[64, 256]"),
        (_without_last, {"seed": 1}, "seed is 1", "0"),
        (_without_last, {"targets_while_training": 256}, "targets_while_training is 256", "512"),
        (_without_last_and_record, {"contexts": [64]}, "contexts is [64]", "[64, 256]"),
    ],
)
def test_a_curve_goes_on_with_the_same_targets(finished, tmp_path, prepare, changes, now, then):
    run, error = _resumed(finished, tmp_path, "evaluation", prepare=prepare, **changes)
    assert isinstance(error, InputError)
    step = latest_checkpoint(run / "checkpoints", lambda text: None).step
    assert str(error) == (
        f"evaluation.{now}, the checkpoint of step {step} was measured with {then}; put it back to go on, or start a "
        "new run with another --out"
    )


def test_a_finished_training_may_be_measured_at_other_contexts(finished, tmp_path):
    run, error = _resumed(finished, tmp_path, "evaluation", contexts=[128])
    assert error is None
    assert set(json.loads((run / "metrics.json").read_text())["perplexity"]) == {"128"}
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def _swap_parts(run: Path) -> None:
    data = json.loads((run / "splits.json").read_text())
    data["parts"]["train"], data["parts"]["test"] = data["parts"]["test"], data["parts"]["train"]
    (run / "splits.json").write_text(json.dumps(data))


def _past_the_end(run: Path) -> None:
    data = json.loads((run / "splits.json").read_text())
    data["parts"]["train"][0][3] += 1
    (run / "splits.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    "prepare, message",
    [(_swap_parts, "splits.json: parts the genomes otherwise than when the checkpoint of step 8 was trained"),
     (_past_the_end, "the split has bases .* it is damaged; split the genomes anew")],
)  # fmt: skip
def test_another_split_is_refused(finished, tmp_path, prepare, message):
    _, error = _resumed(finished, tmp_path, "run", prepare=prepare)
    assert error is not None
    assert re.search(message, str(error))


def test_a_split_that_was_deleted_is_made_again(finished, tmp_path):
    run, error = _resumed(finished, tmp_path, "run", prepare=lambda run: (run / "splits.json").unlink())
    assert error is None
    assert (run / "splits.json").read_text() == (finished / "splits.json").read_text()


def test_weights_of_the_stores_count_and_their_addresses_do_not():
    def with_stores(*stores: str) -> PretrainConfig:
        return replace(read_config("quick", [], []), stores=stores)

    def check(now: PretrainConfig, then: PretrainConfig) -> None:
        check_unchanged(now, Checkpoint(8, {}, {RECORD: json.loads(json.dumps(trained_with(then)))}), Path("p.yaml"))

    check(with_stores("new/a.zarr:1", "new/b.zarr:2"), with_stores("a.zarr:1", "b.zarr:2"))
    check(with_stores("runs/1/genomes.zarr"), with_stores())
    with pytest.raises(InputError, match=r"weights of the stores\[1\] is 3.0, .* was trained with 2.0"):
        check(with_stores("a.zarr:1", "b.zarr:3"), with_stores("a.zarr:1", "b.zarr:2"))
    older = trained_with(with_stores())
    del older["model"]["d_conv"]
    older["model"]["gone"] = 1
    check_unchanged(with_stores(), Checkpoint(8, {}, {RECORD: older}), Path("p.yaml"))
