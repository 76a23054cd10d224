"""Packed stores that are damaged or lie: bases that are named, or a sentence, and never wrong ones."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packed_cases import CHUNK, as_url, ingest_both, mixed_genome
from store_cases import flip_byte, small_shards

from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.packed import DamagedRuns, unpack
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_format import encode_plain, plain_document, to_json
from dnamamba.pipelines.verify import verify


@pytest.fixture
def genome():
    return mixed_genome()


@pytest.fixture
def store(tmp_path, genome, monkeypatch):
    """The genome in both layouts, in shards of 8,192 bases."""
    small_shards(monkeypatch)
    return ingest_both(genome, tmp_path / "s.zarr")


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("at", [0, 300, 2_047])
def test_a_flipped_byte_in_a_shard_is_named(store, genome, at, url):
    flip_byte(store / "packed" / "packed" / "c" / "1", at)
    where = 8_192 + at // 256 * 1_024
    assembly = open_store(as_url(store) if url else store)["packed"]
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
        open_store(as_url(store))["packed"]["4"], verify(open_store(as_url(store))["packed"])


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
