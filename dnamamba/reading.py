"""Windows to tokens: many at a time, since a window of a thousand bases costs less to read than to talk about."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.windows import Window

Tokens = npt.NDArray[np.uint8]


_WHOLE = (0,)  # where the pieces of a window of one piece start


def read_windows(
    windows: Sequence[Window], assemblies: Sequence[AssemblyLike], alphabet: Alphabet, out: Tokens
) -> list[tuple[int, ...]]:
    """Read windows of one length into the rows of `out`, uint8 tokens [B, L].

    Returns:
        Where the pieces of each window start, (0,) for a window of one piece.

    Raises:
        InputError: a letter that the alphabet does not have; assembly, contig and position are named.
    """
    forward, reverse = _tables(alphabet.name)
    rows = [i for i, window in enumerate(windows) if not window.reverse]
    if rows:
        out[rows] = _read((windows[i] for i in rows), assemblies, forward, out.shape[1])
    rows = [i for i, window in enumerate(windows) if window.reverse]
    if rows:  # the other strand is read from the window's end, so that its last piece comes first
        out[rows] = _read((windows[i] for i in rows), assemblies, reverse, out.shape[1])[:, ::-1]
    if alphabet.size < 256 and int(out.max()) >= alphabet.size:
        _name_the_letter(windows[int((out >= alphabet.size).any(axis=1).argmax())], assemblies, alphabet)
    return [_WHOLE if len(window.pieces) == 1 else _starts(window) for window in windows]


def _read(windows: Iterable[Window], assemblies: Sequence[AssemblyLike], table: bytes, length: int) -> Tokens:
    """Tokens of windows as they lie on the stored strand, [B, L], read-only."""
    pieces = [assemblies[number][contig, start:end] for w in windows for number, contig, start, end in w.pieces]
    # bytes.translate is five times as fast as an index into the table.
    joined = b"".join(pieces)  # type: ignore[arg-type]
    return np.frombuffer(joined.translate(table), np.uint8).reshape(-1, length)


def _starts(window: Window) -> tuple[int, ...]:
    lengths = [piece.end - piece.start for piece in window.pieces]
    if window.reverse:
        lengths.reverse()
    return tuple(accumulate(lengths[:-1], initial=0))


@cache
def _tables(name: str) -> tuple[bytes, bytes]:
    """Byte to token, on the strand that is stored and on the other."""
    alphabet = ALPHABETS[name]
    complement = np.full(256, 255, np.uint8)
    complement[: alphabet.size] = alphabet.complement
    return alphabet.table.tobytes(), complement[alphabet.table].tobytes()


def _name_the_letter(window: Window, assemblies: Sequence[AssemblyLike], alphabet: Alphabet) -> None:
    for piece in window.pieces:
        try:
            alphabet.encode(assemblies[piece.assembly][piece.contig, piece.start : piece.end])
        except InputError as error:
            where = f"{assemblies[piece.assembly].name}, {piece.contig} from base {piece.start + 1:,}"
            raise InputError(f"{where}: {error}") from None
