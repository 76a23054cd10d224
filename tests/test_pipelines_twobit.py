"""2bit: what is written is read, whole and in parts; a header that lies is refused in one sentence, cheaply."""

import os
import pickle
import re
import struct
import tracemalloc

import numpy as np
import py2bit
import pytest
from Bio import SeqIO
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twobit_writer import twobit_bytes

from dnamamba.errors import InputError
from dnamamba.pipelines import twobit
from dnamamba.pipelines.sources import open_source
from dnamamba.pipelines.twobit import TwoBitFile

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def write(tmp_path):
    def write(data: bytes, name: str = "in.2bit") -> str:
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write


def read(path) -> list[tuple[str, bytes]]:
    contigs = open_source(path).contigs()
    return [(contig.name, b"".join(block.tobytes() for block in contig.blocks())) for contig in contigs]


def test_a_file_worked_by_hand(write):
    # One contig "c" of 9 bases, "TCAGNnacg": N at 4-6, lower case at 5-9; packed TCAG TTAC G = 1b 09 c0.
    words = [0x1A412743, 0, 1, 0]
    record = [9, 1, 4, 2, 1, 5, 4, 0]
    for order in "<>":
        data = struct.pack(order + "4I", *words) + b"\x01c" + struct.pack(order + "I", 22)
        data += struct.pack(order + "8I", *record) + bytes.fromhex("1b09c0")
        assert read(write(data)) == [("c", b"TCAGNnacg")]
        assert twobit_bytes([("c", b"TCAGNnacg")], order) == data


RECORDS = st.lists(
    st.tuples(
        st.text("abcXYZ019._| :-é", min_size=1, max_size=8).filter(str.strip), st.text("ACGTNacgtn", max_size=50)
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda record: record[0],
)


@SAME_FOLDER
@given(RECORDS, st.sampled_from("<>"), st.sampled_from([0, 1]), st.integers(1, 60))
def test_round_trip(write, records, order, version, block):
    records = [(name, sequence.encode()) for name, sequence in records]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twobit, "BLOCK", block)
        path = write(twobit_bytes(records, order, version), "in.fa")  # the name says nothing
        source = open_source(path)
        assert source.format == "2bit"
        assert [(c.name, c.length, c.description) for c in source.contigs()] == [(n, len(s), "") for n, s in records]
        assert read(path) == records


@SAME_FOLDER
@given(st.text("ACGTNacgtn", min_size=1, max_size=200), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200))))
def test_any_part(write, sequence, parts):
    file = TwoBitFile(write(twobit_bytes([("x", b"ACG"), ("a", sequence.encode())])))
    assert file.sizes == {"x": 3, "a": len(sequence)}
    for start, end in parts:
        start, end = sorted((start % (len(sequence) + 1), end % (len(sequence) + 1)))
        assert file.read("a", start, end).tobytes().decode() == sequence[start:end]
    assert file.read("a").tobytes().decode() == sequence
    assert file.contig("a").length == len(sequence)


def _genome(length: int) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, length)]
    letters[rng.random(length) < 0.02] = ord("N")
    letters = letters + 32 * (np.cumsum(rng.random(length) < 0.01) % 2).astype(np.uint8)
    return [("chr1", letters.tobytes()), ("chr2", letters[: length // 3].tobytes()), ("one", b"N")]


@pytest.mark.parametrize("order", "<>")
def test_the_same_letters_as_biopython_and_py2bit(order, write):
    records = _genome(200_001)
    path = write(twobit_bytes(records, order))
    assert read(path) == records
    with open(path, "rb") as handle:
        assert [(record.id, bytes(record.seq)) for record in SeqIO.parse(handle, "twobit")] == records
    if order == "<":  # py2bit reads no other, and gives N in upper case whatever the mask
        file = py2bit.open(path, True)
        upper_n = [(name, sequence.replace(b"n", b"N")) for name, sequence in records]
        assert [(name, file.sequence(name).encode()) for name in file.chroms()] == upper_n
        ours = TwoBitFile(path)
        rng = np.random.default_rng(1)
        for start in rng.integers(0, 200_000, 200).tolist():
            end = min(start + int(rng.integers(1, 3000)), 200_001)
            assert ours.read("chr1", start, end).tobytes() == records[0][1][start:end]
            assert file.sequence("chr1", start, end).encode() == upper_n[0][1][start:end]
        file.close()


def test_random_access_is_checked(write):
    file = TwoBitFile(write(twobit_bytes([(f"c{i}", b"ACGT") for i in range(7)])))
    with pytest.raises(InputError, match=r"in\.2bit: no contig 'x'; it has c0, c1, c2, c3, c4 and 2 more$"):
        file.read("x")
    with pytest.raises(InputError, match="no contig 'x'"):
        file.contig("x")
    for start, end in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(InputError, match=rf"contig 'c0': want 0 <= start <= end <= 4, got {start} and {end}"):
            file.read("c0", start, end)
    assert file.read("c0", 4).tobytes() == b""


def test_more_contigs_than_are_kept_at_once(write):
    records = [(f"c{i}", b"ACgtN"[i % 3 :]) for i in range(3 * twobit._CACHED)]
    path = write(twobit_bytes(records))
    assert read(path) == records
    file = TwoBitFile(path)
    assert [(name, file.read(name).tobytes()) for name, _ in records + records[::-1]] == records + records[::-1]
    assert len(file._cache) == twobit._CACHED


def test_pickles_and_survives_a_fork(write):
    with TwoBitFile(write(twobit_bytes(_genome(1000)))) as file:
        assert pickle.loads(pickle.dumps(file)).read("chr1").tobytes() == _genome(1000)[0][1]
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                same = all(file.read("chr1", i, i + 9).tobytes() == _genome(1000)[0][1][i : i + 9] for i in range(900))
                os._exit(0 if same else 1)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    with pytest.raises(ValueError, match="closed file"):
        file.read("chr1")


@pytest.mark.timeout(20)
def test_a_pipe_is_refused(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    if os.fork() == 0:
        fifo.write_bytes(twobit_bytes([("a", b"ACGT")]))
        os._exit(0)
    with pytest.raises(InputError, match="holds 2bit data, which cannot be read from a pipe; give its path"):
        open_source(fifo)
    os.wait()


# One contig "c", 9 bases: header 0-16, index 16-22, then at 22 length, at 26 N count, at 30 start, at 34 size, at 38
# mask count, at 42 start, at 46 size, at 50 reserved, at 54 three packed bytes.
GOOD = twobit_bytes([("c", b"TCAGNnacg")])
# At 16 index entries of 6 bytes; at 28 the record of "a", 16 + 1 bytes; at 45 that of "b".
TWO = twobit_bytes([("a", b"ACGT"), ("b", b"ACGT")])
# Two runs each: N at 2-4 and 6-8; 22 length, 26 count, 30 and 34 starts, 38 and 42 sizes.
RUNS = twobit_bytes([("c", b"ACNNACNNAC")])


def _put(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


LIES = {
    "header cut": (GOOD[:15], r"is 15 bytes long, and a 2bit header alone takes 16"),
    "version": (_put(GOOD, 4, 2), r"byte 4: 2bit version 2 is not known, only 0 and 1$"),
    "reserved": (_put(GOOD, 12, 9), r"byte 12: the reserved word is 9, not 0"),
    "no sequence": (_put(GOOD, 8, 0), r"holds no sequence: the 2bit header counts 0$"),
    "count": (_put(GOOD, 8, 2**32 - 1), r"byte 8: the header counts 4,294,967,295 sequences, too many for 57 bytes"),
    "count, slightly": (
        _put(GOOD, 8, 2),
        r"byte 22: the name of sequence 2 is 'Ċ?|contig|byte \d+: the name of sequence 2",
    ),
    "index cut": (_put(GOOD, 8, 3)[:46], r"byte 23: the name of sequence 2|the index ends in entry"),
    "name longer than file": (
        GOOD[:16] + b"\xff" + GOOD[17:],
        r"the index ends in entry 1 of 1: the file is truncated",
    ),
    "empty name": (GOOD[:16] + b"\0" + GOOD[18:], r"byte 17: the name of sequence 1 is '', empty or not printable"),
    "blank name": (GOOD[:17] + b" " + GOOD[18:], r"byte 17: the name of sequence 1 is ' ', empty or not printable"),
    "control character": (GOOD[:17] + b"\n" + GOOD[18:], r"byte 17: the name of sequence 1 is '\\n', empty or not"),
    "name not UTF-8": (GOOD[:17] + b"\xe9" + GOOD[18:], r"byte 17: the name of sequence 1 is not UTF-8"),
    "name twice": (TWO[:23] + b"a" + TWO[24:], r"byte 23: the name 'a' stands in the index twice"),
    "offset in header": (_put(GOOD, 18, 4), r"contig 'c': offset 4 lies inside the index, which ends at 22"),
    "offset past end": (
        _put(GOOD, 18, 5000),
        r"contig 'c': the record at byte 5,000 would take 8 bytes, and the file ends",
    ),
    "offset of another": (_put(TWO, 24, 28), r"contigs 'a' and 'b' overlap at byte 28"),
    "records overlap": (_put(TWO, 28, 8), r"contigs 'a' and 'b' overlap at byte 45"),
    "length": (
        _put(GOOD, 22, 2**32 - 1),
        r"contig 'c': 4,294,967,295 packed bases at byte 54 would take 1,073,741,824 by",
    ),
    "length, slightly": (
        _put(GOOD, 22, 13),
        r"contig 'c': 13 packed bases at byte 54 would take 4 bytes, and the file en",
    ),
    "N count": (_put(GOOD, 26, 2**30), r"contig 'c': 1,073,741,824 N blocks at byte 30 would take 8,589,934,592 bytes"),
    "mask count": (_put(GOOD, 38, 2**32 - 1), r"contig 'c': 4,294,967,295 mask blocks at byte 42 would take"),
    "record cut": (
        GOOD[:40],
        r"contig 'c': the count of mask blocks at byte 38 would take 4 bytes, and the file ends at",
    ),
    "packed cut": (
        GOOD[:-1],
        r"contig 'c': 9 packed bases at byte 54 would take 3 bytes, and the file ends at byte 56",
    ),
    "record's reserved": (_put(GOOD, 50, 1), r"contig 'c': byte 50: the reserved word is 1, not 0"),
    "N start": (
        _put(GOOD, 30, 2**32 - 1),
        r"contig 'c': N block 1 of 1, bases 4,294,967,295 to 4,294,967,297, reaches past",
    ),
    "N size": (_put(GOOD, 34, 6), r"contig 'c': N block 1 of 1, bases 4 to 10, reaches past the contig's 9 bases"),
    "mask size": (_put(GOOD, 46, 2**32 - 1), r"contig 'c': mask block 1 of 1, bases 5 to 4,294,967,300, reaches past"),
    "N unsorted": (
        _put(_put(RUNS, 30, 6), 34, 2),
        r"contig 'c': N block 2 of 2, bases 2 to 4, overlaps the one before or",
    ),
    "N overlap": (
        _put(RUNS, 38, 5),
        r"contig 'c': N block 2 of 2, bases 6 to 8, overlaps the one before or is out of order",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(lie, write):
    data, message = LIES[lie]
    path = write(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(path + ": ")
    assert "\n" not in str(caught.value)


def test_a_damaged_name_is_not_shown_in_full(write):
    """Found by fuzzing: 255 control characters made a line of a thousand."""
    with pytest.raises(InputError, match=r"is '(\\x02){40}'\.\.\., empty or not printable") as caught:
        read(write(twobit_bytes([("\2" * 255, b"ACGT")])))
    assert len(str(caught.value)) < 400


def test_many_tiny_contigs_take_less_than_ten_times_the_file(write):
    path = write(twobit_bytes([(f"{number:04x}", b"A") for number in range(40_000)]))
    tracemalloc.start()
    try:
        assert len(open_source(path).sizes) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 10 * os.path.getsize(path)
    finally:
        tracemalloc.stop()


def test_a_whole_contig_takes_little_beside_its_letters(write):
    length = 2**23 + 5
    letters = np.frombuffer(b"ACGTNNnnacgt", np.uint8)[np.arange(length) % 12]
    file = TwoBitFile(write(twobit_bytes([("c", letters.tobytes())])))
    file.read("c", 0, 1)  # the runs are read once and kept
    tracemalloc.start()
    try:
        assert np.array_equal(file.read("c", 1), letters[1:])
        assert tracemalloc.get_traced_memory()[1] < length + 10 * twobit.BLOCK
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [0, 1])
def test_a_file_cut_anywhere_is_refused(order, version, write):
    data = twobit_bytes([("a", b"ACGTNNacgt"), ("b", b"ACGT" * 9)], order, version)
    for cut in range(len(data)):
        with pytest.raises(InputError):
            read(write(data[:cut]))


def test_blocks_that_touch_and_empty_blocks_are_read(write):
    assert read(write(_put(RUNS, 38, 4))) == [("c", b"ACNNNNNNAC")]
    assert read(write(_put(RUNS, 38, 0))) == [("c", b"ACTTACNNAC")]  # under an N our writer packs T


def test_a_huge_run_of_n_is_fine(write):
    length = 2**24 + 5
    path = write(twobit_bytes([("c", b"N" * length)]))
    tracemalloc.start()
    try:
        assert (
            sum(int((block == ord("N")).sum()) for c in open_source(path).contigs() for block in c.blocks()) == length
        )
        assert tracemalloc.get_traced_memory()[1] < 8 * twobit.BLOCK
    finally:
        tracemalloc.stop()


def test_a_file_that_shrinks_while_it_is_read(write):
    path = write(twobit_bytes([("c", b"ACGT" * 1000)]))
    file = TwoBitFile(path)
    os.truncate(path, 500)
    with pytest.raises(InputError, match=r"ends at byte 500 while it is read, \d+ bytes early"):
        file.read("c")


@settings(SAME_FOLDER, max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=5), st.integers(0, 5)), min_size=1, max_size=4),
    st.sampled_from("<>"),
    st.sampled_from([0, 1]),
)
def test_damaged_bytes_give_input_errors_only(write, edits, order, version):
    data = bytearray(twobit_bytes([("a", b"ACGTNNacgt"), ("b", b"ACGT" * 9), ("c", b"nNaA" * 5)], order, version))
    for at, new, removed in edits:
        at %= len(data) + 1
        data[at : at + removed] = new
    path = write(bytes(data))
    tracemalloc.start()
    try:
        records = read(path)
        assert sum(len(sequence) for _, sequence in records) <= 4 * len(data)
    except InputError as error:
        assert re.fullmatch(re.escape(path) + ": [^\n]+", str(error))  # noqa: PT017  (either way is right)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**22  # a damaged byte may make it gzip, whose reader has a buffer of 1 MiB
