"""The names that a file has had so far: some tens of bytes each, so that millions of tiny records fill no memory."""

import numpy as np
import numpy.typing as npt

_RECENT = 2**14  # names that a dictionary holds, at some 300 bytes each; of many names, a sixteenth
_WORD = 2**32


class SeenNames:
    """Each name with the record that had it first.

    Names are told apart by 64 bits of Python's hash, salted in each process: among ten million different names two
    fall together, and the file is refused, about once in 400,000 runs.
    """

    def __init__(self) -> None:
        self._recent: dict[int, tuple[int, int]] = {}
        self._keys = np.empty(0, np.int64)  # sorted
        self._values = np.empty((0, 2), np.uint32)  # of each key: record, hash of its header

    def first(self, name: str, header: str, record: int) -> tuple[int, bool]:
        """Note the name of a record, unless it is there.

        Args:
            name: the contig's name.
            header: its full header.
            record: its number, 1 or more.

        Returns:
            The first record of that name, and whether its header was this one.
        """
        key, mark = hash(name), hash(header) % _WORD
        found = self._recent.get(key)
        if found is None and len(self._keys):
            at = int(self._keys.searchsorted(key))
            if at < len(self._keys) and self._keys[at] == key:
                found = int(self._values[at, 0]), int(self._values[at, 1])
        if found is not None:
            return found[0], found[1] == mark
        self._recent[key] = (record % _WORD, mark)
        if len(self._recent) >= max(_RECENT, len(self._keys) // 16):
            self._pack()
        return record, True

    def _pack(self) -> None:
        """Move the recent names into the arrays. A sixteenth at least is new each time: the copying stays linear."""
        keys = np.fromiter(self._recent, np.int64, len(self._recent))
        values: npt.NDArray[np.uint32] = np.array(list(self._recent.values()), np.uint32)
        order = keys.argsort()
        keys, values = keys[order], values[order]
        places = self._keys.searchsorted(keys)
        self._keys = np.insert(self._keys, places, keys)
        self._values = np.insert(self._values, places, values, axis=0)
        self._recent = {}
