"""What becomes of each byte of a FASTA sequence line: kept, dropped, replaced or refused."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from dnamamba.pipelines.alphabet import BASES, IUPAC

Gaps = Literal["error", "drop"]
Unknown = Literal["error", "N"]

BLANKS = b" \t\r\n\v\f"
GAPS = b"-."
_PROTEIN_ONLY = b"EFILPQ"  # residues that are no nucleotide code


def _both_cases(letters: bytes) -> bytes:
    return letters + letters.lower()


_DNA = _both_cases(BASES + b"N" + IUPAC)
_ALL_LETTERS = _both_cases(bytes(range(ord("A"), ord("Z") + 1)))
# What `unknown="N"` replaces: letters of other alphabets and the usual signs for "any". Digits, control characters
# and the like are no sequence in any alphabet: they are refused always.
_REPLACEABLE = bytes(c for c in _ALL_LETTERS if c not in _DNA + b"Uu") + b"*?"


class LetterError(Exception):
    """A byte that cannot be kept. `index` counts in the raw text, line breaks included."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.problem = problem


class Cleaned(NamedTuple):
    """What is left of raw text."""

    text: bytes
    """The letters that are kept."""
    letters: int
    """Letters that the source has there: more than are kept, when gaps are dropped."""
    unknown: int = 0
    """Letters that were read as N because they are no nucleotide code."""


@dataclass(frozen=True)
class LetterRules:
    """How sequence lines are read. The defaults keep A C G T N and IUPAC codes in their case and refuse the rest."""

    gaps: Gaps = "error"
    """"drop" leaves alignment gaps ("-" and ".") out."""
    unknown: Unknown = "error"
    """"N" reads other letters, "*" and "?" as N (n for lower case)."""
    rna: bool = False
    """Read U as T (u as t)."""

    def __post_init__(self) -> None:
        if self.gaps not in ("error", "drop"):
            raise ValueError(f'gaps must be "error" or "drop", got {self.gaps!r}')
        if self.unknown not in ("error", "N"):
            raise ValueError(f'unknown must be "error" or "N", got {self.unknown!r}')

    def clean(self, raw: bytes) -> Cleaned:
        """Take the sequence out of raw text: blanks and line breaks out, letters checked.

        Args:
            raw: sequence lines, or any part of them.

        Raises:
            LetterError: the first byte that cannot be kept.
        """
        # Clean text is by far the most common: two or three passes at several GB/s each.
        text = raw.replace(b"\n", b"")
        if b"\r" in text:
            text = text.replace(b"\r", b"")
        if not text.translate(None, _DNA):
            return Cleaned(text, len(text))
        refused = raw.translate(None, self._accepted)
        if refused:
            raise LetterError(raw.index(refused[:1]), _problem(refused[0], raw))
        if self.unknown == "N" and _looks_like_protein(raw):
            bad = raw.translate(None, _DNA + BLANKS + GAPS)
            raise LetterError(raw.index(bad[:1]), _problem(bad[0], raw))
        text = raw.translate(self._table, BLANKS + GAPS if self.gaps == "drop" else BLANKS)
        gaps = sum(raw.count(gap) for gap in GAPS) if self.gaps == "drop" else 0
        return Cleaned(text, len(text) + gaps, len(raw) - len(raw.translate(None, _REPLACEABLE)))

    @cached_property
    def _accepted(self) -> bytes:
        return (
            _DNA
            + BLANKS
            + (GAPS if self.gaps == "drop" else b"")
            + (_REPLACEABLE if self.unknown == "N" else b"")
            + (b"Uu" if self.rna else b"")
        )

    @cached_property
    def _table(self) -> bytes:
        table = bytearray(range(256))
        for byte in _REPLACEABLE if self.unknown == "N" else b"":
            table[byte] = ord("n") if chr(byte).islower() else ord("N")
        if self.rna:
            table[ord("U")], table[ord("u")] = b"Tt"
        return bytes(table)


def _looks_like_protein(raw: bytes) -> bool:
    counts = [raw.count(c) + raw.count(c + 32) for c in _PROTEIN_ONLY]
    letters = len(raw.translate(None, BLANKS + GAPS))
    return sum(count > 0 for count in counts) >= 3 and sum(counts) > 0.1 * letters


def _problem(byte: int, raw: bytes) -> str:
    """One clause: what was found, and what to do about it."""
    found = repr(chr(byte)) if 32 < byte < 127 else f"byte 0x{byte:02x}"
    if byte in _ALL_LETTERS + b"*?" and _looks_like_protein(raw):
        return f"found {found}; this looks like protein, and a DNA sequence is wanted"
    if byte in GAPS:
        return f"found {found}, an alignment gap; --gaps drop leaves gaps out"
    if byte in b"Uu":
        return f"found {found}, an RNA letter; --rna reads U as T"
    if byte == ord(">"):
        return "found '>' inside a line; a header's '>' is the first character of its line"
    if byte in _REPLACEABLE:
        return f"found {found}, not a DNA letter; --unknown N reads it as N"
    return f"found {found}, not a DNA letter; correct or remove it"
