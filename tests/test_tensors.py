"""to_torch: the same memory where that can be, the model's tokens where they are asked for."""

import numpy as np
import pytest
import torch
from memory_genomes import random_dna
from store_cases import write_fasta

import dnamamba
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import BYTES, DNA
from dnamamba.pipelines.ingest import ingest


def test_bytes_are_not_copied():
    bases = random_dna(100)[:].copy()
    tensor = dnamamba.to_torch(bases)
    assert (tensor.dtype, tensor.data_ptr()) == (torch.uint8, bases.ctypes.data)
    bases[3] = ord("N")
    assert tensor[3] == ord("N")


def test_windows_of_a_store_are_not_copied(tmp_path):
    sequence = random_dna(5000)
    ingest(write_fasta(tmp_path / "g.fa", {"chr1": sequence}), tmp_path / "s")
    window = dnamamba.open_store(tmp_path / "s")["g"]["chr1", 1000:3000]
    tensor = dnamamba.to_torch(window)
    assert tensor.data_ptr() == window.ctypes.data
    assert bytes(tensor.tolist()) == sequence[1000:3000].tobytes()
    assert torch.from_dlpack(window).data_ptr() == window.ctypes.data


def test_read_only_and_backward_arrays_are_copied_without_a_warning(recwarn):
    bases = np.frombuffer(b"ACGTN", np.uint8)
    assert dnamamba.to_torch(bases).tolist() == list(b"ACGTN")
    assert dnamamba.to_torch(bases.copy()[::-1]).tolist() == list(b"NTGCA")
    assert not recwarn.list


def test_tokens_are_the_model_s():
    bases = np.stack([random_dna(50), random_dna(50, 1)])
    for name, alphabet in (("dna", DNA), ("bytes", BYTES)):
        tokens = dnamamba.to_torch(bases, name)
        assert (tokens.dtype, tokens.shape) == (torch.uint8, (2, 50))
        assert np.array_equal(tokens.numpy(), alphabet.encode(bases))
        assert torch.equal(tokens, dnamamba.to_torch(bases, alphabet))
    tokens = dnamamba.to_torch(bases, "bytes")
    tokens[0, 0] = 0
    assert bases[0, 0] != 0  # tokens are memory of their own


@pytest.mark.parametrize(
    "bases, alphabet, message",
    [
        (np.arange(3), None, "want a uint8 array of bases, as an assembly gives it; got int64"),
        (b"ACGT", None, "got bytes"),
        (random_dna(3), "protein", "no alphabet 'protein'; there are dna, bytes"),
        (np.frombuffer(b"AC-T", np.uint8), "dna", "base 3: '-' is not in the dna alphabet"),
    ],
)
def test_other_things_are_refused(bases, alphabet, message):
    with pytest.raises(InputError, match=message):
        dnamamba.to_torch(bases, alphabet)
