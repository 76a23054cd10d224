"""An assembly back into a file: FASTA (plain, bgzip, standard output) or 2bit."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.store import Assembly
from dnamamba.pipelines.twobit_writer import write_twobit

Progress = Callable[[str, int, int | None], None]
LINE = 60  # bases a line, as UCSC and NCBI have nearly
_BLOCK = 1 << 22


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def export(
    assembly: Assembly,
    out: str | os.PathLike[str],
    *,
    width: int = LINE,
    progress: Progress | None = None,
) -> None:
    """Write an assembly's sequence, byte for byte what the source held, with names and descriptions.

    Args:
        assembly: opened.
        out: a file whose name ends in .2bit, in .gz or .bgz (FASTA, bgzip) or in anything else (FASTA); "-" is standard
            output. The file appears when it is whole.
        width: bases a line of FASTA; 0 puts each contig on one line.
        progress: called with the contig's name, the bases done so far, and the bases in all.

    Raises:
        InputError: damaged chunks, a disk that is full or cannot be written, letters that 2bit cannot hold.
    """
    if width < 0:
        raise InputError(f"line width {width}: want 0 or more bases a line")
    if os.fspath(out) == "-":
        with _one_sentence("standard output"):
            _fasta(assembly, sys.stdout.buffer, width, progress)
            sys.stdout.buffer.flush()
        return
    path = Path(out)
    with _one_sentence(str(path)), _appearing(path) as part:
        if path.suffix.lower() == ".2bit":
            with part.open("wb") as file:
                write_twobit(assembly, file, progress)
        elif path.suffix.lower() in (".gz", ".bgz"):
            with part.open("wb") as file, BgzipWriter(file) as packed:
                _fasta(assembly, packed, width, progress)
        else:
            with part.open("wb") as file:
                _fasta(assembly, file, width, progress)


def _fasta(assembly: Assembly, file: _Sink, width: int, progress: Progress | None) -> None:
    done, total = 0, sum(assembly.sizes.values())
    for contig in assembly.contigs:
        file.write(f">{contig.name}{' ' if contig.description else ''}{contig.description}\n".encode())
        step = width or max(contig.length, 1)
        for block in assembly.blocks(contig.name, max(_BLOCK // step, 1) * step):
            file.write(_lines(block, step))
            done += len(block)
            if progress:
                progress(contig.name, done, total)


def _lines(block: npt.NDArray[np.uint8], width: int) -> bytes:
    """The bases with a line end after every `width` of them and after the last."""
    whole = len(block) // width
    lines = np.empty((whole, width + 1), np.uint8)
    lines[:, :width] = block[: whole * width].reshape(whole, width)
    lines[:, width] = ord("\n")
    rest = block[whole * width :].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its name when it is whole; a pipe or device is written as it is."""
    direct = path.exists() and not path.is_file()
    part = path if direct else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        if not direct:
            os.replace(part, path)
    finally:
        if not direct:
            with suppress(OSError):  # gone already when all went well
                part.unlink()


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader has gone: no failure of ours
            raise
        raise InputError(f"{what}: cannot be written: {error.strerror or error}") from None
