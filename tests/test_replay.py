"""A step without a number: the weights it began with are kept, nothing worse is saved, and it can be run again."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from pretrain_runs import write_config

from dnamamba.checkpoints import latest_checkpoint
from dnamamba.errors import InputError
from dnamamba.model_directory import load
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.replay import replay


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run whose first step throws the weights so far that the second has no loss."""
    folder = tmp_path_factory.mktemp("stopped")
    path = write_config(folder, run={"checkpoint_minutes": 1e-9})
    config = read_config(str(path), ["optimiser.lr=1e30", "optimiser.warmup=0"], [])
    with pytest.raises(InputError, match=r"step 2: loss .*; the run stops here\. The step is kept in ") as caught:
        pretrain(config, folder / "run")
    assert f"python -m dnamamba.replay {folder / 'run'}" in str(caught.value)
    return folder / "run"


def test_the_whole_step_and_the_weights_before_it_are_kept(stopped):
    kept = np.load(stopped / "stopped" / "batches.npz", allow_pickle=False)
    assert (int(kept["step"]), kept["bases"].shape, kept["samples"].tolist()) == (2, (16, 64), list(range(16, 32)))
    weights = load(stopped / "stopped").state_dict()
    before = latest_checkpoint(stopped / "checkpoints", pytest.fail)
    assert before.step == 1
    assert all(torch.equal(weights[name], before.tensors[f"model.{name}"]) for name in weights)


def test_no_checkpoint_holds_what_is_no_number(stopped):
    for path in (stopped / "checkpoints").glob("step-*"):
        assert json.loads((path / "state.json").read_text())["step"] == 1
    assert all(
        tensor.isfinite().all() for tensor in latest_checkpoint(stopped / "checkpoints", pytest.fail).tensors.values()
    )


def test_it_can_be_run_again(stopped):
    rows = replay(stopped, torch.device("cpu"))
    assert [row.sample for row in rows] == list(range(16, 32))
    assert any(not math.isfinite(row.loss_float32 + row.gradient_norm) for row in rows)
    assert all(0 <= row.unknown < 0.5 for row in rows)
    answer = subprocess.run([sys.executable, "-m", "dnamamba.replay", stopped], capture_output=True, text=True)
    lines = answer.stdout.splitlines()
    assert lines[0].split()[:2] == ["sample", "loss"]
    assert len(lines) == 17
    assert "nan" in lines[1] or "inf" in lines[1]


def test_a_run_that_ended_well_has_nothing_to_replay(tmp_path):
    with pytest.raises(InputError, match=r"stopped: holds no batches\.npz"):
        replay(tmp_path, torch.device("cpu"))
    answer = subprocess.run([sys.executable, "-m", "dnamamba.replay", tmp_path], capture_output=True, text=True)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
