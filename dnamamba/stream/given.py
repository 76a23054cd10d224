"""What a caller may give where sequences are wanted: a file, one sequence, several, or pairs of name and sequence."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.fasta import Names
from dnamamba.pipelines.letters import Gaps, LetterError, LetterRules, Unknown
from dnamamba.pipelines.sequence_files import SequenceFile, SequenceStream, open_sequences

Letters = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class HowToRead:
    """What becomes of names and letters."""

    names: Names = "first-word"
    """What of a FASTA header is a sequence's name: "first-word" or "full"."""
    gaps: Gaps = "error"
    """What becomes of alignment gaps: "error" or "drop"."""
    unknown: Unknown = "N"
    """What becomes of letters that are no nucleotide code: read as "N" and counted, or "error"."""
    rna: bool = False
    """Read U as T."""

    @property
    def rules(self) -> LetterRules:
        """For letters that are in memory."""
        return LetterRules(gaps=self.gaps, unknown=self.unknown, rna=self.rna)

    def open(self, path: str | os.PathLike[str]) -> SequenceFile:
        """`open_sequences` in this way."""
        return open_sequences(path, names=self.names, gaps=self.gaps, unknown=self.unknown, rna=self.rna)


@dataclass(slots=True)
class GivenSequence:
    """A sequence that is in memory already."""

    name: str
    letters: Letters
    unknown: int
    description: str = ""

    @property
    def length(self) -> int:
        """In letters."""
        return len(self.letters)

    def blocks(self) -> Iterator[Letters]:
        """The letters as one array; none for an empty sequence."""
        if len(self.letters):
            yield self.letters

    def read(self, start: int, end: int) -> Letters:
        """Letters [start, end)."""
        return self.letters[start:end]


def given_sequences(given: object, how: HowToRead) -> Iterator[SequenceStream]:
    """The sequences that a caller means.

    Args:
        given: a path (str or Path: any file that `open_sequences` reads), bytes or a uint8 array (one sequence), a
            mapping of name to sequence, or an iterable of sequences or (name, sequence) pairs. Inside a mapping or an
            iterable a str is a sequence.
        how: names and letters.

    Raises:
        InputError: something else, or a letter that cannot be kept.
    """
    if isinstance(given, str | os.PathLike):
        yield from how.open(given).contigs()
    elif isinstance(given, bytes | bytearray | np.ndarray):
        yield _sequence("sequence 1", given, how)
    elif isinstance(given, Mapping):
        for name, one in given.items():
            yield _sequence(str(name), one, how)
    elif isinstance(given, Iterable):
        for number, one in enumerate(given, 1):
            if isinstance(one, tuple) and len(one) == 2:
                yield _sequence(str(one[0]), one[1], how)
            else:
                yield _sequence(f"sequence {number}", one, how)
    else:
        raise InputError(f"want a path, a sequence, or several of them; got {type(given).__name__}")


@dataclass
class GivenBlocks:
    """A sequence that comes block by block, once."""

    name: str
    given: Iterable[object]
    how: HowToRead
    unknown: int = 0
    length: None = None
    description: str = ""

    def blocks(self) -> Iterator[Letters]:
        """As `SequenceStream.blocks`.

        Raises:
            InputError: a block that is no sequence, or a letter that cannot be kept.
        """
        seen, rules = 0, self.how.rules
        for one in self.given:
            try:
                text, letters, unknown = rules.clean(_bytes(self.name, one))
            except LetterError as error:
                raise InputError(f"{self.name}: base {seen + error.index + 1:,}: {error.problem}") from error
            seen += letters
            self.unknown += unknown
            if text:
                yield np.frombuffer(text, np.uint8)


def one_stream(given: object, how: HowToRead) -> GivenBlocks:
    """One sequence as a stream.

    Args:
        given: str, bytes or a uint8 array of letters, or an iterable of such blocks, read as far as it is needed.
        how: letters.

    Raises:
        InputError: something else.
    """
    if isinstance(given, str | bytes | bytearray | np.ndarray):
        return GivenBlocks("stream", [given], how)
    if isinstance(given, Iterable):
        return GivenBlocks("stream", given, how)
    raise InputError(f"want a sequence, or an iterable of its blocks; got {type(given).__name__}")


def _sequence(name: str, one: object, how: HowToRead) -> GivenSequence:
    try:
        text, _, unknown = how.rules.clean(_bytes(name, one))
    except LetterError as error:
        raise InputError(f"{name}: base {error.index + 1:,}: {error.problem}") from error
    return GivenSequence(name, np.frombuffer(text, np.uint8), unknown)


def _bytes(name: str, one: object) -> bytes:
    if isinstance(one, str):
        return one.encode()
    if isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.ndim == 1:
        return one.tobytes()
    if isinstance(one, bytes | bytearray):
        return bytes(one)
    kind = f"an array of {one.dtype}, shape {list(one.shape)}" if isinstance(one, np.ndarray) else type(one).__name__
    raise InputError(f"{name}: a sequence is str, bytes or a uint8 array [L]; got {kind}")
