"""Training by several processes on a CPU: the weights of one process, however they share the work; stop and resume."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from parallel_training_cases import RESUMED, WAYS, make_store
from pretrain_runs import write_config
from safetensors.torch import load_file

from dnamamba.checkpoints import latest_checkpoint
from dnamamba.errors import InputError
from dnamamba.parallel.launch import Launch, check_launch, find_launch
from dnamamba.parallel.processes import ALONE
from dnamamba.report import read_log

HERE = Path(__file__).parent
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def start(*command: object) -> subprocess.Popen[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(list(map(str, command)), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pretrain(*arguments: object) -> subprocess.Popen[str]:
    return start(*LAUNCHER, "--nproc-per-node=2", "-m", "dnamamba", "pretrain", *arguments)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=200)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights that one, two and four processes came to."""
    folder = tmp_path_factory.mktemp("processes")
    make_store(folder)
    process = start(sys.executable, HERE / "parallel_training_cases.py", folder)
    _, errors = finish(process)
    assert process.returncode == 0, errors[-4000:]
    return folder


def assert_same(folder: Path, name: str, other: str, limit: float) -> None:
    ours, theirs = load_file(folder / f"{name}.safetensors"), load_file(folder / f"{other}.safetensors")
    assert ours.keys() == theirs.keys()
    for key, weight in ours.items():
        error = float((weight - theirs[key]).norm() / theirs[key].norm())
        assert error <= limit, f"{key}: relative error {error:.1e}"


@pytest.mark.parametrize("way", [f"{way} 2" for way in WAYS] + ["context 4"])
def test_several_processes_train_what_one_does(way, trained):
    same = way.removesuffix(" 2")
    alone = f"{same} 1" if "carried" in way else "data 1"
    assert_same(trained, way, alone, 1e-5)
    ours, theirs = ([row["loss"] for row in read_log(trained / n / "logs") if "loss" in row] for n in (way, alone))
    assert len(ours) == 12
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("way", RESUMED)
def test_a_resumed_training_ends_with_the_same_bits(way, trained):
    assert_same(trained, f"{way} 2, resumed", f"{way} 2", 0.0)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads of a process are listed on Linux")
def test_no_thread_of_the_group_outlives_it():
    process = start(*LAUNCHER, "--nproc-per-node=2", HERE / "parting_case.py")
    said, errors = finish(process)
    assert process.returncode == 0, errors[-4000:]
    assert re.findall(r"parted (\d+)", said) == ["0", "0"]
    assert all(int(count) > 1 for count in re.findall(r"together (\d+)", said))


def test_ways_differ_where_they_should(trained):
    carried, plain = (load_file(trained / f"{name}.safetensors") for name in ("data, states carried 1", "data 1"))
    assert any(not carried[name].equal(plain[name]) for name in plain)


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(pid) for pid in found]


def test_a_signal_to_one_process_stops_both_and_the_run_resumes(tmp_path):
    run = tmp_path / "run"
    process = pretrain(write_config(tmp_path, simulate={"bases": 60_000}, evaluation={"targets": 512}), "--out", run)
    while not list((run / "checkpoints").glob("step-*")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.kill(children(process.pid)[1], signal.SIGTERM)
    _, errors = finish(process)
    assert process.returncode == 1
    assert "stopped by SIGTERM after step" in errors
    assert f"dnamamba pretrain --resume --out {run}" in errors
    step = latest_checkpoint(run / "checkpoints", print).step
    assert f"after step {step} of 40" in errors
    out, errors = finish(pretrain("--resume", "--out", run))
    assert f"going on after step {step}" in errors
    assert (run / "model.safetensors").exists()
    for text, said in ((out, "Held-out perplexity"), (errors, "fitting the Markov baseline")):
        assert text.count(said) == 1
    losses = [row["loss"] for row in read_log(run / "logs") if "loss" in row]
    assert len(losses) == 40


def test_bad_input_is_said_once_and_ends_all(tmp_path):
    process = pretrain(write_config(tmp_path), "--out", tmp_path)
    _, errors = finish(process)
    assert process.returncode == 1
    assert errors.count("dnamamba: error:") == 1
    assert "is not empty; --resume goes on with a run" in errors


@pytest.mark.parametrize(
    "devices, nodes, context, message",
    [
        (4, None, 1, r"run.devices: 4 wanted, 2 started; start with: torchrun --nproc-per-node 4 --nnodes 2 -m "),
        (None, 1, 1, "run.nodes: 1 wanted, 2 started"),
        (2, 2, 3, "run.context_parallel: 3 processes a sequence do not divide the 4 started"),
    ],
)
def test_what_was_started_must_be_what_is_wanted(devices, nodes, context, message):
    with pytest.raises(InputError, match=message):
        check_launch(Launch(rank=3, size=4, local_rank=1, nodes=2), devices, nodes, context)
    check_launch(Launch(rank=3, size=4, local_rank=1, nodes=2), 2, 2, 4)


def test_slurm_is_recognised(monkeypatch):
    assert find_launch() == Launch()
    for name, value in {
        "SLURM_NTASKS": 8, "SLURM_NTASKS_PER_NODE": 4, "SLURM_NNODES": 2, "SLURM_PROCID": 6, "SLURM_LOCALID": 2,
        "SLURM_NODEID": 1, "SLURM_JOB_ID": 1234567, "SLURM_NODELIST": "node[17-18]", "SLURM_JOB_NAME": "apes",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that they are put back afterwards
        monkeypatch.delenv(name)
    launch = find_launch()
    assert (launch.rank, launch.size, launch.local_rank, launch.nodes) == (6, 8, 2, 2)
    assert os.environ["MASTER_ADDR"] == "node17"
    assert int(os.environ["MASTER_PORT"]) == 15000 + 4567


def test_alone_nothing_is_shared():
    assert (ALONE.size, ALONE.data_rank, ALONE.data_size, ALONE.is_first) == (1, 0, 1, True)
    assert ALONE.from_first(lambda: 3) == 3
    assert ALONE.largest(2, 7) == [2, 7]
    assert ALONE.piece(5, 9) == (5, 9)
