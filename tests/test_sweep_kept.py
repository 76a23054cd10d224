"""What a sweep keeps: losses that numpy reads, and that are made again when a byte of them is wrong."""

import numpy as np
import pytest

from dnamamba.sweep.kept import keep_losses, kept_losses

LOSSES = np.random.default_rng(0).random((16, 256), np.float32)


def test_losses_come_back_and_numpy_reads_them(tmp_path):
    keep_losses(tmp_path / "64.npy", LOSSES)
    assert np.array_equal(kept_losses(tmp_path / "64.npy", (16, 256)), LOSSES)
    assert np.array_equal(np.load(tmp_path / "64.npy"), LOSSES)
    assert kept_losses(tmp_path / "64.npy", (17, 256)) is None
    assert kept_losses(tmp_path / "128.npy", (16, 256)) is None


@pytest.mark.parametrize("place", [0, 20, 90, 5000, -5, -1])
def test_damage_is_seen_wherever_it_is(tmp_path, place):
    path = tmp_path / "64.npy"
    keep_losses(path, LOSSES)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert kept_losses(path, (16, 256)) is None


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x93NUMPY", bytes(4)])
def test_what_is_no_array_is_none(tmp_path, data):
    (tmp_path / "64.npy").write_bytes(data)
    assert kept_losses(tmp_path / "64.npy", (16, 256)) is None
