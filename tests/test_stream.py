"""Pieces, batches and strands: nothing lost, nothing twice, order kept, memory bounded."""

import random
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_classifiers import random_sequence, reverse_complement

from dnamamba.errors import InputError
from dnamamba.model import ModelConfig
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.sequence_files import open_sequences
from dnamamba.stream import strands
from dnamamba.stream.batches import BatchPlan, enough_memory, in_order, make_batches, other_strand, pad
from dnamamba.stream.given import HowToRead, given_sequences, one_stream
from dnamamba.stream.pieces import LongPiece, Piece, PieceCutter, rechunk
from dnamamba.stream.strands import BothWays, Spool


def _sequence(letters, name="x"):
    return next(given_sequences({name: letters}, HowToRead()))


def _letters(tokens):
    return DNA.decode(np.concatenate([np.empty(0, np.uint8), *tokens])).tobytes()


def _content(piece):
    return _letters([piece.tokens]) if isinstance(piece, Piece) else _letters(list(piece.blocks))


@given(st.integers(0, 300), st.integers(1, 80), st.integers(1, 80), st.integers(1, 50))
def test_windows_cover_a_sequence_once(length, window, limit, block):
    letters = random_sequence(length)
    stream = one_stream([letters[i : i + block] for i in range(0, length, block)], HowToRead())
    found = [(piece.start, _content(piece)) for piece in PieceCutter(DNA, limit, window).pieces(stream)]
    # A sequence without bases has an empty window.
    assert found == [(start, letters[start : start + window]) for start in range(0, max(length, 1), window)]


@given(st.integers(0, 300), st.integers(1, 80))
def test_a_whole_sequence_is_one_piece(length, limit):
    letters = random_sequence(length)
    (piece,) = PieceCutter(DNA, limit).pieces(_sequence(letters))
    assert isinstance(piece, LongPiece) == (length > limit)
    assert _content(piece) == letters


def test_a_window_that_is_not_read_is_passed():
    cutter = PieceCutter(DNA, 10, 100)
    starts = [piece.start for piece in cutter.pieces(_sequence(random_sequence(250)))]
    assert starts == [0, 100, 200]
    assert cutter.bases == 250


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 60))
def test_chunks_do_not_depend_on_blocks(sizes, size):
    letters = np.frombuffer(random_sequence(sum(sizes)), np.uint8)
    for ahead in (True, False):
        chunks = list(rechunk(iter(np.split(letters, np.cumsum(sizes)[:-1]) if sizes else []), size, ahead=ahead))
        assert [chunk.tobytes() for chunk, _ in chunks] == [
            letters[i : i + size].tobytes() for i in range(0, len(letters), size)
        ]
        last = [last for _, last in chunks]
        assert not any(last[:-1])
        if chunks:
            assert last[-1] == (ahead or len(letters) % size != 0)


@pytest.mark.parametrize("both", [1, 2])
@given(lengths=st.lists(st.integers(1, 3000), max_size=60), bases=st.integers(1, 5000), rows=st.integers(1, 9))
def test_batches_hold_every_piece_once_within_their_limits(both, lengths, bases, rows):
    batches = make_batches(lengths, BatchPlan(bases, rows), both)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = both * len(batch) * (max(lengths[i] for i in batch) + 1)
        assert len(batch) == 1 or (padded <= bases and both * len(batch) <= rows)


def test_batches_of_very_different_lengths_pad_little():
    lengths = random.Random(0).choices((100, 5000, 100_000), k=500)
    batches = make_batches(lengths, BatchPlan(2**20, 2**14))
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.3 * sum(lengths)
    assert len(batches) < 60


def test_the_other_strand_of_padded_rows():
    sequences = [random_sequence(n, n) for n in (7, 1, 30)] + [b"NRYACG"]
    pieces = [Piece("x", 0, DNA.encode(np.frombuffer(one, np.uint8)), 0) for one in sequences]
    tokens, lengths = pad(pieces, DNA.start, torch.device("cpu"))
    other = other_strand(tokens, lengths, DNA).numpy()
    for row, sequence in zip(other, sequences, strict=True):
        assert row[0] == DNA.start
        assert DNA.decode(row[1 : len(sequence) + 1]).tobytes() == reverse_complement(sequence)


@pytest.mark.parametrize("in_memory", [10, 2**20], ids=["on disk", "in memory"])
@pytest.mark.parametrize("access", ["random", "stream"])
@pytest.mark.parametrize("size", [1, 7, 400])
def test_both_ways(in_memory, access, size, monkeypatch):
    monkeypatch.setattr(strands, "IN_MEMORY", in_memory)
    letters = random_sequence(399) + b"N"
    given = _sequence(letters) if access == "random" else one_stream([letters[:150], letters[150:]], HowToRead())
    (piece,) = PieceCutter(DNA, 100).pieces(given)
    assert (piece.read is None) == (access == "stream")
    with BothWays(piece, DNA) as ways:
        assert _letters(ways.forward()) == letters
        assert _letters(ways.reverse(size)) == reverse_complement(letters)


def test_both_ways_of_a_window_of_a_sequence_with_random_access():
    letters = random_sequence(480)
    for piece in PieceCutter(DNA, 100, 200).pieces(_sequence(letters)):
        if isinstance(piece, Piece):
            continue
        with BothWays(piece, DNA) as ways:
            assert _letters(ways.forward()) == letters[piece.start : piece.start + 200]
            assert _letters(ways.reverse(64)) == reverse_complement(letters[piece.start : piece.start + 200])


def test_a_full_disk_is_one_clear_line(monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    spool = Spool()
    monkeypatch.setattr(spool, "_file", SimpleNamespace(write=lambda data: full(spool, data), close=lambda: None))
    with pytest.raises(InputError, match="No space left on device; set TMPDIR to a folder with a byte for each base"):
        spool.add(np.zeros(3, np.uint8))


class _Echo:
    """Says which pieces were read together."""

    def __init__(self):
        self.pools = []

    def launch(self, pieces):
        self.pools.append([piece.name for piece in pieces])
        return SimpleNamespace(fetch=lambda: iter([piece.name for piece in pieces]))

    def stream(self, piece):
        yield piece.name + f" {sum(len(block) for block in piece.blocks)}"


def test_order_is_kept_over_pools_and_long_pieces():
    lengths = random.Random(1).choices((3, 50, 99, 150), (3, 3, 3, 1), k=400)
    cutter = PieceCutter(DNA, 100)
    sequences = given_sequences([(str(i), random_sequence(n)) for i, n in enumerate(lengths)], HowToRead())
    echo = _Echo()
    pieces = (piece for one in sequences for piece in cutter.pieces(one))
    found = list(in_order(pieces, echo, BatchPlan(60, 10)))
    assert found == [f"{i} {n}" if n > 100 else str(i) for i, n in enumerate(lengths)]
    assert max(map(len, echo.pools)) > 3
    assert len(echo.pools) > lengths.count(150)  # some pools are full before a long piece comes


def test_a_long_piece_that_breaks_is_told_and_the_rest_goes_on():
    def broken():
        yield np.zeros(200, np.uint8)
        raise InputError("broken")

    stream = SimpleNamespace(name="bad", unknown=0)
    bad = LongPiece("bad", 0, broken(), None, None, stream, "file")
    good = Piece("good", 0, np.zeros(3, np.uint8), 0)
    told = []
    plan = BatchPlan(100, 10)
    assert list(in_order([good, bad, good], _Echo(), plan, lambda *what: told.append(what))) == ["good", "good"]
    assert [(source, str(error)) for source, error in told] == [("file", "broken")]
    with pytest.raises(InputError, match="broken"):
        list(in_order([LongPiece("bad", 0, broken(), None, None, stream, "file")], _Echo(), plan))


def test_too_large_a_batch_says_what_to_do():
    def fail():
        with enough_memory(BatchPlan(2**20, 5)):
            raise torch.OutOfMemoryError

    with pytest.raises(InputError, match="does not hold 1,048,576 bases at once; give fewer with --batch-bases"):
        fail()


def test_a_plan_follows_the_size_of_the_model():
    small = BatchPlan.of(ModelConfig(d_model=128, n_layers=12), torch.device("cuda"))
    large = BatchPlan.of(ModelConfig(d_model=1024, n_layers=48), torch.device("cuda"))
    assert small.bases == 2**20
    assert large.bases < small.bases
    assert large.rows < small.rows
    assert BatchPlan.of(ModelConfig(), torch.device("cpu"), 5).bases == 5


def test_what_may_be_given(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nACGT\n")
    letters = np.frombuffer(b"ACG", np.uint8)
    for what, want in (
        (tmp_path / "a.fa", [("a", b"ACGT")]),
        (str(tmp_path / "a.fa"), [("a", b"ACGT")]),
        (b"acg", [("sequence 1", b"acg")]),
        (letters, [("sequence 1", b"ACG")]),
        (["ACG", letters, b"T"], [("sequence 1", b"ACG"), ("sequence 2", b"ACG"), ("sequence 3", b"T")]),
        ([("x", "AC"), ("y", b"G")], [("x", b"AC"), ("y", b"G")]),
        ({"x": "AC"}, [("x", b"AC")]),
        ([], []),
        ([""], [("sequence 1", b"")]),
    ):
        found = [(one.name, b"".join(map(bytes, one.blocks()))) for one in given_sequences(what, HowToRead())]
        assert found == want
    for what, message in (
        (7, "want a path, a sequence, or several of them; got int"),
        ([3], "sequence 1: a sequence is str, bytes or a uint8 array"),
        ([np.zeros((2, 2))], r"got an array of float64, shape \[2, 2\]"),
        (["AC-"], "sequence 1: base 3: found '-', an alignment gap"),
    ):
        with pytest.raises(InputError, match=message):
            list(given_sequences(what, HowToRead()))
    with pytest.raises(InputError, match="stream: base 5: found '-'"):
        list(one_stream(["AC", "GT-"], HowToRead()).blocks())
    with pytest.raises(InputError, match="want a sequence, or an iterable of its blocks"):
        one_stream(7, HowToRead())


def test_a_long_contig_passes_in_bounded_memory(tmp_path):
    size = 40_000_000
    path = tmp_path / "long.fa"
    path.write_bytes(b">a\n" + b"ACGTACGTAC" * (size // 10))
    tracemalloc.start()
    for contig in open_sequences(path).contigs():
        for piece in PieceCutter(DNA, 2**16).pieces(contig):
            with BothWays(piece, DNA) as ways:
                forward = sum(len(chunk) for chunk, _ in rechunk(ways.forward(), 2**16))
                reverse = sum(len(chunk) for chunk, _ in rechunk(ways.reverse(2**16), 2**16))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert forward == reverse == size
    assert peak < 30_000_000  # the start of the spool stays in memory, up to 16 MiB
