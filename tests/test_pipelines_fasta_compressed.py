"""FASTA in gzip and bgzip, and any layout, packing or damage drawn at random."""

import gzip
import io
import re
import zlib

import pysam
import pytest
from fasta_cases import bgzip, read, writer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dnamamba.errors import InputError
from dnamamba.pipelines import compression

LETTERS = "ACGTNRYSWKMBDHVacgtnryswkmbdhv"
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


def read_or_error(path, **options) -> list[tuple[str, str, bytes]] | InputError:
    try:
        return read(path, **options)
    except InputError as error:
        return error


TEXT = b">a first\n" + b"ACGTACGTTT\n" * 30 + b">b\n" + b"GGCCA\n" * 30


@pytest.mark.parametrize("kind", ["gzip", "bgzip"])
def test_gzip_cut_anywhere_is_an_error(kind, write):
    data = gzip.compress(TEXT) if kind == "gzip" else bgzip(TEXT, 100)
    assert len(read(write(data))) == 2
    for cut in range(1, len(data)):
        with pytest.raises(InputError) as caught:
            read(write(data[:cut]))
        if cut > 2:
            assert re.search(
                r"in\.fa: (contig '[ab]': after base \d+: |record [12]: )?"
                rf"(the gzip data end at byte {cut:,} in the middle of a member: the file is truncated"
                rf"|the bgzip end marker is missing at byte {cut:,})",
                str(caught.value),
            )


def test_a_truncated_gzip_names_the_contig(write):
    data = bgzip(TEXT, 100)
    with pytest.raises(InputError, match=r"contig 'b': after base \d+: the bgzip end marker is missing at byte [\d,]+"):
        read(write(data[:-28]))
    with pytest.raises(InputError, match=r"contig 'b': after base \d+: the gzip data end at byte [\d,]+ in the middle"):
        read(write(data[:-29]))


def _header(name: bytes, wrong: int = 0) -> bytes:
    """A gzip header with extra field, file name, comment and a checksum of its own."""
    head = b"\x1f\x8b\x08\x1e" + bytes(5) + b"\xff" + b"\x06\x00XY\x02\x00ab" + name + b"\0" + b"comment\0"
    return head + ((zlib.crc32(head) & 0xFFFF) ^ wrong).to_bytes(2, "little")


@pytest.mark.parametrize("piece", [1, 3, 11, 25, 2**18])
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_header_is_read_whole_wherever_pieces_end(write, monkeypatch, piece, wrong):
    """Found by fuzzing: of a header in two pieces isal calls a right checksum wrong, and takes half a name for all."""
    monkeypatch.setattr(compression, "_RAW_CHUNK", piece)
    data = gzip.compress(TEXT[:50], 6) + _header(b"a_name.fa", wrong) + gzip.compress(TEXT[50:], 6)[10:]
    if wrong:
        with pytest.raises(InputError, match=r"the gzip member that starts at byte \d+ is damaged"):
            read(write(data))
    else:
        assert read(write(data)) == read(write(TEXT, "plain.fa"))


@pytest.mark.parametrize("piece", [1, 17, 2**18])
def test_a_name_in_the_header_that_never_ends(write, monkeypatch, piece):
    monkeypatch.setattr(compression, "_RAW_CHUNK", piece)
    data = gzip.compress(TEXT, 6)
    data = data[:3] + b"\x08" + data[4:10] + b"x" * 40 + data[10:].replace(b"\0", b"x")
    with pytest.raises(InputError, match=r"in the middle of a member|is damaged"):
        read(write(data))


@pytest.mark.parametrize("piece", [1, 7, 17])
def test_bgzip_is_told_by_more_than_the_first_piece(write, monkeypatch, piece):
    monkeypatch.setattr(compression, "_RAW_CHUNK", piece)
    with pytest.raises(InputError, match="the bgzip end marker is missing"):
        read(write(bgzip(TEXT, 100)[:-28]))


def test_gzip_that_does_not_decompress(write):
    data = bytearray(gzip.compress(TEXT))
    data[-6] ^= 1  # the checksum
    with pytest.raises(InputError, match=r"in\.fa: the gzip member that starts at byte 0 is damaged \(.*checksum"):
        read(write(bytes(data)))
    data = bytearray(bgzip(TEXT, 350))
    data[-28 - 6] ^= 1
    with pytest.raises(InputError, match=r"contig 'b': after base 7: the gzip member that starts at byte \d+ is damag"):
        read(write(bytes(data)))
    with pytest.raises(InputError, match=rf"byte {len(gzip.compress(TEXT)) + 3:,} starts something that is not gzip"):
        read(write(gzip.compress(TEXT) + b"\0\0\0garbage"))


def test_gzip_members_and_padding(write):
    halves = gzip.compress(TEXT[:137]) + gzip.compress(b"") + gzip.compress(TEXT[137:])
    want = read(write(TEXT))
    assert read(write(halves)) == want
    assert read(write(halves + bytes(1000))) == want
    named = io.BytesIO()
    with gzip.GzipFile("x.fa", "wb", fileobj=named) as out:
        out.write(TEXT)
    assert read(write(named.getvalue())) == want


def test_bgzip_of_htslib(write, tmp_path):
    text = TEXT + b">c\n" + b"ACGTTGCA" * 50_000
    pysam.tabix_compress(write(text), str(tmp_path / "b.gz"))
    assert read(tmp_path / "b.gz") == read(write(text))


RECORDS = st.lists(
    st.tuples(st.text("abcXYZ019._|*:;>=-", min_size=1, max_size=8), st.text(LETTERS, max_size=60)),
    min_size=1,
    max_size=6,
    unique_by=lambda record: record[0],
)


@SAME_FOLDER
@example([("a", "A" * 12)], 4, "\r\n", True, 5, "bgzip", 3)  # a CR LF split over two chunks
@given(
    RECORDS,
    st.integers(1, 70),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n"]),
    st.booleans(),
    st.integers(1, 40),
    st.sampled_from(["plain", "gzip", "members", "bgzip"]),
    st.integers(1, 80),
)
def test_round_trip(write, records, width, end, final, chunk, packing, piece):
    text = ""
    for name, sequence in records:
        lines = [">" + name + " d"] + [sequence[i : i + width] for i in range(0, len(sequence), width)]
        text += "".join(line + end for line in lines)
    data = (text if final else text.rstrip("\r\n ")).encode()
    if packing == "gzip":
        data = gzip.compress(data)
    elif packing == "members":
        data = b"".join(gzip.compress(data[i : i + piece]) for i in range(0, len(data), piece))
    elif packing == "bgzip":
        data = bgzip(data, piece)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "CHUNK", chunk)
        patch.setattr(compression, "_RAW_CHUNK", piece)
        assert read(write(data)) == [(name, "d", sequence.encode()) for name, sequence in records]


@settings(SAME_FOLDER, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 2)), min_size=1, max_size=4),
    st.sampled_from(["plain", "gzip", "bgzip"]),
    st.integers(1, 2000),
)
def test_damaged_bytes_give_input_errors_only(write, edits, packing, chunk):
    data = bytearray({"plain": TEXT, "gzip": gzip.compress(TEXT), "bgzip": bgzip(TEXT, 100)}[packing])
    for at, new, removed in edits:
        at %= len(data) + 1
        data[at : at + removed] = new
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "CHUNK", chunk)
        path = write(bytes(data))
        result = read_or_error(path)
    if isinstance(result, InputError):
        assert str(result).startswith(path + ": ")
        assert "\n" not in str(result)
    else:
        assert set(b"".join(sequence for _, _, sequence in result)) <= set(LETTERS.encode())


@SAME_FOLDER
@given(st.sampled_from([b"", b">a\n", b"\x1f\x8b\x08\x00"]), st.binary(max_size=200))
def test_any_bytes_give_input_errors_only(write, head, data):
    assert "\n" not in str(read_or_error(write(head + data)))
