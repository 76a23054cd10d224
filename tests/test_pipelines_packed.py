"""The packed layout: the same bases as the raw one, by map, by URL, and as the format page tells another language."""

import hashlib
import multiprocessing
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_cases import CHUNK, as_url, genome_like, ingest_both, mixed_genome
from store_cases import LETTERS, assert_genome, small_shards

from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.packed import pack, unpack
from dnamamba.pipelines.store import open_store

FORMAT_PAGE = Path(__file__).parent.parent / "docs" / "store.md"


@pytest.fixture
def genome():
    return mixed_genome()


@pytest.fixture
def store(tmp_path, genome, monkeypatch):
    """The genome in both layouts, in shards of 8,192 bases."""
    small_shards(monkeypatch)
    return ingest_both(genome, tmp_path / "s.zarr")


def _padded(bases):
    return np.concatenate([bases, np.zeros(-len(bases) % CHUNK, np.uint8)])


@given(st.lists(st.tuples(st.sampled_from(LETTERS.tolist()), st.integers(1, 200)), min_size=1), st.data())
@settings(max_examples=150, deadline=None)
def test_any_window_of_any_letters_is_unpacked_as_it_was(runs, data):
    block = _padded(np.concatenate([np.full(size, letter, np.uint8) for letter, size in runs]))
    lower = data.draw(st.booleans())
    packed = pack(block, CHUNK, lower=lower)
    rows = np.concatenate([[[0, 0]], np.cumsum(packed.runs, axis=0)])
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(block) // 8)] * 2)))
    start, stop = start * 8, max(stop, start + 1) * 8
    stop = min(stop, len(block))
    if start == stop:
        start -= 8
    a, b = start // CHUNK, (stop - 1) // CHUNK + 1
    window = unpack(
        packed.codes[start // 4 : stop // 4],
        packed.case[rows[a, 0] : rows[b, 0]],
        packed.other[rows[a, 1] : rows[b, 1]],
        packed.runs[a:b],
        CHUNK,
        start=start - a * CHUNK,
        lower=bool(lower ^ (rows[a, 0] & 1)),
        strict=True,
    )
    assert np.array_equal(window, block[start:stop])
    assert packed.lower == bool(block[-1] & 0x20)


def test_a_packing_worked_by_hand():
    block = _padded(np.frombuffer(b"ACGTtgNNNnnR", np.uint8))
    packed = pack(block, CHUNK, lower=False)
    # A 0, C 1, T 2, G 3, the first base in the lowest bits; 0 where the letter is another.
    assert packed.codes[:3].tolist() == [0b10_11_01_00, 0b00_00_11_10, 0]
    assert not packed.codes[3:].any()
    assert packed.case.tolist() == [4, 6, 9, 11]
    assert packed.other.tolist() == [[6, 10, ord("N")], [11, 11, ord("R")], [12, CHUNK - 1, 0]]
    assert packed.runs.tolist() == [[4, 3]]


@pytest.mark.parametrize("place", ["folder", "memory-url"])
def test_both_layouts_give_the_same(store, genome, place):
    opened = open_store(store if place == "folder" else as_url(store))
    raw, packed = opened["raw"], opened["packed"]
    assert packed.attributes["layout"] == "packed"
    assert (packed.fingerprint, packed.contigs) == (raw.fingerprint, raw.contigs)
    assert_genome(packed, genome)
    for name in genome:
        assert np.array_equal(packed.n_count(name), raw.n_count(name))
        assert np.array_equal(packed.checksums(name), raw.checksums(name))
        assert b"".join(piece.tobytes() for piece in packed.blocks(name, 999)) == genome[name].tobytes()
    random = np.random.default_rng(1)
    for start, stop in np.sort(random.integers(0, 30_001, (80, 2))).tolist():  # many cross shards of 8,192 bases
        assert np.array_equal(packed["chr1", start:stop], genome["chr1"][start:stop])
    for start in range(1_000, 1_050):  # every phase in a word, over a chunk's border
        for size in (1, 7, 8, 9, 40):
            assert np.array_equal(packed["chr1", start : start + size], genome["chr1"][start : start + size])


def test_gaps_between_contigs_are_zeros_as_in_the_raw_layout(store):
    raw, packed = (open_store(store)[name].sequence for name in ("raw", "packed"))
    chunks = len(np.fromfile(store / "raw" / "crc32c" / "c" / "0", "<u4")) - 1
    assert np.array_equal(packed.chunks(0, chunks), raw.chunks(0, chunks))


def test_a_window_is_the_callers_own(store, genome):
    assembly = open_store(store)["packed"]
    assembly["chr1", 0:50][:] = 0
    assert np.array_equal(assembly["chr1", 0:50], genome["chr1"][:50])


def test_windows_unpack_their_own_bases_alone(store, monkeypatch):
    """Once a chunk has been tested, a small window costs neither the whole chunk nor its neighbours."""
    from dnamamba.pipelines import packed_sequence

    assembly, seen = open_store(store)["packed"], []
    assembly["chr1", 0:2_000]
    real = packed_sequence.unpack

    def watched(codes, *args, **named):
        seen.append(len(codes))
        return real(codes, *args, **named)

    monkeypatch.setattr(packed_sequence, "unpack", watched)
    assembly["chr1", 1_000:1_016]
    assert seen == [4]


def test_a_genome_takes_little_more_than_a_quarter_byte_a_base(tmp_path):
    """Runs as dense as in hg38: lower case about every 560 bases, half of all bases in it."""
    bases = genome_like(4_000_000, 1)
    made = ingest_arrays([("chr1", "", bases)], tmp_path / "s", assembly="toy", layout="packed")
    size = sum(path.stat().st_size for path in (tmp_path / "s").rglob("*") if path.is_file())
    assert size / len(bases) < 0.28
    assert np.array_equal(made["chr1"], bases)
    files = [path for path in (tmp_path / "s" / "toy").rglob("c/*") if path.is_file()]
    assert len(files) <= 6  # few objects


def test_the_page_is_enough_for_another_reader(store, genome, tmp_path):
    """The program printed in docs/store.md, in a process without dnamamba, reads every contig."""
    (program,) = re.findall(r"^    (import sys, numpy, zarr\n(?:(?:    .*)?\n)+)", FORMAT_PAGE.read_text(), re.M)
    script = tmp_path / "read.py"
    script.write_text(re.sub("^    ", "", program, flags=re.M))
    for layout in ("raw", "packed"):
        command = [sys.executable, "-I", script, store, layout]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        assert answer.splitlines() == [f"{n} {hashlib.md5(b.tobytes()).hexdigest()}" for n, b in genome.items()]
    assert "import dnamamba" not in program


def test_shards_that_zarr_wrote_anew_are_read_too(store, genome):
    """zarr leaves out chunks of zeros, which a run of N is, and may place the others in another order."""
    import zarr

    array = zarr.open_array(str(store / "packed" / "packed"), mode="r+")
    everything = array[:]
    for path in (store / "packed" / "packed" / "c").iterdir():
        path.unlink()
    array[3_000:] = everything[3_000:]
    array[:3_000] = everything[:3_000]
    assert_genome(open_store(store)["packed"], genome)


def test_all_n_and_all_in_one_case(tmp_path, monkeypatch):
    small_shards(monkeypatch)
    genome = {"n": np.full(20_000, ord("N"), np.uint8), "low": np.full(9_000, ord("a"), np.uint8)}
    genome |= {"lown": np.full(3_000, ord("n"), np.uint8), "up": np.full(5_000, ord("G"), np.uint8)}
    made = ingest_arrays([(k, "", v) for k, v in genome.items()], tmp_path / "s", assembly="toy", layout="packed")
    assert_genome(made, genome)
    made = ingest_arrays([("g", "", np.full(2_048, ord("G"), np.uint8))], tmp_path / "s", assembly="u", layout="packed")
    assert made._metadata.lengths["case"] == made._metadata.lengths["other"] == 0
    assert_genome(made, {"g": np.full(2_048, ord("G"), np.uint8)})


def _read_all(assembly, genome):
    good = all(np.array_equal(assembly[name], bases) for name, bases in genome.items())
    return good and all(
        np.array_equal(assembly["chr1", i : i + 500], genome["chr1"][i : i + 500]) for i in range(0, 29_000, 371)
    )


@pytest.mark.parametrize("layout", ["raw", "packed"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_workers_read_side_by_side(store, genome, layout, method):
    assembly = open_store(store)[layout]
    assembly["chr1", 100:9_000]  # maps and tested chunks are there when the workers start
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = [pool.apply_async(_read_all, (assembly, genome)) for _ in range(4)]
        assert _read_all(assembly, genome)
        assert [answer.get(60) for answer in answers] == [True] * 4
    assert len(pickle.dumps(assembly)) < 1_000
