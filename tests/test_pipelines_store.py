"""Reading a store: the bytes of the source, by map, by URL and by zarr alone; damage never comes out as bases."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import flip_byte, random_bases, small_shards

from dnamamba.errors import InputError
from dnamamba.pipelines.digests import crc32c
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_format import Layout, choose_layout, decode_index, encode_index, to_json
from dnamamba.pipelines.store_info import store_table
from dnamamba.pipelines.verify import verify

CONTIGS = {"chr1": 30_000, "chr2": 1_024, "empty": 0, "chr3": 9_000, "tiny": 3, "4": 16_384}


@pytest.fixture
def genome():
    return {name: random_bases(length, seed) for seed, (name, length) in enumerate(CONTIGS.items())}


@pytest.fixture
def store(tmp_path, genome, monkeypatch):
    small_shards(monkeypatch)
    contigs = [(name, f"the {name}", bases) for name, bases in genome.items()]
    ingest_arrays(contigs, tmp_path / "s.zarr", assembly="toy", aliases={"NC_1": "chr1"}, provenance={"a": [1]})
    return tmp_path / "s.zarr"


def _as_url(store):
    import fsspec

    memory = fsspec.filesystem("memory")
    if memory.exists("/copy.zarr"):
        memory.rm("/copy.zarr", recursive=True)
    memory.put(str(store), "/copy.zarr", recursive=True)
    return "memory://copy.zarr"


@pytest.fixture(params=["folder", "file-url", "memory-url"])
def opened(request, store):
    places = {"folder": lambda: store, "file-url": lambda: store.as_uri(), "memory-url": lambda: _as_url(store)}
    return open_store(places[request.param]())["toy"]


def test_contigs_windows_and_counts_are_those_of_the_source(opened, genome):
    assert opened.sizes == CONTIGS
    assert list(opened) == list(CONTIGS)
    assert len(opened) == len(CONTIGS)
    assert "chr1" in opened
    assert "chr9" not in opened
    for name, bases in genome.items():
        assert np.array_equal(opened[name], bases)
        counts = [np.isin(bases[i : i + 1024], list(b"Nn")).sum() for i in range(0, len(bases), 1024)]
        assert opened.n_count(name).tolist() == counts
    random = np.random.default_rng(1)
    for start, stop in np.sort(random.integers(0, 30_001, (60, 2))):  # many of them cross shards of 8,192 bases
        assert np.array_equal(opened["chr1", start:stop], genome["chr1"][start:stop])
    assert np.array_equal(opened["chr3", :100], genome["chr3"][:100])
    assert np.array_equal(opened["chr3", 8_999:], genome["chr3"][8_999:])
    assert len(opened["chr1", 30_000:30_000]) == 0


def test_a_window_is_the_callers_own(store):
    assembly = open_store(store)["toy"]
    before = assembly["chr1", 0:50].copy()
    assembly["chr1", 0:50][:] = 0
    assert np.array_equal(assembly["chr1", 0:50], before)


def test_long_contigs_start_on_a_shard_border_and_all_on_a_chunk_border(store):
    for contig in open_store(store)["toy"].contigs:
        assert contig.offset % (8_192 if contig.length > 8_192 else 1_024) == 0


def test_zarr_alone_reads_the_sequence(store, genome):
    """The promise of the raw layout, in a process that has not loaded dnamamba."""
    script = (
        "import sys, zarr, hashlib; group = zarr.open_group(sys.argv[1], mode='r')['toy']\n"
        "sequence = group['sequence']\n"
        "for row in group.attrs['contigs']:\n"
        "    bases = sequence[row['offset']:row['offset'] + row['length']].tobytes()\n"
        "    print(row['name'], hashlib.md5(bases).hexdigest(), hashlib.md5(bases.upper()).hexdigest() == row['md5'])\n"
        "assert 'dnamamba' not in sys.modules and group['n_count'][:].sum() == group.attrs['n_bases']"
    )
    out = subprocess.run([sys.executable, "-c", script, store], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [f"{n} {hashlib.md5(b.tobytes()).hexdigest()} True" for n, b in genome.items()]


def test_shards_that_zarr_wrote_anew_are_read_too(store, genome):
    """zarr leaves out chunks of zeros and may place the others in another order."""
    array = zarr.open_array(str(store / "toy" / "sequence"), mode="r+")
    everything = array[:]
    for path in (store / "toy" / "sequence" / "c").iterdir():
        path.unlink()
    array[9_000:] = everything[9_000:]
    array[:9_000] = everything[:9_000]
    assembly = open_store(store)["toy"]
    for name, bases in genome.items():
        assert np.array_equal(assembly[name], bases)


def test_a_scattered_shard_is_read_chunk_by_chunk(store, genome):
    """Chunks in reverse order inside the shard, one of them not stored: the index alone says where they are."""
    path, layout = store / "toy" / "sequence" / "c" / "0", Layout(1024, 8192)
    data = path.read_bytes()
    places = decode_index(data[-132:], layout, len(data) - 132, "shard")
    chunks = [data[place : place + 1024] for place in places]
    index = np.frombuffer(encode_index(8, layout)[:-4], "<u8").reshape(8, 2).copy()
    index[:, 0] = index[::-1, 0]
    body = index.tobytes()
    path.write_bytes(b"".join(chunks[::-1]) + body + crc32c(body).to_bytes(4, "little"))
    assembly = open_store(store)["toy"]
    assert np.array_equal(assembly["chr1"], genome["chr1"])
    assert np.array_equal(assembly["chr1", 1_000:2_050], genome["chr1"][1_000:2_050])


def test_verify_reads_a_remote_store_too(store):
    url = _as_url(store)
    assert verify(open_store(url)["toy"]) == []
    flip_byte(store / "toy" / "sequence" / "c" / "0", 1_030)
    (damage,) = verify(open_store(_as_url(store))["toy"])
    assert (damage.contig, damage.start, damage.end, damage.what) == ("chr1", 1_024, 2_048, "the checksum differs")


@pytest.mark.parametrize("at", [0, 1_500, 8_191])
def test_a_flipped_byte_never_comes_out_as_a_base(store, genome, at):
    flip_byte(store / "toy" / "sequence" / "c" / "1", at)
    where = 8_192 + at // 1_024 * 1_024
    for assembly in (open_store(store)["toy"], open_store(_as_url(store))["toy"]):
        for start, stop in ((where, where + 1), (where - 10, where + 10), (0, 30_000)):
            with pytest.raises(InputError, match=rf"contig 'chr1', bases {where + 1:,} to {where + 1_024:,}: damaged"):
                assembly["chr1", start:stop]
        assert np.array_equal(assembly["chr1", :where], genome["chr1"][:where])  # the rest is still good


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_anywhere_gives_the_right_bases_or_an_error(store, genome, data):
    """Shards, checksums, metadata: whatever is hit, wrong bases never come out, nor any other exception."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
    try:
        assembly = open_store(store)["toy"]
        for name, bases in genome.items():
            assert np.array_equal(assembly[name], bases)
            assembly.n_count(name)
        assert verify(assembly) == []
        store_table(open_store(store), [assembly], 3)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  (any number of them, or none)
    finally:
        path.write_bytes(content)


def test_other_damage_to_a_shard(store):
    shards = store / "toy" / "sequence" / "c"
    flip_byte(shards / "0", -20)
    with pytest.raises(InputError, match="index is damaged"):
        open_store(store)["toy"]["chr1", 0:10]
    os.truncate(shards / "1", 5_000)
    with pytest.raises(InputError, match="index is damaged"):
        open_store(store)["toy"]["chr1", 8_192:8_200]
    os.truncate(shards / "1", 100)
    with pytest.raises(InputError, match="too short"):
        open_store(store)["toy"]["chr1", 8_192:8_200]
    (shards / "2").unlink()
    with pytest.raises(InputError, match="missing"):
        open_store(store)["toy"]["chr1", 16_384:16_390]


@pytest.mark.parametrize("file", ["crc32c/c/0", "n_count/c/0"])
def test_damaged_checksums_and_counts(store, file):
    flip_byte(store / "toy" / file, 5)
    assembly = open_store(store)["toy"]
    with pytest.raises(InputError, match="damaged"):
        assembly["chr1", 0:10], assembly.n_count("chr1")


def _set(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


@pytest.mark.parametrize(
    ("file", "path", "value", "message"),
    [
        ("zarr.json", ["zarr_format"], 2, "not a Zarr v3"),
        ("zarr.json", ["attributes", "format"], "other", "not a genome store"),
        ("zarr.json", ["attributes", "version"], 99, "version 99"),
        ("toy/zarr.json", ["attributes", "version"], 99, "version 99"),
        ("toy/zarr.json", ["attributes", "layout"], "packed", "layout 'packed'"),
        ("toy/zarr.json", ["attributes", "contigs"], None, "contig table is missing"),
        ("toy/zarr.json", ["attributes", "contigs"], [], "contig table is missing"),
        ("toy/zarr.json", ["attributes", "contigs", 0, "offset"], 1024, "contig table is damaged"),
        ("toy/zarr.json", ["attributes", "fingerprint"], "x", "fingerprint"),
        ("toy/zarr.json", ["attributes", "aliases"], {"a": "nowhere"}, "aliases"),
        ("toy/sequence/zarr.json", ["shape"], [10**30], "do not fit"),
        ("toy/sequence/zarr.json", ["shape"], ["many"], "not possible"),
        ("toy/sequence/zarr.json", ["shape"], [128 * 1024], "does not fit"),
        ("toy/sequence/zarr.json", ["codecs"], [], "not that of a sharded array"),
        ("toy/sequence/zarr.json", ["codecs", 0, "configuration", "codecs"], [{"name": "zstd"}], "other codecs"),
        ("toy/sequence/zarr.json", ["codecs", 0, "configuration", "chunk_shape"], [3], "not possible"),
        ("toy/sequence/zarr.json", ["data_type"], "uint16", "other codecs"),
        ("toy/crc32c/zarr.json", ["shape"], [1], "does not fit"),
    ],
)
def test_metadata_that_lie_are_one_sentence(store, monkeypatch, file, path, value, message):
    document = json.loads((store / file).read_text())
    _set(document, path, value)
    (store / file).write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        open_store(store)["toy"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"offset": 8192 * 3}, "not on a chunk border|ends at"),
        ({"offset": -1024}, "not on a chunk border"),
        ({"length": -1}, "not on a chunk border"),
        ({"length": 10**12}, "past the sequence's end"),
        ({"length": True}, "other fields"),
        ({"name": "chr2"}, "twice"),
        ({"name": "\x1b[2J"}, "not printable"),
        ({"description": "a\n>b"}, "line end"),
    ],
)
def test_a_contig_table_with_good_checksums_is_not_believed_either(store, row, message):
    from dnamamba.pipelines.store_format import contigs_checksum

    document = json.loads((store / "toy" / "zarr.json").read_text())
    rows = document["attributes"]["contigs"]
    rows[0].update(row)
    document["attributes"]["contigs_crc32c"] = contigs_checksum(rows)
    (store / "toy" / "zarr.json").write_bytes(to_json(document))
    with pytest.raises(InputError, match=message):
        open_store(store)["toy"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_root_that_is_no_document(tmp_path, content):
    (tmp_path / "zarr.json").write_bytes(content)
    with pytest.raises(InputError, match=r"zarr\.json"):
        open_store(tmp_path)


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(InputError, match="no genome store here"):
        open_store(tmp_path / "nothing")
    with pytest.raises(InputError, match="no assembly 'toi'; is 'toy' meant"):
        open_store(store)["toi"]
    for name in ("../s.zarr", ".ingest", "", "a/b"):
        with pytest.raises(InputError, match="assembly name"):
            open_store(store)[name]
    shutil.rmtree(store / "toy" / "n_count")
    with pytest.raises(InputError, match=r"n_count/zarr\.json: missing"):
        open_store(store)["toy"]


def test_positions_outside_a_contig_are_refused(store):
    assembly = open_store(store)["toy"]
    for start, stop in ((-1, 5), (5, 4), (0, 30_001), (30_001, 30_001)):
        with pytest.raises(InputError, match="want 0 <= start <= stop <= 30,000"):
            assembly["chr1", start:stop]
    with pytest.raises(InputError, match="want a slice of bases, such as 5:6, got 5"):
        assembly["chr1", 5]
    with pytest.raises(InputError, match="no step"):
        assembly["chr1", 0:10:2]


def test_names_resolve(store):
    assembly = open_store(store)["toy"]
    assert [assembly.resolve(name) for name in ("chr1", "NC_1", "1", "chr4", "4")] == ["chr1", "chr1", "chr1", "4", "4"]
    assert np.array_equal(assembly["NC_1", 5:9], assembly["chr1", 5:9])
    with pytest.raises(InputError, match="no contig 'chr9'; is 'chr"):
        assembly["chr9", 0:1]


def test_mitochondria_of_two_builds_are_not_mixed_up(tmp_path):
    assembly = ingest_arrays([("chrM", "", random_bases(9))], tmp_path / "s", assembly="hg19")
    for name in ("M", "MT"):
        with pytest.raises(InputError, match="no contig"):
            assembly.resolve(name)


def test_an_assembly_crosses_pickle_fork_and_spawn(store, genome):
    assembly = open_store(store)["toy"]
    warm = assembly["chr1", 100:200]
    assert np.array_equal(pickle.loads(pickle.dumps(assembly))["chr1", 100:200], warm)
    assert len(pickle.dumps(assembly)) < 1_000
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # no pytest machinery in the child
        good = all(
            np.array_equal(assembly["chr1", i : i + 500], genome["chr1"][i : i + 500]) for i in range(0, 29_000, 37)
        )
        os.write(write, b"+" if good else b"-")
        os._exit(0)
    for i in range(0, 29_000, 41):
        assert np.array_equal(assembly["chr1", i : i + 500], genome["chr1"][i : i + 500])
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"+"
    os.close(read), os.close(write)
    script = "import pickle, sys; a = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(a['chr1'].tobytes())"
    out = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(assembly), capture_output=True, check=True)
    assert out.stdout == genome["chr1"].tobytes()


def test_a_child_tests_chunks_anew(store):
    """What was tested in the parent is tested again in a child: first touch in a process."""
    assembly = open_store(store)["toy"]
    assembly["chr1", 0:10]
    flip_byte(store / "toy" / "sequence" / "c" / "0", 5)
    child = os.fork()
    if child == 0:
        try:
            assembly["chr1", 0:10]
        except InputError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_assembly_replaced_under_a_reader_is_noticed(store):
    assembly = open_store(store)["toy"]
    travelling = pickle.dumps(assembly)
    ingest_arrays([("chr1", "", random_bases(40_000, 99))], store, assembly="toy", overwrite=True)
    with pytest.raises(InputError, match="was replaced"):
        pickle.loads(travelling)
    with pytest.raises(InputError, match="damaged"):  # the new shards do not have the old checksums
        assembly["chr1", 0:10]


def test_the_store_says_what_it_holds(store):
    opened = open_store(store)
    assert opened.assemblies == list(opened) == ["toy"]
    assert "toy" in opened
    assert "x" not in opened
    assembly = opened["toy"]
    assert assembly.attributes["provenance"] == {"a": [1]}
    assert assembly.attributes["bases"] == sum(CONTIGS.values())
    assert [contig.description for contig in assembly.contigs][:2] == ["the chr1", "the chr2"]
    assert opened.only().name == "toy"


@given(lengths=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_layout_holds_every_contig_at_little_cost(lengths):
    layout = choose_layout(lengths, complete=True)
    end = 0
    for length in lengths:
        offset = layout.place(end, length)
        assert offset >= end
        assert offset % layout.chunk == 0
        assert length <= layout.shard or offset % layout.shard == 0
        end = layout.end(offset, length)
    assert layout.chunk == 1_024 or end <= 1.25 * sum(lengths)
    assert layout.shard <= 2**26
    assert layout.shard % layout.chunk == 0
    assert choose_layout([250_000_000], complete=False) == Layout(2**16, 2**26)


def test_index_survives_and_lies_are_refused():
    layout = Layout(1024, 4096)
    index = encode_index(3, layout)
    assert decode_index(index, layout, 3 * 1024, "f").tolist() == [0, 1024, 2048, -1]
    with pytest.raises(InputError, match="outside its file"):
        decode_index(index, layout, 2 * 1024, "f")
    with pytest.raises(InputError, match="index is damaged"):
        decode_index(index[1:], layout, 3 * 1024, "f")
