"""The training step: slices of a window change nothing but rounding, and say how far the step is."""

import json

import pytest
from pretrain_runs import write_config

from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.progress import TrainingProgress
from dnamamba.report import read_log


def _run(folder, tokens):
    folder.mkdir()
    config = read_config(str(write_config(folder, run={"micro_batch_tokens": tokens})), [], [])
    pretrain(config, folder / "run")
    return folder / "run"


def test_a_run_in_slices_learns_what_a_run_in_whole_windows_does(tmp_path, monkeypatch):
    told = {}

    def listen(self, trainer, module):
        module.within_step.append(lambda share: told.setdefault(module.status.step, []).append(share))

    monkeypatch.setattr(TrainingProgress, "on_train_start", listen)
    monkeypatch.setattr(TrainingProgress, "on_train_batch_end", lambda self, *args, **kwargs: None)
    sliced = _run(tmp_path / "sliced", 100)
    monkeypatch.undo()
    whole = _run(tmp_path / "whole", 1024)
    ours, theirs = ([row for row in read_log(run / "logs") if "loss" in row] for run in (sliced, whole))
    for name in ("loss", "gradient_norm"):
        assert [row[name] for row in ours] == pytest.approx([row[name] for row in theirs], rel=2e-3)
    plan = json.loads(next((sliced / "checkpoints").glob("step-*/state.json")).read_text())["memory_plan"]
    assert plan == {"64": [1, 64], "256": [1, 100]}
    assert set(told) == set(range(40))
    for shares in told.values():
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)
    assert (len(told[0]), len(told[39])) == (16, 4 * 5)  # 16 windows; 4 windows in 3 slices, 2 of them taken twice


def test_a_long_step_is_shown_before_it_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dnamamba.progress.PLAIN_EVERY", 0.0)
    _run(tmp_path / "sliced", 100)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step 40/40")]
    shares = [int(line.split()[2].rstrip("%")) for line in lines[:-1]]
    assert shares == sorted(shares)
    assert len(shares) == 4 * 5
    assert all(line.endswith("% of it done") for line in lines[:-1])
    assert "loss" in lines[-1]
