"""The compiled CPU engine as a guest: threads, fork, spawn, cache folders, plain AVX2 machines, start-up."""

import multiprocessing
import os
import subprocess
import sys

import pytest
import torch
from kernel_checks import draw_scan, run

from dnamamba.kernels import causal_conv1d, cpu_code, cpu_threads, rms_norm, selective_scan


def _everything() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    inputs = draw_scan(2, 100, 150, 16, resets=0.05)
    found = run(lambda **t: selective_scan(**t, return_final_state=True, engine="cpu"), inputs)
    conv = run(
        lambda **t: causal_conv1d(**t, engine="cpu"), {"x": torch.randn(2, 1100, 40), "weight": torch.randn(40, 4)}
    )
    norm = run(lambda **t: rms_norm(**t, engine="cpu"), {"x": torch.randn(1500, 40), "weight": torch.randn(40)})
    return found | {f"conv {k}": t for k, t in conv.items()} | {f"norm {k}": t for k, t in norm.items()}


def _child(queue) -> None:
    queue.put({name: tensor.numpy() for name, tensor in _everything().items()})


def test_bits_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(_everything())
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_after_fork_and_under_spawn(method):
    """A child of a process whose threads have run gets the same bits, and does not hang."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot start processes by {method}")
    torch.set_num_threads(2)
    ours = _everything()
    torch.set_num_threads(1)  # torch's own OpenMP threads do not survive a fork; data loaders do the same
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    theirs = queue.get(timeout=120)
    child.join(timeout=30)
    torch.set_num_threads(2)
    assert child.exitcode == 0
    assert all(torch.equal(ours[name], torch.from_numpy(theirs[name])) for name in ours)


def test_threads_of_one_process_share_the_engine():
    from concurrent.futures import ThreadPoolExecutor

    expected = _everything()
    with ThreadPoolExecutor(4) as pool:
        draw = draw_scan(2, 100, 150, 16, resets=0.05)
        runs = list(pool.map(lambda _: selective_scan(**draw, engine="cpu"), range(8)))
    assert all(torch.equal(y, runs[0]) for y in runs)
    assert expected.keys() == _everything().keys()


SCRIPT = """
import sys, time, torch
torch.manual_seed(0)
x, z, dt = torch.randn(3, 1, 70, 20)
B, C = torch.randn(2, 1, 70, 16)
A = -torch.rand(20, 16)
from dnamamba.kernels import selective_scan, reference
start = time.perf_counter()
t = [v.requires_grad_() for v in (x, dt, A, B, C, z)]
y = selective_scan(*t[:5], z=z, reset=torch.rand(1, 70) < 0.1)
y.square().sum().backward()
print(time.perf_counter() - start, y.double().norm().item(), A.grad.double().norm().item(), int("numba" in sys.modules))
"""


def _fresh(**env: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=200, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


def test_fresh_process_with_a_cold_a_warm_and_a_damaged_cache(tmp_path):
    cold = _fresh(DNAMAMBA_CACHE_DIR=str(tmp_path))
    kept = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert kept == ["add_parts", "walk_backward", "walk_forward"], "all the machine code, no half-written file"
    warm = _fresh(DNAMAMBA_CACHE_DIR=str(tmp_path))
    assert warm[1:3] == cold[1:3]
    assert (cold[3], warm[3]) == (1, 0), "numba is imported to compile only"
    damaged = next(tmp_path.rglob("walk_forward"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    mended = _fresh(DNAMAMBA_CACHE_DIR=str(tmp_path))
    assert mended[1:3] == cold[1:3]
    assert mended[3] == 1


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="names x86 processors")
def test_plain_avx2_machine_is_right(tmp_path):
    """Code for a 2013 processor, without AVX-512: other instructions, the same numbers to rounding."""
    narrow = _fresh(
        DNAMAMBA_CACHE_DIR=str(tmp_path),
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="+avx,+avx2,+fma,+f16c,+bmi,+bmi2",
    )
    assert narrow[1:3] == pytest.approx(_fresh()[1:3], rel=1e-5)


def _choose_folder(monkeypatch, **env: str):
    for name in ("DNAMAMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return cpu_code.cache_folder.__wrapped__()


def test_cache_folder_is_ours_and_closed_to_others(tmp_path, monkeypatch):
    wished = tmp_path / "wished"
    assert _choose_folder(monkeypatch, DNAMAMBA_CACHE_DIR=str(wished)).is_relative_to(wished)
    home = tmp_path / "home"
    assert _choose_folder(monkeypatch, XDG_CACHE_HOME=str(home)).is_relative_to(home / "dnamamba")

    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(cpu_code.tempfile, "gettempdir", lambda: str(temporary))
    chosen = _choose_folder(monkeypatch, XDG_CACHE_HOME=str(blocked))
    assert chosen.is_relative_to(temporary)
    assert chosen.stat().st_mode & 0o022 == 0

    chosen.chmod(0o777)  # anybody could plant code there
    assert _choose_folder(monkeypatch, XDG_CACHE_HOME=str(blocked)) is None


def test_an_error_in_a_task_reaches_the_caller():
    def broken(job, task, scratch):
        raise ZeroDivisionError(task)

    with pytest.raises(ZeroDivisionError):
        cpu_threads.run_tasks(broken, None, 3, 16)


def test_every_task_runs_once():
    done = []
    cpu_threads.run_tasks(lambda job, task, scratch: done.append((task, scratch % 64)), None, 100, 16)
    assert sorted(done) == [(task, 0) for task in range(100)]
