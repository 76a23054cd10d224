"""The packed layout: the same bases as the raw one, by map, by URL, and as the format page tells another language."""

import hashlib
import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kill_cases import die_at
from store_cases import LETTERS, assert_genome, flip_byte, random_bases, small_shards, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.packed import DamagedRuns, pack, unpack
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_format import encode_plain, plain_document, to_json
from dnamamba.pipelines.store_writer import AssemblyWriter
from dnamamba.pipelines.verify import verify

CHUNK = 1024
CONTIGS = {"chr1": 30_000, "chr2": 1_024, "empty": 0, "chr3": 9_000, "tiny": 3, "4": 16_384}
FORMAT_PAGE = Path(__file__).parent.parent / "docs" / "store.md"


def genome_like(length, seed=0):
    """Long runs of case and of N with a few IUPAC codes, uint8 [length]: what a chromosome looks like."""
    random = np.random.default_rng(seed)
    bases = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, length)]
    for letters, size, count in (("N", 900, length // 9_000), ("RYKMSWBDHV", 1, length // 3_000)):
        for start in random.integers(0, max(length, 1), count):
            bases[start : start + random.integers(1, size + 1)] = ord(random.choice(list(letters)))
    for start in random.integers(0, max(length, 1), length // 600):
        bases[start : start + random.integers(1, 500)] |= 0x20
    return bases


@pytest.fixture
def genome():
    kinds = (genome_like, random_bases)
    return {name: kinds[seed % 2](length, seed) for seed, (name, length) in enumerate(CONTIGS.items())}


@pytest.fixture
def store(tmp_path, genome, monkeypatch):
    """The genome in both layouts, in shards of 8,192 bases."""
    small_shards(monkeypatch)
    for layout in ("raw", "packed"):
        contigs = [(name, f"the {name}", bases) for name, bases in genome.items()]
        ingest_arrays(contigs, tmp_path / "s.zarr", assembly=layout, layout=layout)
    return tmp_path / "s.zarr"


def _as_url(store):
    import fsspec

    memory = fsspec.filesystem("memory")
    if memory.exists("/packed.zarr"):
        memory.rm("/packed.zarr", recursive=True)
    memory.put(str(store), "/packed.zarr", recursive=True)
    return "memory://packed.zarr"


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
    opened = open_store(store if place == "folder" else _as_url(store))
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


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("at", [0, 300, 2_047])
def test_a_flipped_byte_in_a_shard_is_named(store, genome, at, url):
    flip_byte(store / "packed" / "packed" / "c" / "1", at)
    where = 8_192 + at // 256 * 1_024
    assembly = open_store(_as_url(store) if url else store)["packed"]
    for start, stop in ((where, where + 1), (where - 10, where + 10), (0, 30_000)):
        with pytest.raises(InputError, match=rf"contig 'chr1', bases {where + 1:,} to {where + 1_024:,}: damaged"):
            assembly["chr1", start:stop]
    assert np.array_equal(assembly["chr1", :where], genome["chr1"][:where])  # the rest is still good
    assert [(d.contig, d.start, d.end) for d in verify(assembly)] == [("chr1", where, where + 1_024)]


@pytest.mark.parametrize("table", ["case/c/0", "other/c/0/0"])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_flipped_byte_in_a_run_is_named(store, genome, table, at):
    rows = np.frombuffer((store / "packed" / "runs/c/0/0").read_bytes()[:-4], "<u8").reshape(-1, 2)
    column, size = (0, 2) if table.startswith("case") else (1, 6)
    chunk = next(i for i in range(3, 20) if rows[i, column] < rows[i + 1, column])
    flip_byte(store / "packed" / table, int(rows[chunk, column]) * size + at % size)
    assembly = open_store(store)["packed"]
    where = chunk * CHUNK
    found = verify(assembly)
    assert (found[0].contig, found[0].start) == ("chr1", where)
    with pytest.raises(InputError, match=f"contig 'chr1', bases {where + 1:,} to .*damaged"):
        assembly["chr1", where : where + 1]
    assert np.array_equal(assembly["chr1", :where], genome["chr1"][:where])


def test_bits_under_n_count_too(tmp_path, monkeypatch):
    """They change no base, yet they are not what was written."""
    small_shards(monkeypatch)
    ingest_arrays([("n", "", np.full(5_000, ord("N"), np.uint8))], tmp_path / "s", assembly="toy", layout="packed")
    flip_byte(tmp_path / "s" / "toy" / "packed" / "c" / "0", 700)
    (found,) = verify(open_store(tmp_path / "s")["toy"])
    assert (found.contig, found.start, found.end) == ("n", 2_048, 3_072)
    assert "bits under other letters" in found.what


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_anywhere_gives_the_right_bases_or_an_error(store, genome, data):
    files = sorted(path for path in (store / "packed").rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
    try:
        assembly = open_store(store)["packed"]
        for name, bases in genome.items():
            assert np.array_equal(assembly[name], bases)
        assert verify(assembly) == []
        assert path.name == "zarr.json", "verify has to see every flipped bit outside the documents"
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    finally:
        path.write_bytes(content)


def test_a_flipped_checksum_of_the_runs_is_seen_by_verify(store):
    flip_byte(store / "packed" / "case" / "c" / "0", -1)
    with pytest.raises(InputError, match="case/c/0: damaged"):
        verify(open_store(store)["packed"])


@pytest.mark.parametrize("table", ["case/c/0", "other/c/0/0"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_runs_cut_short_or_gone(store, table, damage):
    path = store / "packed" / table
    os.truncate(path, path.stat().st_size - 3) if damage == "cut" else path.unlink()
    with pytest.raises(InputError, match="damaged" if damage == "cut" else "missing"):
        open_store(store)["packed"]["chr1"]
    with pytest.raises(InputError, match=r"damaged|missing"):
        open_store(_as_url(store))["packed"]["4"], verify(open_store(_as_url(store))["packed"])


def _rewrite(store, name, change):
    """Lie with good checksums: change one array of runs and its metadata."""
    folder = store / "packed" / name
    (path,) = (path for path in (folder / "c").rglob("*") if path.is_file())
    dtype, columns = {"case": ("<u2", None), "other": ("<u2", 3), "runs": ("<u8", 2)}[name]
    values = np.frombuffer(path.read_bytes()[:-4], dtype).reshape(-1, *([columns] if columns else []))
    values = change(values.copy())
    path.write_bytes(encode_plain(values))
    (folder / "zarr.json").write_bytes(to_json(plain_document(values.dtype.name, len(values), columns)))


def _read_contigs(store):
    assembly = open_store(store)["packed"]
    return {name: assembly[name] for name in assembly.sizes}


def _set(values, where, value):
    values[where] = value
    return values


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("runs", lambda rows: rows[:-1], "metadata does not fit"),
        ("runs", lambda rows: rows + 1, "does not fit the runs"),
        ("runs", lambda rows: _set(rows, -1, 2**63), "does not fit the runs"),
        ("runs", lambda rows: _set(rows, (3, 0), 2**64 - 1), "does not fit the runs"),
        ("runs", lambda rows: _set(rows, slice(1, -1), rows[-1]), "does not fit the runs"),
        ("case", lambda case: case[:-1], "does not fit the runs"),
        ("case", lambda case: np.full(10**6, 7, "<u2"), "cannot be the shape of runs"),
        ("case", lambda case: case[::-1].copy(), "contig 'chr1', bases .* damaged"),
        ("case", lambda case: np.zeros_like(case), "contig 'chr1', bases .* damaged"),
        ("case", lambda case: case | 0xFC00, "contig 'chr1', bases .* damaged"),
        ("other", lambda other: other[:, ::-1].copy(), "contig 'chr1', bases .* damaged"),
        (
            "other",
            lambda other: _set(other, (slice(None), slice(0, 2)), (0, 65_535)),
            "contig 'chr1', bases .* damaged",
        ),
        ("other", lambda other: _set(other, (slice(None), 2), 0xFF4E), "bases .* damaged"),
        ("other", lambda other: _set(other, (slice(None), 1), 0), "contig 'chr1', bases .* damaged"),
    ],
)
def test_runs_that_lie_are_one_sentence(store, name, change, message):
    _rewrite(store, name, change)
    with pytest.raises(InputError, match=message) as caught:
        _read_contigs(store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "path", "value", "message"),
    [
        ("zarr.json", ["attributes", "layout"], "raw", r"sequence/zarr\.json: missing \(layout 'raw' has it\)"),
        ("zarr.json", ["attributes", "layout"], "zip", "layout 'zip', this package reads raw and packed"),
        ("zarr.json", ["attributes", "layout"], ["packed"], "this package reads raw and packed"),
        ("packed/zarr.json", ["shape"], [10**30], "do not fit"),
        ("packed/zarr.json", ["shape"], [256.0], "not possible"),
        ("packed/zarr.json", ["codecs", 0, "configuration", "chunk_shape"], [128], "not possible"),
        ("packed/zarr.json", ["data_type"], "uint16", "other codecs"),
        ("case/zarr.json", ["shape"], [10**15], "cannot be the shape of runs"),
        ("case/zarr.json", ["shape"], [], "cannot be the shape of runs"),
        ("case/zarr.json", ["shape"], [True], "cannot be the shape of runs"),
        ("other/zarr.json", ["shape"], [7, 2], "metadata does not fit `packed`"),
        ("other/zarr.json", ["data_type"], "uint32", "metadata does not fit `packed`"),
        ("runs/zarr.json", ["shape"], [2, 2], "metadata does not fit `packed`"),
    ],
)
def test_metadata_that_lie_are_one_sentence(store, file, path, value, message):
    document = json.loads((store / "packed" / file).read_text())
    *parents, last = path
    inner = document
    for key in parents:
        inner = inner[key]
    inner[last] = value
    (store / "packed" / file).write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        open_store(store)["packed"]


def test_overlapping_runs_take_no_memory():
    """A chunk's worth of runs over all of it would be 65,536 times the chunk."""
    size = 1 << 16
    other = np.tile(np.array([0, 62, 78], np.uint16), (size, 1))
    nothing, counts = np.empty(0, np.uint16), np.array([[0, size]])
    with pytest.raises(DamagedRuns):
        unpack(np.zeros(size // 4, np.uint8), nothing, other, counts, size, start=0, lower=False)


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


@pytest.mark.parametrize("file", ["packed/c/0", "case/c/0"])
def test_a_forked_child_tests_chunks_anew(store, file):
    assembly = open_store(store)["packed"]
    assembly["chr1"]
    flip_byte(store / "packed" / file, 0)
    child = os.fork()
    if child == 0:
        try:
            assembly["chr1"]
        except InputError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.fixture
def fasta(tmp_path, monkeypatch):
    small_shards(monkeypatch)
    genome = {f"chr{i}": (genome_like, random_bases)[i % 2](3_000 * i % 20_011, i) for i in range(1, 13)}
    return write_fasta(tmp_path / "toy.fa", genome), genome


@pytest.mark.parametrize("ending", ["fa", "2bit"])
def test_there_and_back(fasta, tmp_path, ending):
    path, genome = fasta
    made = ingest(path, tmp_path / "s", layout="packed")
    assert_genome(made, genome)
    if ending == "2bit":  # holds no IUPAC codes
        genome = {k: np.where(np.isin(v, list(b"ACGTacgtNn")), v, ord("N")) for k, v in genome.items()}
        made = ingest(write_fasta(path, genome), tmp_path / "s", layout="packed", overwrite=True)
    export(made, tmp_path / f"out.{ending}")
    assert_genome(ingest(tmp_path / f"out.{ending}", tmp_path / "s", layout="packed"), genome)


def test_a_layout_replaces_the_other(fasta, tmp_path):
    path, genome = fasta
    for layout in ("raw", "packed", "raw"):
        made = ingest(path, tmp_path / "s", layout=layout, overwrite=True)
        assert made.attributes["layout"] == layout
        assert_genome(made, genome)
    with pytest.raises(InputError, match="is there already"):
        ingest(path, tmp_path / "s", layout="packed", resume=True)
    with pytest.raises(InputError, match="layout 'zip': want raw or packed"):
        ingest(path, tmp_path / "s", assembly="other", layout="zip")


KILLS = [("write", 1, False), ("write", 4, True), ("add", 3, False), ("add", 7, True), ("_append", 2, True)]
KILLS += [("_append", 17, True), ("_append", 18, False), ("_append", 33, True), ("_finish_runs", 1, True)]
KILLS += [("finish", 1, False), ("_save", 5, True), ("finish", 1, True)]


def _run_and_die(fasta, store, method, count, after):
    die_at(AssemblyWriter, method, count, after=after)
    ingest(fasta, store, layout="packed", jobs=2)
    os._exit(0)


@pytest.mark.parametrize(("method", "count", "after"), KILLS)
def test_killed_and_resumed(fasta, tmp_path, method, count, after):
    path, genome = fasta
    store, whole = tmp_path / "s", tmp_path / "whole"
    child = multiprocessing.get_context("fork").Process(target=_run_and_die, args=(path, store, method, count, after))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    journal = store / ".ingest" / "toy" / "new" / "journal"
    finished = max(len(journal.read_bytes().splitlines()) - 1, 0) if journal.exists() else 0
    if finished:
        with pytest.raises(InputError, match="layout was 'packed' in the interrupted ingest, now it is 'raw'"):
            ingest(path, store, resume=True)
    worked = set()
    made = ingest(path, store, layout="packed", resume=True, progress=lambda name, *_: worked.add(name))
    assert_genome(made, genome)
    assert not worked & set(list(genome)[:finished]), "finished contigs were done again"
    ingest(path, whole, layout="packed")  # not killed: every byte must be the same
    for name in ("packed", "case", "other", "runs", "crc32c"):
        for file in (whole / "toy" / name).rglob("*"):
            if file.is_file():
                assert (store / file.relative_to(whole)).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("log", ["case", "other", "runs", "packed/c/0"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_what_a_resume_finds_damaged_is_made_again(fasta, tmp_path, log, damage):
    path, genome = fasta
    child = multiprocessing.get_context("fork").Process(
        target=_run_and_die, args=(path, tmp_path / "s", "add", 7, True)
    )
    child.start()
    child.join(60)
    file = tmp_path / "s" / ".ingest" / "toy" / "new" / (log if "/" in log else f"{log}.part")
    if damage == "cut":
        os.truncate(file, 20)
    elif damage == "flip":
        flip_byte(file, 40)
    else:
        file.unlink()
    assert_genome(ingest(path, tmp_path / "s", layout="packed", resume=True), genome)


def test_a_full_disk_leaves_nothing(fasta, tmp_path, monkeypatch):
    import errno

    real, calls = AssemblyWriter._append, []

    def full(self, name, data):
        calls.append(name)
        if name == "case.part" and calls.count(name) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, name, data)

    monkeypatch.setattr(AssemblyWriter, "_append", full)
    with pytest.raises(InputError, match="no space left"):
        ingest(fasta[0], tmp_path / "s", layout="packed")
    assert not (tmp_path / "s").exists()


def test_the_commands_know_the_layout(fasta, tmp_path):
    path, genome = fasta
    store = tmp_path / "s"
    command = [sys.executable, "-m", "dnamamba", "genome"]
    subprocess.run([*command, "ingest", path, "--store", store, "--layout", "packed"], check=True, capture_output=True)
    assert_genome(open_store(store)["toy"], genome)
    answer = subprocess.run([*command, "info", store], check=True, capture_output=True, text=True)
    assert "packed" in answer.stdout
    shutil.rmtree(store)
    simulate = [*command, "simulate", "--store", store, "--bases", "100000", "--layout", "packed"]
    subprocess.run(simulate, check=True, capture_output=True)
    assert open_store(store)["sim_human"].attributes["layout"] == "packed"
