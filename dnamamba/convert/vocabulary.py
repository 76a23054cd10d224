"""Rows of a foreign embedding in the order of our alphabet: which of their tokens is A, C, G, T."""

import re

import torch
from torch import Tensor

from dnamamba.errors import InputError, UsageError
from dnamamba.pipelines.alphabet import ALPHABETS, BASES, IUPAC

START = "^"
_NEEDED = [*BASES.decode(), "N", START]


def parse_tokens(text: str) -> dict[str, int]:
    """Read "A=7,C=8,G=9,T=10,N=11,^=2": the row of each letter, ^ the token that stands before a sequence.

    Raises:
        InputError: another form, a letter that is not of DNA, one twice, or one of A, C, G, T, N and ^ missing.
    """
    rows: dict[str, int] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\S)\s*=\s*(\d{1,7})\s*", part)
        if match is None:
            raise UsageError(f"--tokens: want A=7,C=8,G=9,T=10,N=11,^=2 with the rows of the model, got {part!r}")
        letter = match[1].upper()
        if letter in rows or letter not in [*_NEEDED, *IUPAC.decode()]:
            raise UsageError(f"--tokens: {letter!r} is there twice or no letter of DNA")
        rows[letter] = int(match[2])
    missing = [letter for letter in _NEEDED if letter not in rows]
    if missing:
        raise UsageError(f"--tokens: the row of {missing[0]!r} is missing" + _hint(missing[0]))
    return rows


def in_dna_order(embedding: Tensor, rows: dict[str, int]) -> Tensor:
    """The rows of our dna alphabet, [16, d_model]; ambiguity codes that the model does not know read as its N.

    Raises:
        InputError: a row that the embedding does not have.
    """
    for letter, row in rows.items():
        if row >= len(embedding):
            raise InputError(
                f"--tokens: {letter}={row}, and the model has {len(embedding)} tokens, 0 to {len(embedding) - 1}"
            )
    letters = bytes(ALPHABETS["dna"].letters).decode()
    return embedding[torch.tensor([rows.get(letter, rows["N"]) for letter in letters])].contiguous()


def _hint(letter: str) -> str:
    return "; it is the token that stands before a sequence (BOS, CLS)" if letter == START else ""
