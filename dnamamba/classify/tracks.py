"""Windows as genome tracks: BED with a call a window, and a bedGraph of its probability for each class.

Source: UCSC, "Frequently Asked Questions: Data File Formats", BED and bedGraph: 0-based, half-open.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dnamamba.classify.verdict import Verdict
from dnamamba.errors import InputError
from dnamamba.files import opened_whole


class BedWriter:
    """BED of five columns: contig, start, end, call ("." where open), probability of the likeliest class.

    A context manager; the file is there whole or not at all. The fifth column is a fraction: where a browser wants the
    whole numbers 0 to 1000 of BED's score, multiply by 1000.
    """

    def __init__(self, out: str, min_confidence: float = 0.0) -> None:
        self._out, self._min_confidence, self._stack = out, min_confidence, ExitStack()

    def __enter__(self) -> Self:
        self._file: BinaryIO = self._stack.enter_context(opened_whole(self._out))
        return self

    def write(self, verdict: Verdict) -> None:
        """Add a window; one without bases is no interval, and is left out."""
        if verdict.length == 0:
            return
        end = verdict.start + (verdict.length or 0)
        call = verdict.call(self._min_confidence) or "."
        line = f"{verdict.name}\t{verdict.start}\t{end}\t{call}\t{verdict.confidence:.6g}\n"
        self._file.write(line.encode())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)


class BedGraphs:
    """A bedGraph file for each class in a folder, CLASS.bedGraph: contig, start, end, probability.

    A context manager; windows that are too short to judge are left out, which is bedGraph's way to say "no value".
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        """The folder is made.

        Raises:
            InputError: `folder` is a file, or two classes would have one file name.
        """
        names = [re.sub(r"[^\w.+-]+", "_", name) for name in classes]
        if len(set(names)) < len(names):
            raise InputError(f"{folder}: two classes have one file name: {', '.join(names)}")
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; want a folder for a bedGraph of each class")
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = [folder / f"{name}.bedGraph" for name in names]
        self._classes, self._stack = classes, ExitStack()

    def __enter__(self) -> Self:
        self._files: list[BinaryIO] = [self._stack.enter_context(opened_whole(path)) for path in self._paths]
        for file, name in zip(self._files, self._classes, strict=True):
            file.write(f'track type=bedGraph name="{name}" viewLimits=0:1\n'.encode())
        return self

    def write(self, verdict: Verdict) -> None:
        """Add a window to every file."""
        if verdict.probabilities is None:
            return
        place = f"{verdict.name}\t{verdict.start}\t{verdict.start + (verdict.length or 0)}\t"
        for file, probability in zip(self._files, verdict.probabilities, strict=True):
            file.write(f"{place}{probability:.6g}\n".encode())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)
