"""A run that starts with another model's weights: it takes that model as it is, and its sizes."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from pretrain_runs import write_config

import dnamamba
from dnamamba.cli import cli
from dnamamba.errors import InputError, UsageError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import save
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import PretrainConfig, read_config

STEPS = {"stages": [{"context": 64, "share": 1.0}], "total_tokens": 2 * 1024}
QUIET = ("evaluation.markov=false", "evaluation.targets=1k", "evaluation.targets_while_training=1k")


@pytest.fixture
def started(tmp_path: Path) -> tuple[Path, MambaLM]:
    torch.manual_seed(7)
    model = MambaLM(ModelConfig(d_model=24, n_layers=1))
    save(model, tmp_path / "first")
    return tmp_path / "first", model


def _config(folder: Path, model: Path, *overrides: str) -> PretrainConfig:
    path = write_config(folder, curriculum=STEPS)
    return read_config(str(path), [*QUIET, *overrides], [], str(model))


def test_the_weights_are_those_of_the_model_and_so_are_its_sizes(tmp_path, started):
    folder, first = started
    told: list[str] = []
    pretrain(_config(tmp_path, folder, "optimiser.lr=1e-9"), tmp_path / "run", say=told.append)
    assert any(line.startswith(f"starting with the weights of {folder}, sha256 ") for line in told)
    trained = dnamamba.load(tmp_path / "run")
    assert trained.config == first.config
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(tensor, first.state_dict()[name], rtol=0, atol=1e-6)


def test_a_size_beside_it_is_refused(tmp_path, started):
    with pytest.raises(
        UsageError, match=r"model.d_model=8: the run starts from .*first, whose model it takes as it is"
    ):
        _config(tmp_path, started[0], "model.d_model=8")


def test_a_model_that_has_become_another_is_told(tmp_path, started):
    folder, _ = started
    config = _config(tmp_path, folder)
    save(MambaLM(ModelConfig(d_model=16, n_layers=1)), folder, overwrite=True)
    with pytest.raises(InputError, match="first is no longer the model that this run was set up for"):
        pretrain(config, tmp_path / "run")


def test_the_command_says_what_is_not_there_and_makes_no_folder(tmp_path):
    line = ["pretrain", "quick", "--start-from", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli, line)
    assert str(result.exception) == f"{tmp_path / 'none'}: no such model directory"
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_takes_no_start(tmp_path):
    result = CliRunner().invoke(cli, ["pretrain", "--resume", "--out", str(tmp_path), "--start-from", "x"])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("--resume takes the configuration of the run itself")
