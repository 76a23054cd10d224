"""Checkpoints: written whole whatever is killed when, read back to the bit, damage seen and passed over."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from dnamamba import checkpoints
from dnamamba.checkpoints import Best, checkpoint_of_step, latest_checkpoint, save_checkpoint
from dnamamba.errors import InputError


def _save(folder, step, keep=3, best=None):
    tensors = {"model.w": torch.full((4,), float(step))}
    return save_checkpoint(folder, step, tensors, {"tokens": step * 10}, keep, best)


def _best(step):
    return Best(step, 1.25, {"1024": 3.5})


def _latest(folder):
    return latest_checkpoint(folder, pytest.fail)


def test_the_newest_comes_back_to_the_bit(tmp_path):
    for step in (1, 2, 10):
        _save(tmp_path, step)
    found = _latest(tmp_path)
    assert found.step == 10
    assert found.state["tokens"] == 100
    assert found.best is None
    assert torch.equal(found.tensors["model.w"], torch.full((4,), 10.0))


def test_only_the_last_ones_are_kept(tmp_path):
    for step in range(1, 6):
        _save(tmp_path, step, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000004", "step-000000005"]


def test_the_best_is_kept_and_marked(tmp_path):
    for step in range(1, 8):
        _save(tmp_path, step, keep=2, best=_best(3 if step >= 3 else 1))
    kept = ["best.json", "step-000000003", "step-000000006", "step-000000007"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == kept
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 3, "nats": 1.25, "perplexity": {"1024": 3.5}}
    assert _latest(tmp_path).best == _best(3)
    assert torch.equal(checkpoint_of_step(tmp_path, 3).tensors["model.w"], torch.full((4,), 3.0))
    with pytest.raises(InputError, match=r"step-000000005: damaged or missing"):
        checkpoint_of_step(tmp_path, 5)


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a bit of the tensors": lambda path: _flip(path / "tensors.safetensors", -1),
    "tensors cut short": lambda path: os.truncate(path / "tensors.safetensors", 50),
    "no tensors": lambda path: (path / "tensors.safetensors").unlink(),
    "no state": lambda path: (path / "state.json").unlink(),
    "half the state": lambda path: os.truncate(path / "state.json", 20),
    "another number": lambda path: (path / "state.json").write_text(
        (path / "state.json").read_text().replace('"tokens": 20', '"tokens": 21')
    ),
    "another format": lambda path: (path / "state.json").write_text(
        (path / "state.json").read_text().replace("dnamamba-checkpoint-2", "dnamamba-checkpoint-0")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_said_aloud_and_the_one_before_is_used(tmp_path, damage):
    _save(tmp_path, 1)
    path = _save(tmp_path, 2)
    DAMAGE[damage](path)
    told = []
    assert latest_checkpoint(tmp_path, told.append).step == 1
    assert len(told) == 1
    assert told[0].startswith(f"{path} is damaged (")
    _save(tmp_path, 2)  # the resumed run comes by here again and puts a whole one in its place
    assert _latest(tmp_path).step == 2


class _Killed(BaseException):
    """Stands for SIGKILL: nothing in the package catches it, and nothing is tidied up after it."""


def _kill_at(monkeypatch, count):
    """Let the `count`-th operation on files be the last one: half of a write, none of a rename or removal."""
    left = [count]

    def before(operation, half=None):
        def wrapped(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                if half is not None:
                    half(*arguments)
                raise _Killed
            return operation(*arguments, **options)

        return wrapped

    half_file = lambda tensors, path: Path(path).write_bytes(b"half")  # noqa: E731
    monkeypatch.setattr(checkpoints, "save_file", before(checkpoints.save_file, half_file))
    monkeypatch.setattr(Path, "write_text", before(Path.write_text, lambda path, text: path.write_bytes(b"{")))
    monkeypatch.setattr(os, "replace", before(os.replace))
    monkeypatch.setattr(os, "fsync", before(os.fsync))
    first = lambda path: next(Path(path).iterdir()).unlink()  # noqa: E731
    monkeypatch.setattr(shutil, "rmtree", before(shutil.rmtree, first))
    return left


def test_a_kill_at_any_moment_leaves_whole_checkpoints(tmp_path):
    moments = 0
    while True:
        moments += 1
        folder = tmp_path / str(moments)
        for step in (1, 2, 3):
            _save(folder, step, keep=2, best=_best(1))
        with pytest.MonkeyPatch.context() as patch:
            left = _kill_at(patch, moments)
            try:
                _save(folder, 4, keep=2, best=_best(4))
            except _Killed:
                pass
            else:
                assert left[0] > 0
                break
        found = _latest(folder)
        assert found.step in (3, 4)
        assert torch.equal(found.tensors["model.w"], torch.full((4,), float(found.step)))
        for path in folder.glob("step-*"):  # what has that name is whole
            assert checkpoint_of_step(folder, int(path.name[5:])).step == int(path.name[5:])
        best = checkpoint_of_step(folder, found.best.step)
        assert torch.equal(best.tensors["model.w"], torch.full((4,), float(found.best.step)))
        _save(folder, 4, keep=2, best=_best(4))
        names = ["best.json", "step-000000003", "step-000000004"]
        assert [path.name for path in sorted(folder.iterdir())] == names
        assert json.loads((folder / "best.json").read_text())["step"] == 4
    assert moments > 12


def test_none_at_all_is_the_users_to_fix(tmp_path):
    with pytest.raises(InputError, match="no whole checkpoint to resume from"):
        _latest(tmp_path)
