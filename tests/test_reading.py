"""Reading many windows at once: pieces, strands, case, and the letter that is none."""

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_genome

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import BYTES, DNA
from dnamamba.reading import read_windows
from dnamamba.windows import Piece, Window


def test_pieces_are_joined_and_case_is_folded():
    genome = MemoryGenome("g", {"x": np.frombuffer(b"acgtNN", np.uint8), "y": np.frombuffer(b"TTTCAR", np.uint8)})
    pieces, out = (Piece(0, "x", 1, 5), Piece(0, "y", 3, 6)), np.empty((2, 7), np.uint8)
    windows = [Window(pieces, reverse=False), Window(pieces, reverse=True)]
    assert read_windows(windows, [genome], DNA, out) == [(0, 4), (0, 3)]
    assert DNA.decode(out[0]).tobytes() == b"CGTNCAR"
    assert DNA.decode(out[1]).tobytes() == b"YTGNACG"  # each piece the other strand, the last one first


def test_many_windows_are_what_each_is_alone():
    genomes = [random_genome("a", {"x": 500, "y": 400}), random_genome("b", {"x": 300}, seed=7)]
    rng, windows = np.random.default_rng(0), []
    for _ in range(60):
        lengths = np.diff([0, *sorted(rng.choice(np.arange(1, 40), rng.integers(0, 4), replace=False)), 40])
        pieces = []
        for length in lengths.tolist():
            number = int(rng.integers(2))
            start = int(rng.integers(0, 300 - length))
            pieces.append(Piece(number, "x", start, start + length))
        windows.append(Window(tuple(pieces), bool(rng.integers(2))))
    out = np.empty((60, 40), np.uint8)
    starts = read_windows(windows, genomes, DNA, out)
    for row, window, where in zip(out, windows, starts, strict=True):
        letters = np.concatenate([genomes[p.assembly][p.contig, slice(p.start, p.end)] for p in window.pieces])
        tokens = DNA.encode(letters)
        assert row.tolist() == (DNA.reverse_complement(tokens) if window.reverse else tokens).tolist()
        lengths = [piece.end - piece.start for piece in window.pieces][:: -1 if window.reverse else 1]
        assert list(where) == np.cumsum([0, *lengths[:-1]]).tolist()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_letter_that_is_none_is_named(reverse):
    genome = MemoryGenome("g", {"x": np.frombuffer(b"ACGTACEGT", np.uint8)})
    windows = [Window((Piece(0, "x", 0, 4),), reverse=False), Window((Piece(0, "x", 4, 8),), reverse=reverse)]
    with pytest.raises(InputError, match="g, x from base 5: base 3: 'E' is not in the dna alphabet"):
        read_windows(windows, [genome], DNA, np.empty((2, 4), np.uint8))


def test_every_byte_is_a_token_of_the_bytes_alphabet():
    text = np.arange(256, dtype=np.uint8)
    out = np.empty((1, 256), np.uint8)
    read_windows([Window((Piece(0, "c", 0, 256),), reverse=False)], [MemoryGenome("g", {"c": text})], BYTES, out)
    assert out[0].tolist() == text.tolist()
