"""Verify: every kind of damage is found, and named by contig and range."""

import json
import os

import numpy as np
import pytest
from store_cases import flip_byte, random_bases, small_shards

from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_format import Contig, contigs_checksum, contigs_fingerprint, encode_plain, to_json
from dnamamba.pipelines.store_metadata import contig_row
from dnamamba.pipelines.verify import verify

CONTIGS = {"a": 20_000, "b": 1_500, "c": 9_000}


@pytest.fixture
def store(tmp_path, monkeypatch):
    small_shards(monkeypatch)
    contigs = [(name, "", random_bases(length, length)) for name, length in CONTIGS.items()]
    ingest_arrays(contigs, tmp_path / "s", assembly="toy")
    return tmp_path / "s"


def _damage(store, jobs=1):
    return [(found.contig, found.start, found.end) for found in verify(open_store(store)["toy"], jobs=jobs)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_chunks_are_named_and_neighbours_put_together(store, jobs):
    assert _damage(store, jobs) == []
    contigs = {contig.name: contig for contig in open_store(store)["toy"].contigs}
    shards = store / "toy" / "sequence" / "c"
    for name, base in (("a", 1_024), ("a", 2_050), ("a", 19_999), ("b", 1_499), ("c", 8_500)):
        shard, at = divmod(contigs[name].offset + base, 8_192)
        flip_byte(shards / str(shard), at)
    want = [("a", 1_024, 3_072), ("a", 19_456, 20_000), ("b", 1_024, 1_500), ("c", 8_192, 9_000)]
    assert _damage(store, jobs) == want


def test_padding_counts_too(store):
    contig = open_store(store)["toy"].contigs[1]
    flip_byte(store / "toy" / "sequence" / "c" / str(contig.offset // 8_192), (contig.offset + 1_700) % 8_192)
    assert _damage(store) == [("b", 1_024, 1_500)]


def test_a_shard_that_cannot_be_read_damages_its_contigs_alone(store):
    (store / "toy" / "sequence" / "c" / "1").unlink()
    found = verify(open_store(store)["toy"])
    assert [(damage.contig, damage.start, damage.end) for damage in found] == [("a", 8_192, 16_384)]
    assert "this shard is missing" in found[0].what
    assert str(found[0]).startswith("contig 'a', bases 8,193 to 16,384: ")


def _rewrite(store, change):
    """Lie consistently: change the contig table and everything that vouches for it."""
    path = store / "toy" / "zarr.json"
    document = json.loads(path.read_text())
    change(document["attributes"])
    rows = document["attributes"]["contigs"]
    document["attributes"]["contigs_crc32c"] = contigs_checksum(rows)
    document["attributes"]["fingerprint"] = contigs_fingerprint(Contig(**row) for row in rows)
    path.write_bytes(to_json(document))


def test_digests_are_recomputed(store):
    _rewrite(store, lambda facts: facts["contigs"][1].update(md5="0" * 32))
    assert _damage(store) == [("b", 0, 1_500)]
    assert "digests differ" in str(verify(open_store(store)["toy"])[0])


def test_letters_are_counted_again(store):
    def change(facts):
        facts["contigs"][2]["lower"] += 1
        facts["lower_bases"] += 1

    _rewrite(store, change)
    assert _damage(store) == [("c", 0, 9_000)]


def test_counts_of_n_are_compared(store):
    assembly = open_store(store)["toy"]
    counts = np.concatenate([assembly.n_count(contig.name) for contig in assembly.contigs])
    path = store / "toy" / "n_count" / "c" / "0"
    stored = np.frombuffer(path.read_bytes()[:-4], "<u2").copy()
    assert stored.sum() == counts.sum()
    stored[3] += 1
    path.write_bytes(encode_plain(stored))
    assert _damage(store) == [("a", 3_072, 4_096)]
    flip_byte(path, 0)
    with pytest.raises(InputError, match="n_count: damaged"):
        verify(open_store(store)["toy"])


def test_progress_and_rows(store):
    seen = []
    assembly = open_store(store)["toy"]
    verify(assembly, progress=lambda *call: seen.append(call))
    assert seen[-1] == ("c", 30_500, 30_500)
    assert contig_row(assembly.contigs[1])["length"] == 1_500
    os.truncate(store / "toy" / "crc32c" / "c" / "0", 8)
    with pytest.raises(InputError, match="crc32c: damaged"):
        verify(open_store(store)["toy"])
