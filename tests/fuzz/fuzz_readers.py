"""Fuzz the readers of FASTA (plain, gzip, bgzip) and 2bit: every input is read, or refused with one sentence.

    python tests/fuzz/fuzz_readers.py --engine hypothesis --reader fasta --seconds 120
    pip install dnamamba[fuzz]; python tests/fuzz/fuzz_readers.py --engine atheris --reader 2bit --seconds 180

hypothesis makes files that are nearly right; atheris (libFuzzer) mutates bytes towards code that no input has reached
yet, also inside gzip. An input that breaks a promise of `check` ends the run; atheris leaves it in --corpus.
"""

import argparse
import gzip
import os
import re
import struct
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dnamamba.errors import InputError
from dnamamba.pipelines import compression, twobit
from dnamamba.pipelines.sources import open_source

sys.path.insert(0, str(Path(__file__).parents[1]))
from fasta_cases import bgzip
from twobit_writer import twobit_bytes

TIMES, FIXED = 10, 2**24  # bytes that may be allocated: TIMES the file's size and FIXED beside
LONGEST = 2**15  # bytes of an input
HANG = 10  # seconds
KEPT = np.zeros(256, bool)
KEPT[list(b"ACGTNRYSWKMBDHVacgtnryswkmbdhv")] = True
EXCERPT = re.compile(r"(?<=the first line starts with ).*(?=; FASTA starts with)")
# Whether a text looks like protein is seen piece by piece: then the outcome may hang on where pieces end.
PROTEIN = re.compile(rb"[EFILPQefilpq]")

Outcome = tuple[list[tuple[str, str, int, int]], str]


def read(path: Path, options: dict[str, Any]) -> Outcome:
    """Name, description, length and checksum of each contig; and the refusal, "" for none. Letters are not kept."""
    records: list[tuple[str, str, int, int]] = []
    try:
        for contig in open_source(path, **options).contigs():
            length, checksum = 0, 0
            for block in contig.blocks():
                assert len(block), "an empty block"
                assert KEPT[block].all(), f"letters {np.unique(block)}"
                length, checksum = length + len(block), zlib.crc32(block, checksum)
            assert contig.length in (None, length)
            records.append((contig.name, contig.description, length, checksum))
    except InputError as error:
        text = str(error)
        assert text.startswith(f"{path}: "), text
        assert "\n" not in text, text
        assert len(text) < 1_000, text
        return records, text
    assert records, "neither contigs nor a refusal"
    return records, ""


def options_of(data: bytes) -> dict[str, Any]:
    """Options that hang on the input alone, so that a finding can be repeated."""
    bits = zlib.crc32(data)
    return {
        "names": ("first-word", "full")[bits & 1],
        "gaps": ("error", "drop")[bits >> 1 & 1],
        "unknown": ("error", "N")[bits >> 2 & 1],
        "rna": bool(bits >> 3 & 1),
    }


def check(data: bytes, path: Path) -> Outcome:
    """Read `data` as a file at `path`: twice, in pieces of two sizes, and the two outcomes are one.

    Raises:
        AssertionError: a promise is broken. Any other error is a finding too.
    """
    path.write_bytes(data)
    options = options_of(data)
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        whole = read(path, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= TIMES * len(data) + FIXED, f"{peak:,} bytes allocated for {len(data):,}"
    kept = compression.CHUNK, compression._RAW_CHUNK, twobit.BLOCK
    compression.CHUNK = twobit.BLOCK = 1 + len(data) % 61
    compression._RAW_CHUNK = 1 + len(data) % 17
    try:
        pieces = read(path, options)
    finally:
        compression.CHUNK, compression._RAW_CHUNK, twobit.BLOCK = kept
    if not PROTEIN.search(data) and not data.startswith(b"\x1f\x8b"):
        # What is quoted of a first line is what the first piece has of it.
        messages = [EXCERPT.sub("", message) for message in (whole[1], pieces[1])]
        assert (whole[0], messages[0]) == (pieces[0], messages[1]), f"whole: {whole}; in pieces: {pieces}"
    assert bool(whole[1]) == bool(pieces[1]) or PROTEIN.search(_unpacked(data)), f"whole: {whole}; in pieces: {pieces}"
    assert time.perf_counter() - begin < HANG
    return whole


def _unpacked(data: bytes) -> bytes:
    """What decompresses of gzip data; other data as they are."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    text = b""
    while data.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(31)
        try:
            text += unpacker.decompress(data, 2**20)
        except zlib.error:
            break
        data = unpacker.unused_data
    return text


NAMES = st.sampled_from([b"a", b"b", b"c d", b"c e", b"\xc3\xa9", b"d\t1"])
LINES = st.one_of(
    st.builds(lambda name, rest: b">" + name + b" " + rest, NAMES, st.text("xyz0", max_size=3).map(str.encode)),
    *3 * [st.text("ACGTNacgtnRYKM", max_size=80).map(str.encode)],
    st.sampled_from([b"", b";note", b" ", b"AC GT"]),
)
ODD_LINES = st.one_of(
    st.sampled_from([b"ac-gt", b"A.C", b"AXN", b"acgu", b"A>C", b"\xef\xbb\xbf", b"ELFIPQ", b"*", b">", b"> x"]),
    st.binary(max_size=6),
)
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 4)), max_size=3)


def edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """Data with some places cut out and others put in."""
    for at, new, removed in edits:
        at %= len(data) + 1
        data = data[:at] + new + data[at + removed :]
    return data


@st.composite
def fasta_files(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(LINES, max_size=12))
    for at, line in draw(st.lists(st.tuples(st.integers(0, 12), ODD_LINES), max_size=1)):
        lines.insert(at, line)
    text = b">first\n" * draw(st.sampled_from([0, 1, 1, 1])) + draw(st.sampled_from([b"\n", b"\r\n", b"\r"])).join(
        lines
    )
    packing = draw(st.sampled_from(["plain", "gzip", "members", "bgzip", "zeros"]))
    if packing == "plain":
        return text
    middle = len(text) // 2
    data = {
        "gzip": gzip.compress(text, 1),
        "members": gzip.compress(text[:middle], 1) + gzip.compress(b"") + gzip.compress(text[middle:], 9),
        "bgzip": bgzip(text, 40),
        "zeros": gzip.compress(text, 1) + bytes(600),
    }[packing]
    return edited(data, draw(EDITS))


WORDS = st.sampled_from([0, 1, 2, 3, 4, 7, 8, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1])


@st.composite
def twobit_files(draw: st.DrawFn) -> bytes:
    names = draw(st.lists(st.sampled_from(["a", "b", "chr1", "é", "x" * 255]), min_size=1, max_size=4, unique=True))
    records = [(name, draw(st.text("ACGTNacgtn", max_size=60)).encode()) for name in names]
    order = draw(st.sampled_from("<>"))
    data = twobit_bytes(records, order, draw(st.sampled_from([0, 1])))
    for at, word in draw(st.lists(st.tuples(st.integers(0, 10**6), WORDS), max_size=3)):
        at %= max(1, len(data) - 3)
        data = data[:at] + struct.pack(order + "I", word) + data[at + 4 :]
    return edited(data, draw(EDITS))


FILES = {"fasta": fasta_files(), "2bit": twobit_files()}


def with_hypothesis(reader: str, seconds: float, path: Path) -> str:
    """Nearly right files until the time is up."""
    runs, refused, end = 0, 0, time.monotonic() + seconds

    @settings(
        max_examples=2_000, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink),
    )  # fmt: skip
    @given(FILES[reader])
    def one(data: bytes) -> None:
        nonlocal runs, refused
        if time.monotonic() < end:
            runs += 1
            refused += bool(check(data, path)[1])

    while time.monotonic() < end:
        one()
    return f"{runs:,} executions, {refused:,} refused"


def with_atheris(reader: str, seconds: int, path: Path, corpus: Path) -> None:
    """libFuzzer over the readers' branches. It prints its own count and ends the process."""
    import atheris

    for function in _instrumented():
        atheris.instrument_func(function)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(_seeds(reader)):
        (corpus / f"seed-{number}").write_bytes(data)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        """Half of the gzip files are changed inside: a checksum stops almost every other change."""
        if data.startswith(b"\x1f\x8b") and seed % 2:
            text = atheris.Mutate(_unpacked(data)[:longest], longest)
            packed = gzip.compress(text, 1, mtime=0) if seed % 4 == 1 else bgzip(text, 64)
            return packed if len(packed) <= longest else packed[:longest]
        return bytes(atheris.Mutate(data, longest))

    def one(data: bytes) -> None:
        check(data, path)

    arguments = [
        sys.argv[0], f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={HANG}", "-rss_limit_mb=2048",
        f"-artifact_prefix={corpus}/", "-print_final_stats=1", "-verbosity=0", str(corpus),
    ]  # fmt: skip
    atheris.Setup(arguments, one, custom_mutator=mutate)
    atheris.Fuzz()


def _instrumented() -> list[Callable[..., Any]]:
    """Every function and method of the readers' modules."""
    from types import FunctionType

    from dnamamba.pipelines import fasta, letters, signatures, sources

    found: list[Callable[..., Any]] = []
    for module in (compression, fasta, letters, signatures, sources, twobit):
        for value in vars(module).values():
            if getattr(value, "__module__", None) == module.__name__:
                members = vars(value).values() if isinstance(value, type) else [value]
                found += [member for member in members if isinstance(member, FunctionType)]
    return found


def _seeds(reader: str) -> list[bytes]:
    if reader == "2bit":
        records = [("a", b"ACGTNNacgt"), ("chr2", b"nNaA" * 9 + b"T"), ("e", b"")]
        return [twobit_bytes(records, order, version) for order in "<>" for version in (0, 1)]
    text = b">a one\r\nACGTNNacgt\nRY KM\n;note\n\n>b\n>c\nAC-GT\n>d\nACXU*\n"
    return [text, gzip.compress(text), bgzip(text, 20), gzip.compress(text[:20]) + gzip.compress(text[20:]) + bytes(99)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["hypothesis", "atheris"], default="hypothesis")
    parser.add_argument("--reader", choices=list(FILES), required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="where atheris keeps its inputs; a temporary folder by default")
    arguments = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        path = Path(folder) / "in"
        if arguments.engine == "hypothesis":
            print(arguments.reader, "hypothesis:", with_hypothesis(arguments.reader, arguments.seconds, path))
        else:
            with_atheris(arguments.reader, arguments.seconds, path, arguments.corpus or Path(folder) / "corpus")


if __name__ == "__main__":
    main()
