"""Checkpoints: written whole, read back to the bit, damage seen and passed over."""

import shutil

import pytest
import torch

from dnamamba.checkpoints import latest_checkpoint, save_checkpoint
from dnamamba.errors import InputError


def _save(folder, step, keep=3):
    return save_checkpoint(folder, step, {"model.w": torch.full((4,), float(step))}, {"tokens": step * 10}, keep)


def test_the_newest_comes_back_to_the_bit(tmp_path):
    for step in (1, 2, 10):
        _save(tmp_path, step)
    found = latest_checkpoint(tmp_path)
    assert found.step == 10
    assert found.state["tokens"] == 100
    assert torch.equal(found.tensors["model.w"], torch.full((4,), 10.0))


def test_only_the_last_ones_are_kept(tmp_path):
    for step in range(1, 6):
        _save(tmp_path, step, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000004", "step-000000005"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "no state", "half json", "other format"])
def test_a_damaged_one_is_said_aloud_and_the_one_before_is_used(tmp_path, damage):
    _save(tmp_path, 1)
    path = _save(tmp_path, 2)
    tensors, state = path / "tensors.safetensors", path / "state.json"
    if damage == "flip":
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "truncate":
        tensors.write_bytes(tensors.read_bytes()[:-5])
    elif damage == "no state":
        state.unlink()
    elif damage == "half json":
        state.write_text(state.read_text()[:20])
    else:
        state.write_text(state.read_text().replace("dnamamba-checkpoint-1", "dnamamba-checkpoint-0"))
    with pytest.warns(UserWarning, match="step-000000002 is damaged"):
        assert latest_checkpoint(tmp_path).step == 1


def test_a_write_that_was_killed_leaves_no_checkpoint(tmp_path):
    path = _save(tmp_path, 1)
    shutil.copytree(path, tmp_path / ".writing-step-000000002")
    assert latest_checkpoint(tmp_path).step == 1
    _save(tmp_path, 2)
    assert not list(tmp_path.glob(".writing-*"))


def test_none_at_all_is_the_users_to_fix(tmp_path):
    with pytest.raises(InputError, match="no whole checkpoint to resume from"):
        latest_checkpoint(tmp_path)
