"""The two alphabets: token numbers, both directions, complements, and what has no token."""

import pickle

import numpy as np
import pytest
from Bio.Data import IUPACData
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import ALPHABETS, BYTES, DNA, INVALID


def _array(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("latin-1"), np.uint8)


def _text(array: np.ndarray) -> str:
    return array.tobytes().decode("latin-1")


def test_token_numbers_are_fixed():
    # A store's models depend on them: they never change.
    assert DNA.encode(_array("ACGTNRYSWKMBDHV")).tolist() == list(range(15))
    assert (DNA.size, DNA.start, DNA.n, DNA.targets) == (16, 15, 4, (0, 1, 2, 3))
    assert (BYTES.size, BYTES.start, BYTES.n, BYTES.targets) == (256, 0, None, tuple(range(256)))
    assert ALPHABETS == {"dna": DNA, "bytes": BYTES}


def test_every_byte_has_a_token_or_is_refused():
    known = [byte for byte in range(256) if DNA.table[byte] != INVALID]
    assert bytes(known) == bytes(sorted(b"ACGTNRYSWKMBDHVacgtnryswkmbdhv"))
    assert BYTES.table.tolist() == BYTES.letters.tolist() == BYTES.complement.tolist() == list(range(256))


def test_complements_are_those_of_biopython():
    for letter, other in IUPACData.ambiguous_dna_complement.items():
        if letter != "X":
            token = DNA.table[ord(letter)]
            assert chr(DNA.letters[DNA.complement[token]]) == other
    assert DNA.complement[DNA.start] == DNA.start


@given(st.text("ACGTNRYSWKMBDHVacgtnryswkmbdhv"))
def test_dna_round_trip_and_reverse_complement(text):
    tokens = DNA.encode(_array(text))
    assert tokens.dtype == np.uint8
    assert _text(DNA.decode(tokens)) == text.upper()
    assert _text(DNA.decode(DNA.reverse_complement(tokens))) == str(Seq(text.upper()).reverse_complement())


def test_reverse_complement_works_row_by_row():
    tokens = DNA.encode(np.stack([_array("AACG"), _array("TTGN")]))
    assert _text(DNA.decode(DNA.reverse_complement(tokens))) == "CGTT" + "NCAA"


@given(st.binary())
def test_bytes_round_trip(data):
    array = np.frombuffer(data, np.uint8)
    assert BYTES.decode(BYTES.encode(array)).tobytes() == data
    assert BYTES.reverse_complement(array).tobytes() == data[::-1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("ACGX", r"^base 4: 'X' is not in the dna alphabet; unknown=\"N\" reads it as N$"),
        ("-ACG", r"^base 1: '-' is not in the dna alphabet: an alignment gap$"),
        ("ACU", r"^base 3: 'U' is not in the dna alphabet; RNA is read with rna=True$"),
        ("A" * 1233 + "\n", r"^base 1,234: '\\n'"),
        ("\xff", r"^base 1: 'ÿ'"),
    ],
)
def test_a_byte_without_token_is_named_with_its_place(text, message):
    with pytest.raises(InputError, match=message):
        DNA.encode(_array(text))


def test_unknown_and_rna():
    assert _text(DNA.decode(DNA.encode(_array("AX-u"), unknown="N"))) == "ANNN"
    assert _text(DNA.decode(DNA.encode(_array("AUu"), rna=True))) == "ATT"
    assert BYTES.encode(_array("U"), rna=True).tolist() == [ord("U")]


def test_alphabets_cannot_be_changed_and_pickle():
    with pytest.raises(ValueError, match="read-only"):
        DNA.table[0] = 0
    assert pickle.loads(pickle.dumps(DNA)).encode(_array("N")).tolist() == [4]
