"""Killed runs: whatever kills one when, `--resume` ends with the weights of the run that nothing interrupted."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pretrain_runs import digest_of, write_config

from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.report import read_log

BORDER = 20
"""Optimiser steps of the first of two stages."""
SPLIT = {"method": "contig", "valid": ["chr2"], "test": ["chr3"]}

# Runs the command line with one function of the checkpoint's code replaced: the process kills itself inside it.
KILLS_ITSELF = """
import os, signal, sys
from dnamamba import checkpoints
from dnamamba.cli import main

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def half_written(tensors, path, whole=checkpoints.save_file):
    whole(tensors, path)
    if {step!r} in str(path):
        os.truncate(path, 1000)
        kill()

def just_there(source, target, replace=os.replace):
    replace(source, target)
    if {step!r} in str(target):
        kill()

if {moment!r} == "half written":
    checkpoints.save_file = half_written
else:
    checkpoints.os.replace = just_there
sys.argv = ["dnamamba", "pretrain", *{arguments!r}]
main()
"""


def _losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_log(run / "logs") if "loss" in row]


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dnamamba", "pretrain", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _resume(run: Path) -> str:
    process = _start("--resume", "--out", run)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return errors


def _newest(run: Path) -> int:
    return max((int(path.name[5:]) for path in (run / "checkpoints").glob("step-*")), default=0)


def _wait_for(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    while not there():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    pretrain(read_config(str(write_config(folder)), [], []), folder / "run")
    return folder / "run"


def _config(folder: Path, finished: Path, **run: object) -> list[str]:
    return [str(write_config(folder, split=SPLIT, run=run)), "--store", str(finished / "genomes.zarr")]


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=100)


def test_killed_before_the_first_checkpoint_then_at_a_random_moment_and_the_newest_one_damaged(finished, tmp_path):
    run = tmp_path / "run"
    process = _start(*_config(tmp_path, finished, workers=2), "--out", run)
    _wait_for(process, lambda: (run / "memory_plan.json").exists())
    _kill(process)
    process = _start("--resume", "--out", run)
    _wait_for(process, lambda: _newest(run) >= random.Random(0).randrange(2, BORDER))
    time.sleep(random.Random(1).random() * 0.2)
    _kill(process)
    newest = max((run / "checkpoints").glob("step-*"))
    with (newest / "tensors.safetensors").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"\xff\x00\xff")
    errors = _resume(run)
    assert f"{newest} is damaged (the checksum of tensors.safetensors does not match); trying" in errors
    assert "going on after step" in errors
    assert digest_of(run) == digest_of(finished)
    assert _losses(run) == _losses(finished)


@pytest.mark.parametrize("moment, workers", [("half written", 0), ("just there", 2)])
def test_killed_in_a_checkpoint_at_a_stage_border(moment, workers, finished, tmp_path):
    run = tmp_path / "run"
    arguments = [*_config(tmp_path, finished, workers=workers, checkpoint_minutes=1000), "--out", str(run)]
    script = KILLS_ITSELF.format(step=f"step-{BORDER:09d}", moment=moment, arguments=arguments)
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = {"half written": [10], "just there": [10, BORDER]}[moment]  # 10: the first point of the validation curve
    assert sorted(int(path.name[5:]) for path in (run / "checkpoints").glob("step-*")) == there
    assert f"going on after step {there[-1]}" in _resume(run)
    assert not list((run / "checkpoints").glob(".*"))
    assert digest_of(run) == digest_of(finished)
    assert _losses(run) == _losses(finished)


def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(finished, tmp_path):
    run = tmp_path / "run"
    process = _start(*_config(tmp_path, finished, checkpoint_minutes=1000), "--out", run)
    for part, number in enumerate((signal.SIGINT, signal.SIGTERM)):
        _wait_for(process, (run / "logs" / f"part-{part}" / "metrics.csv").exists)
        process.send_signal(number)
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 1
        assert f"stopped by {signal.Signals(number).name} after step" in errors
        assert f"dnamamba pretrain --resume --out {run}" in errors
        process = _start("--resume", "--out", run)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert digest_of(run) == digest_of(finished)
    assert _losses(run) == _losses(finished)
