"""Alphabets: which byte of a sequence is which token, and back."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError

Bytes = NDArray[np.uint8]

INVALID = 255
"""Entry of a dna table for a byte that is no letter of it. (In the bytes alphabet 255 is a token like any other.)"""

BASES = b"ACGT"
IUPAC = b"RYSWKMBDHV"
_PAIRS = (b"ACGTNRYSWKMBDHV", b"TGCANYRSWMKVHDB")
"""Letters and their complements, in token order. Source: Cornish-Bowden, Nucleic Acids Research 13 (1985), table 1."""


@dataclass(frozen=True, eq=False)
class Alphabet:
    """A fixed map from bytes to tokens. The two that exist are `DNA` and `BYTES`; `ALPHABETS` holds them by name."""

    name: str
    size: int
    """Number of tokens."""
    start: int
    """Token that stands once at the start of every stream."""
    n: int | None
    """Token of N, the unknown base; None where the alphabet has none."""
    targets: tuple[int, ...]
    """Tokens that the loss counts."""
    table: Bytes = field(repr=False)
    """[256] byte -> token, `INVALID` where there is none (dna only)."""
    letters: Bytes = field(repr=False)
    """[size] token -> byte, upper case. The start token, which is no letter, reads "^"."""
    complement: Bytes = field(repr=False)
    """[size] token -> token of the other strand; the identity for bytes."""

    def encode(self, sequence: Bytes, *, unknown: Literal["error", "N"] = "error", rna: bool = False) -> Bytes:
        """Turn bytes into tokens. Case is folded by the dna alphabet.

        Args:
            sequence: uint8, any shape; the bytes of a sequence.
            unknown: "N" reads any byte without a token as N; "error" refuses it.
            rna: read U as T.

        Returns:
            uint8 tokens, a new array in the shape of `sequence`.

        Raises:
            InputError: a byte without a token; the message says where.
        """
        table = self.table
        if rna and self.name == "dna":
            table = table.copy()
            table[list(b"Uu")] = table[ord("T")]
        tokens = np.take(table, sequence)
        if self.size == 256:
            return tokens
        bad = tokens == INVALID
        if bad.any():
            if unknown == "error":
                where = int(np.flatnonzero(bad)[0])
                found = chr(sequence.ravel()[where])
                raise InputError(f"base {where + 1:,}: {found!r} is not in the {self.name} alphabet{_hint(found)}")
            tokens[bad] = self.n if self.n is not None else INVALID
        return tokens

    def decode(self, tokens: Bytes) -> Bytes:
        """Turn tokens into upper-case bytes, in the shape of `tokens`. A token past `size` raises IndexError."""
        return np.take(self.letters, tokens)

    def reverse_complement(self, tokens: Bytes) -> Bytes:
        """The other strand, read in its own direction: the last axis reversed, each token complemented.

        For bytes, which have no strands, this only reverses.
        """
        return np.take(self.complement, tokens[..., ::-1])


def _hint(found: str) -> str:
    if found in "Uu":
        return "; RNA is read with rna=True"
    if found in "-.":
        return ": an alignment gap"
    return '; unknown="N" reads it as N'


def _dna() -> Alphabet:
    ours, theirs = _PAIRS
    start = len(ours)
    table = np.full(256, INVALID, np.uint8)
    for token, letter in enumerate(ours):
        table[[letter, ord(chr(letter).lower())]] = token
    complement = np.array([ours.index(letter) for letter in theirs] + [start], np.uint8)
    return Alphabet(
        name="dna",
        size=16,
        start=start,
        n=ours.index(b"N"),
        targets=tuple(range(len(BASES))),
        table=_frozen(table),
        letters=_frozen(np.frombuffer(ours + b"^", np.uint8)),
        complement=_frozen(complement),
    )


def _bytes() -> Alphabet:
    every = np.arange(256, dtype=np.uint8)
    return Alphabet(
        name="bytes",
        size=256,
        start=0,
        n=None,
        targets=tuple(range(256)),
        table=_frozen(every),
        letters=_frozen(every),
        complement=_frozen(every),
    )


def _frozen(array: Bytes) -> Bytes:
    array = array.copy()
    array.flags.writeable = False
    return array


DNA = _dna()
BYTES = _bytes()
ALPHABETS = {"dna": DNA, "bytes": BYTES}
