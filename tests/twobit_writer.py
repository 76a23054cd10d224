"""A plain 2bit writer for tests and benchmarks, written from the UCSC description and not from our reader."""

import struct
from collections.abc import Iterable

import numpy as np

_CODE = np.zeros(256, np.uint8)
for _letters, _value in ((b"Tt", 0), (b"Cc", 1), (b"Aa", 2), (b"Gg", 3)):
    _CODE[list(_letters)] = _value


def runs(selected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and sizes of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], selected.view(np.int8), [0]])))
    return edges[::2], edges[1::2] - edges[::2]


def twobit_bytes(records: Iterable[tuple[str, bytes]], order: str = "<", version: int = 0) -> bytes:
    """The bytes of a 2bit file. `order` is "<" or ">"; letters are A C G T N in both cases."""
    bodies = []
    for name, sequence in records:
        array = np.frombuffer(sequence, np.uint8)
        body = struct.pack(order + "I", len(array))
        for selected in ((array == ord("N")) | (array == ord("n")), array >= ord("a")):
            starts, sizes = runs(selected)
            body += struct.pack(order + "I", len(starts))
            body += np.concatenate([starts, sizes]).astype(order + "u4").tobytes()
        codes = _CODE[np.concatenate([array, np.zeros(-len(array) % 4, np.uint8)])].reshape(-1, 4)
        packed = codes @ np.array([64, 16, 4, 1], np.uint8)
        bodies.append((name.encode(), body + bytes(4) + packed.astype(np.uint8).tobytes()))
    offset_size = 4 + 4 * version
    at = 16 + sum(1 + len(name) + offset_size for name, _ in bodies)
    head = struct.pack(order + "4I", 0x1A412743, version, len(bodies), 0)
    for name, body in bodies:
        head += bytes([len(name)]) + name + struct.pack(order + ("Q" if version else "I"), at)
        at += len(body)
    return head + b"".join(body for _, body in bodies)
