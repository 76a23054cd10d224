"""From letters in any form a user holds them to the tokens a model reads."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dnamamba.errors import InputError
from dnamamba.model.likelihood import Vocabulary
from dnamamba.pipelines.alphabet import Alphabet


def vocabulary_of(alphabet: Alphabet) -> Vocabulary:
    """What a model must know of `alphabet`. Set as `MambaLM.vocabulary`, it lets the model read letters."""
    return Vocabulary(encode=partial(encode, alphabet), start=alphabet.start, letters=len(alphabet.targets))


def encode(alphabet: Alphabet, sequence: object) -> Iterator[Tensor]:
    """Tokens of a sequence, uint8 [L] pieces in order.

    Args:
        alphabet: the table.
        sequence: str (as UTF-8), bytes, or a uint8 array [L] of letters: one piece. Or an iterable of uint8 arrays,
            such as a contig's `blocks()`: a piece each, never two of them in memory.

    Raises:
        InputError: another type, or a letter that the alphabet does not hold, with its position.
    """
    if isinstance(sequence, str | bytes | bytearray | memoryview | np.ndarray):
        yield _encode_piece(alphabet, sequence)
    elif isinstance(sequence, Iterable) and not isinstance(sequence, Tensor):
        start = 0
        for piece in sequence:
            try:
                tokens = _encode_piece(alphabet, piece)
            except InputError as error:
                raise InputError(f"block that starts at base {start + 1:,}: {error}") from None
            yield tokens
            start += len(tokens)
    else:
        raise InputError(f"a sequence is str, bytes or a uint8 array, or blocks of them; got {_kind(sequence)}")


def _encode_piece(alphabet: Alphabet, piece: object) -> Tensor:
    if isinstance(piece, str):
        piece = piece.encode()
    if isinstance(piece, bytes | bytearray | memoryview):
        piece = np.frombuffer(piece, np.uint8)
    if not isinstance(piece, np.ndarray) or piece.ndim != 1 or piece.dtype != np.uint8:
        raise InputError(f"a sequence is str, bytes or a uint8 array, one axis; got {_kind(piece)}")
    return torch.from_numpy(alphabet.encode(piece))


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {list(value.shape)}"
    return type(value).__name__
