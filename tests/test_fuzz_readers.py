"""The fuzzer of the readers: some hundred of its inputs, and that it sees what it looks for."""

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dnamamba.pipelines import letters, twobit

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from fuzz_readers import FILES, check
from twobit_writer import twobit_bytes

FEW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(FILES["fasta"])
def test_fasta(tmp_path, data):
    check(data, tmp_path / "in")


@FEW
@given(FILES["2bit"])
def test_twobit(tmp_path, data):
    check(data, tmp_path / "in")


def test_a_reader_that_keeps_a_wrong_letter_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(letters, "_DNA", letters._DNA + b"!")
    with pytest.raises(AssertionError, match="letters"):
        check(b">a\nAC!GT\n", tmp_path / "in")


def test_a_reader_that_allocates_is_seen(tmp_path, monkeypatch):
    real = twobit.TwoBitFile._decoded
    monkeypatch.setattr(twobit.TwoBitFile, "_decoded", lambda self, *where: (bytearray(2**25), real(self, *where))[1])
    with pytest.raises(AssertionError, match="bytes allocated for"):
        check(twobit_bytes([("a", b"ACGT")]), tmp_path / "in")


def test_an_error_of_another_kind_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(twobit.TwoBitFile, "_fits", lambda self, name, what, at, count: at + count)
    data = bytearray(twobit_bytes([("c", b"TCAGNnacg")]))
    data[18:22] = (5_000).to_bytes(4, "little")  # the record lies behind the end
    monkeypatch.setattr(twobit.TwoBitFile, "_bytes", lambda self, at, count: data[at : at + count])
    with pytest.raises(struct.error):
        check(bytes(data), tmp_path / "in")
