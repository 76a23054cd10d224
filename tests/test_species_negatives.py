"""Shuffled windows keep their dinucleotides; files give their windows."""

from collections import Counter

import numpy as np
import pytest
from species_cases import composed_dna, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.negatives import UnlikeFiles, shuffle_dinucleotides, shuffled


def _pairs(tokens):
    return Counter(zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True))


@pytest.mark.parametrize("length", [1, 2, 3, 10, 700])
@pytest.mark.parametrize("letters", [2, 5])
def test_dinucleotides_stay(length, letters):
    rng = np.random.default_rng(length)
    tokens = rng.integers(0, letters, length).astype(np.uint8)
    other = shuffle_dinucleotides(tokens, rng)
    assert _pairs(other) == _pairs(tokens)
    assert other[0] == tokens[0]
    if length > 100:
        assert (other != tokens).mean() > 0.2


def test_every_arrangement_comes():
    """AABAB.. small enough to list: all paths with the same pairs are drawn about equally often."""
    tokens = np.array([0, 1, 0, 0, 2, 0], np.uint8)
    rng = np.random.default_rng(0)
    seen = Counter(tuple(shuffle_dinucleotides(tokens, rng).tolist()) for _ in range(3000))
    assert len(seen) == 6  # the orders of the three loops at 0
    assert min(seen.values()) > 3000 / 6 * 0.8


def test_shuffles_are_the_same_for_a_seed():
    tokens = np.random.default_rng(0).integers(0, 4, (3, 50)).astype(np.uint8)
    assert np.array_equal(shuffled(tokens, 1), shuffled(tokens, 1))
    assert not np.array_equal(shuffled(tokens, 1), shuffled(tokens, 2))


def test_files_give_windows(tmp_path):
    bases = composed_dna(1000, 0.5, 0)
    files = UnlikeFiles([f"x={write_fasta(tmp_path / 'x.fa', {'a': bases})}"], DNA)
    got = files.windows(300, 2)["x"]
    assert np.array_equal(got, DNA.encode(bases)[:900].reshape(3, 300)[[0, 2]])
    assert files.windows(2000, 5) == {}
    with pytest.raises(InputError, match="want CLASS=FILE"):
        UnlikeFiles(["x.fa"], DNA)
