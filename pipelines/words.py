"""Words of a sequence as numbers, two bits a base."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_MIX = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's bits, an odd number (Knuth, TAOCP 3, 6.4)


def words(tokens: Bytes, width: int) -> tuple[Codes, Bools]:
    """The word that starts at each place.

    Args:
        tokens: A, C, G, T as 0 .. 3, anything else breaks a word; uint8 [L].
        width: bases of a word, 1 to 31.

    Returns:
        The words, the first base in the highest bits, and whether all of each is A, C, G, T; [max(0, L - width + 1)].
        The numbers of broken words mean nothing.
    """
    places = max(0, len(tokens) - width + 1)
    bad = np.append(0, np.cumsum(tokens > 3))
    whole = bad[width : width + places] == bad[:places]
    codes, done = np.zeros(len(tokens), np.uint64), 0
    power, span = (tokens & 3).astype(np.uint64), 1  # words of `span` bases that start at each place
    while span <= width and places:
        if width & span:
            codes = (codes[: len(power) - done] << np.uint64(2 * span)) | power[done:]
            done += span
        power = (power[:-span] << np.uint64(2 * span)) | power[span:]
        span *= 2
    return codes[:places], whole


def hashed(codes: Codes, bits: int) -> Codes:
    """A number of so many bits for each word, spread evenly."""
    return (codes * _MIX) >> np.uint64(64 - bits)
