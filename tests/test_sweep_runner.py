"""Runs as processes: side by side on their slots, each for itself, stopped together, and not done twice."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from dnamamba.errors import InputError
from dnamamba.sweep import runner
from dnamamba.sweep.runner import Slot, find_slots, run_all

# A run that does what its name says, quickly: the sweep sees nothing of a worker but its exit and result.json.
STUB = """
import json, os, signal, sys, time
from pathlib import Path
out, name = Path(sys.argv[1]), sys.argv[2]
folder = out / "runs" / name
folder.mkdir(parents=True, exist_ok=True)
(folder / "began").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
with open(out / "order", "a") as file:
    file.write(name + "\\n")
print(f"{name} speaks", flush=True)
if name.startswith("bad"):
    sys.exit("the loss was no number")
if name.startswith("shot"):
    os.kill(os.getpid(), signal.SIGKILL)
if name.startswith("pair"):  # waits for its twin, which must run at the same time
    other = out / "runs" / ("pair2" if name == "pair1" else "pair1") / "began"
    end = time.monotonic() + 20
    while not other.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert other.exists()
if name.startswith("slow"):
    def stop(*_):
        (folder / "checkpoint").touch()
        sys.exit("stopped by SIGTERM")
    signal.signal(signal.SIGTERM, stop)
    (folder / "ready").touch()
    time.sleep(60)
(folder / "result.json").write_text("{}")
"""


@pytest.fixture
def run(tmp_path):
    """Carry out runs of these names, the first the costliest."""
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)

    def go(names, slots, say=lambda text: None):
        costs = {name: float(len(names) - number) for number, name in enumerate(names)}
        return run_all(costs, tmp_path, slots, say, (sys.executable, str(stub)))

    return go


def test_runs_go_side_by_side_each_on_its_own_gpu(run, tmp_path):
    slots = [Slot("GPU 3", {"CUDA_VISIBLE_DEVICES": "3"}), Slot("GPU 5", {"CUDA_VISIBLE_DEVICES": "5"})]
    told = []
    assert run(["pair1", "pair2"], slots, told.append) == {}
    seen = {(tmp_path / "runs" / name / "began").read_text() for name in ("pair1", "pair2")}
    assert seen == {"3", "5"}
    assert "pair1: pair1 speaks" in told
    assert (tmp_path / "logs" / "pair1.txt").read_text() == "pair1 speaks\n"


def test_how_many_share_a_gpu_is_said_once(run):
    slots, told = [Slot("GPU 0", {}), Slot("GPU 1", {}), Slot("GPU 0", {})], []
    run(["one"], slots, told.append)
    assert told[0] == "1 run to do on GPU 0 (2 at a time), GPU 1: one"


def test_one_that_fails_takes_no_other_with_it_and_is_tried_again(run, tmp_path):
    names, slots, told = ["bad", "one", "shot", "two"], [Slot("the CPU", {})], []
    failed = run(names, slots, told.append)
    assert failed == {"bad": "the loss was no number", "shot": "ended by SIGKILL"}
    assert (tmp_path / "order").read_text().split() == ["bad", "one", "shot", "two"]  # the costliest first
    assert all((tmp_path / "runs" / name / "result.json").exists() for name in ("one", "two"))
    assert set(run(names, slots, told.append)) == {"bad", "shot"}
    assert (tmp_path / "order").read_text().split() == ["bad", "one", "shot", "two", "bad", "shot"]
    assert "2 of 4 runs are done" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_runs_with_a_checkpoint(number, run, tmp_path):
    before = signal.getsignal(number)

    def shoot():
        end = time.monotonic() + 20
        while time.monotonic() < end and not (tmp_path / "runs" / "slow" / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=shoot).start()
    with pytest.raises(InputError, match=f"stopped by {number.name}; the same command goes on"):
        run(["slow", "later"], [Slot("the CPU", {})])
    assert (tmp_path / "runs" / "slow" / "checkpoint").exists()
    assert not (tmp_path / "runs" / "later").exists()
    assert signal.getsignal(number) == before


def test_slots_are_the_gpus_that_are_there(monkeypatch):
    monkeypatch.setattr(runner.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in find_slots(None, False)] == ["4", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in find_slots(3, False)] == ["0", "1", "0"]
    assert [slot.label for slot in find_slots(None, True)] == ["the CPU"]
    monkeypatch.setattr(runner.torch.cuda, "device_count", lambda: 0)
    assert [slot.environment for slot in find_slots(2, False)] == [{}, {}]
    with pytest.raises(InputError, match="--jobs: want 1 or more, got 0"):
        find_slots(0, True)


def test_what_is_done_is_not_begun(run, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps({}))
    assert run(["one", "two"], [Slot("the CPU", {})]) == {}
    assert not (tmp_path / "order").exists()
