"""Digests of sequences: GA4GH refget (SQ.), MD5 as in SAM's M5 tag, the fingerprint of a set, and CRC-32C of chunks."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable

import google_crc32c
import numpy as np
import numpy.typing as npt

UPPER = np.uint8(0xDF)  # clears the bit that tells a lower-case ASCII letter from an upper-case one


def sha512t24u(data: bytes) -> str:
    """Name some bytes as GA4GH does: SHA-512, the first 24 bytes, base64 for URLs (32 letters).

    Source: GA4GH refget sequences 2.0, "sha512t24u".
    """
    return _t24u(hashlib.sha512(data).digest())


def _t24u(digest: bytes) -> str:
    return urlsafe_b64encode(digest[:24]).decode("ascii")


def crc32c(data: npt.NDArray[np.uint8] | bytes, before: int = 0) -> int:
    """CRC-32C (Castagnoli), the checksum that Zarr v3 uses too. The array must be contiguous.

    Args:
        data: the bytes.
        before: the checksum of those that came before them.
    """
    return int(google_crc32c.extend(before, data))


class SequenceDigester:
    """Both digests of one sequence, block after block. The two updates release the GIL and may run in two threads.

    Case is folded, as both definitions ask; the letters must be A-Z and a-z alone.
    """

    def __init__(self) -> None:
        self._sha512 = hashlib.sha512()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update_refget(self, upper: npt.NDArray[np.uint8]) -> None:
        """Take the next letters, upper case, uint8 [n], into the refget digest."""
        self._sha512.update(upper.data)

    def update_md5(self, upper: npt.NDArray[np.uint8]) -> None:
        """Take the next letters, upper case, uint8 [n], into the MD5."""
        self._md5.update(upper.data)

    def update(self, sequence: npt.NDArray[np.uint8]) -> None:
        """Take the next letters, of either case, uint8 [n], into both."""
        upper = sequence & UPPER
        self._sha512.update(upper.data)
        self._md5.update(upper.data)

    @property
    def refget(self) -> str:
        """The GA4GH identifier so far: "SQ." and 32 letters."""
        return "SQ." + _t24u(self._sha512.digest())

    @property
    def md5(self) -> str:
        """The M5 of SAM so far: 32 hexadecimal digits."""
        return self._md5.hexdigest()


def fingerprint(refgets: Iterable[str]) -> str:
    """Name a set of sequences by content alone: sha512t24u over their refget identifiers, sorted, one a line."""
    return sha512t24u("\n".join(sorted(refgets)).encode("ascii"))
