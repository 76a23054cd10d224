"""What a caller may give where sequences are wanted: a file, one sequence, several, or pairs of name and sequence."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.fasta import Names
from dnamamba.pipelines.letters import LetterError, LetterRules
from dnamamba.pipelines.sequence_files import SequenceStream, open_sequences

Letters = NDArray[np.uint8]


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


def given_sequences(given: object, rules: LetterRules, names: Names = "first-word") -> Iterator[SequenceStream]:
    """The sequences that a caller means.

    Args:
        given: a path (str or Path: any file that `open_sequences` reads), bytes or a uint8 array (one sequence), a
            mapping of name to sequence, or an iterable of sequences or (name, sequence) pairs. Inside a mapping or an
            iterable a str is a sequence.
        rules: which letters are kept, dropped, replaced or refused.
        names: what of a FASTA header is the name.

    Raises:
        InputError: something else, or a letter that cannot be kept.
    """
    if isinstance(given, str | os.PathLike):
        file = open_sequences(given, names=names, gaps=rules.gaps, unknown=rules.unknown, rna=rules.rna)
        yield from file.contigs()
    elif isinstance(given, bytes | bytearray | np.ndarray):
        yield _sequence("sequence 1", given, rules)
    elif isinstance(given, Mapping):
        for name, one in given.items():
            yield _sequence(str(name), one, rules)
    elif isinstance(given, Iterable):
        for number, one in enumerate(given, 1):
            if isinstance(one, tuple) and len(one) == 2:
                yield _sequence(str(one[0]), one[1], rules)
            else:
                yield _sequence(f"sequence {number}", one, rules)
    else:
        raise InputError(f"want a path, a sequence, or several of them; got {type(given).__name__}")


@dataclass
class GivenBlocks:
    """A sequence that comes block by block, once."""

    name: str
    given: Iterable[object]
    rules: LetterRules
    unknown: int = 0
    length: None = None
    description: str = ""

    def blocks(self) -> Iterator[Letters]:
        """As `SequenceStream.blocks`.

        Raises:
            InputError: a block that is no sequence, or a letter that cannot be kept.
        """
        seen = 0
        for one in self.given:
            try:
                text, letters, unknown = self.rules.clean(_bytes(self.name, one))
            except LetterError as error:
                raise InputError(f"{self.name}: base {seen + error.index + 1:,}: {error.problem}") from error
            seen += letters
            self.unknown += unknown
            if text:
                yield np.frombuffer(text, np.uint8)


def one_stream(given: object, rules: LetterRules) -> GivenBlocks:
    """One sequence as a stream.

    Args:
        given: str, bytes or a uint8 array of letters, or an iterable of such blocks, read as far as it is needed.
        rules: which letters are kept, dropped, replaced or refused.

    Raises:
        InputError: something else.
    """
    if isinstance(given, str | bytes | bytearray | np.ndarray):
        return GivenBlocks("stream", [given], rules)
    if isinstance(given, Iterable):
        return GivenBlocks("stream", given, rules)
    raise InputError(f"want a sequence, or an iterable of its blocks; got {type(given).__name__}")


def _sequence(name: str, one: object, rules: LetterRules) -> GivenSequence:
    try:
        text, _, unknown = rules.clean(_bytes(name, one))
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
