"""The runs of a sweep as processes, one a GPU or one after the other; one that fails takes no other with it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Lock
from types import FrameType

import torch

from dnamamba.errors import InputError, UsageError
from dnamamba.outcome import Say
from dnamamba.sweep.plan import RUNS
from dnamamba.sweep.worker import RESULT

LOGS = "logs"
WORKER = (sys.executable, "-m", "dnamamba.sweep.worker")
"""What carries a run out."""
_LOOK = 0.2  # seconds between two looks at whether a signal came


@dataclass(frozen=True)
class Slot:
    """A place where one run at a time is carried out."""

    label: str
    environment: Mapping[str, str]


@dataclass
class _Children:
    """The processes at work, and whether they were told to stop."""

    running: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    stopped_by: signal.Signals | None = None

    def stop(self, number: int, frame: FrameType | None = None) -> None:
        """Tell all to stop: the first time they leave a checkpoint, the second time they do not wait for it."""
        again = self.stopped_by is not None
        self.stopped_by = signal.Signals(number)
        for child in list(self.running.values()):
            child.send_signal(signal.SIGKILL if again else signal.SIGTERM)


def find_slots(jobs: int | None, on_cpu: bool) -> list[Slot]:
    """One slot a visible GPU, or one on the CPU; `jobs` asks for another number, which share the GPUs in turn."""
    gpus: list[str] = []
    if not on_cpu:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        count = torch.cuda.device_count()
        gpus = [one.strip() for one in visible.split(",")][:count] if visible else [str(i) for i in range(count)]
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs: want 1 or more, got {jobs}")
    if not gpus:
        return [Slot("the CPU", {}) for _ in range(jobs or 1)]
    chosen = [gpus[i % len(gpus)] for i in range(jobs or len(gpus))]
    return [Slot(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in chosen]


def run_all(
    cost: Mapping[str, float], out: Path, slots: Sequence[Slot], say: Say, worker: Sequence[str] = WORKER
) -> dict[str, str]:
    """Carry out what is left of a sweep, the costliest run first.

    Args:
        cost: of each run, in any unit.
        out: folder of the sweep; what a run says goes to logs/NAME.txt as well.
        slots: where.
        say: told in a line what happens.
        worker: what is started for a run, with `out` and its name.

    Returns:
        Name -> what went wrong, for the runs that failed.

    Raises:
        InputError: stopped by SIGTERM or Ctrl-C; every run has left a checkpoint.
    """
    todo = sorted((name for name in cost if not (out / RUNS / name / RESULT).exists()), key=lambda n: -cost[n])
    if len(todo) < len(cost):
        say(f"{len(cost) - len(todo)} of {len(cost)} runs are done")
    if not todo:
        return {}
    places = ", ".join(
        label if times == 1 else f"{label} ({times} at a time)"
        for label, times in Counter(slot.label for slot in slots).items()
    )
    say(f"{len(todo)} {'runs' if len(todo) > 1 else 'run'} to do on {places}: {', '.join(todo)}")
    free: Queue[Slot] = Queue()
    for slot in slots:
        free.put(slot)
    children, failed, began = _Children(), {}, time.monotonic()
    done = 0.0

    def carry_out(name: str) -> None:
        nonlocal done
        slot = free.get()
        try:
            if children.stopped_by is not None:
                return
            say(f"{name}: on {slot.label}")
            error = _child([*worker, str(out), name], out, name, slot, children, say)
        finally:
            free.put(slot)
        if children.stopped_by is not None:
            return
        with children.lock:
            done += cost[name]
            left = (time.monotonic() - began) * (sum(cost[one] for one in todo) / done - 1)
        if error:
            failed[name] = error
            say(f"{name}: failed: {error}")
        else:
            say(f"{name}: done; about {left / 60:.0f} min of the sweep left" if left > 30 else f"{name}: done")

    before = {number: signal.signal(number, children.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with ThreadPoolExecutor(len(slots)) as pool:
            jobs = [pool.submit(carry_out, name) for name in todo]
            while wait(jobs, timeout=_LOOK).not_done:  # a signal is heard between two looks
                pass
        for job in jobs:
            job.result()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if children.stopped_by is not None:
        raise InputError(f"stopped by {children.stopped_by.name}; the same command goes on where the runs stopped")
    return {name: failed[name] for name in cost if name in failed}


def _child(command: Sequence[str], out: Path, name: str, slot: Slot, children: _Children, say: Say) -> str:
    """Run a worker to its end. Returns the last line of what it said when it failed, else nothing."""
    log = out / LOGS / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **slot.environment}
    last = ""
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment,
            start_new_session=True,  # Ctrl-C on the terminal comes to the sweep alone, which hands it on
        ) as child,
    ):  # fmt: skip
        with children.lock:
            children.running[name] = child
        if children.stopped_by is not None:  # the signal came while the process began
            child.terminate()
        assert child.stdout is not None
        for line in child.stdout:
            file.write(line)
            file.flush()
            if line.strip():
                last = line.strip()
                say(f"{name}: {last}")
        code = child.wait()
        with children.lock:
            del children.running[name]
    if code == 0:
        return ""
    return last if code > 0 and last else f"ended by {signal.Signals(-code).name}" if code < 0 else "no word"
