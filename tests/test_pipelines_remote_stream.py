"""A genome streamed from its address into a store: gone on with, verified, and never half right."""

import hashlib
from functools import partial

import pytest
from faulty_server import drop, ignore_range, lie, stall, status, unannounced
from fetch_cases import QUICK, add_manifest
from remote_source_cases import GENOME, genome_texts, take, what
from store_cases import assert_genome

from dnamamba.errors import InputError


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return genome_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def manifests(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path / "m"))
    return partial(add_manifest, tmp_path / "m")


@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip"])
@pytest.mark.parametrize(
    "faults",
    [
        [],
        [drop(100_000), drop(50_000), status(503, Retry_After=0)],
        [stall(200_000)],
        [drop(100_000), ignore_range],
        [unannounced(150_000), unannounced()],
        [drop(100_000), lie(Content_Range="bytes 0-5/9")],
    ],
    ids=["well", "dropped", "stalled", "Range ignored", "chunked", "another part"],
)
@pytest.mark.parametrize("etags", [True, False], ids=["etag", "no etag"])
def test_streamed_from_the_server_into_the_store(server, tmp_path, texts, kind, faults, etags):
    data = texts[kind]
    server.etags = etags
    url = server.put("toy.fa.gz", data, *faults)
    made, notes = take(url, tmp_path / "s", stream=True)
    assert_genome(made, GENOME)
    assert what(made) == ("toy.fa.gz", len(data), hashlib.sha256(data).hexdigest())
    assert made.attributes["provenance"]["url"] == url
    assert any("neither its size nor a checksum is known" in note for note in notes)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["toy", "zarr.json"]


def test_the_rest_is_asked_for_and_not_the_whole(server, tmp_path, texts):
    take(server.put("toy.fa", texts["plain"], drop(1_000_000)), tmp_path / "s", stream=True)
    assert server.ranges("toy.fa") == [None, "bytes=1000000-"]


@pytest.mark.parametrize("etags", [True, False], ids=["etag", "no etag"])
def test_a_stream_whose_file_changes_is_not_glued(server, tmp_path, texts, etags):
    server.etags = etags
    other = texts["plain"].replace(b"A", b"C")

    def change(x):
        drop(1_000_000)(x)
        server.files["toy.fa"] = other

    url = server.put("toy.fa", texts["plain"], change)
    with pytest.raises(InputError, match=r"not the same file any more after 1,000,000 bytes"):
        take(url, tmp_path / "s", stream=True)

    def shorter(x):
        drop(1_000_000)(x)
        server.files["toy.fa"] = texts["plain"][:500]

    url = server.put("toy.fa", texts["plain"], shorter)
    with pytest.raises(InputError, match="not the same file any more"):
        take(url, tmp_path / "s", stream=True)
    assert not (tmp_path / "s").exists()


def test_a_stream_of_the_wrong_file_never_shows(server, tmp_path, texts, manifests):
    data = texts["gzip"]
    url = server.put("toy.fa.gz", data)
    manifests("toy", url, data, digest="0" * 32)
    with pytest.raises(InputError, match=f"{hashlib.md5(data).hexdigest()}, and {'0' * 32} is wanted"):
        take("toy", tmp_path / "s", stream=True)
    assert not (tmp_path / "s").exists()
    # The publisher's list, and a size that is not met.
    manifests("toy", url, data, digest="unknown", md5sums=server.put("md5sum.txt", b"1" * 32 + b"  toy.fa.gz\n"))
    with pytest.raises(InputError, match=f"{'1' * 32} is wanted .*md5sum.txt"):
        take("toy", tmp_path / "s", stream=True)
    manifests("toy", url, data + b"x")
    with pytest.raises(InputError, match=f"{len(data) + 1:,} are wanted"):
        take("toy", tmp_path / "s", stream=True)
    manifests("toy", url, data)
    made, notes = take("toy", tmp_path / "s", stream=True)
    assert_genome(made, GENOME)
    assert notes == []
    assert made.attributes["provenance"]["md5"] == hashlib.md5(data).hexdigest()


def test_a_mirror_takes_over_in_the_middle_of_a_stream(server, tmp_path, texts):
    from dnamamba.pipelines.manifest import SourceFile
    from dnamamba.pipelines.remote_stream import RemoteStream

    data = texts["plain"]
    for md5, ranges in ((hashlib.md5(data).hexdigest(), ["bytes=1000000-"]), (None, [None])):
        one = server.put("a/toy.fa", data, drop(1_000_000), *[status(500)] * 9)
        two = server.put("b/toy.fa", data)
        del server.requests[:]
        file = SourceFile(format="fasta", urls=(one, two), size=len(data), md5=md5, md5sums=None)
        stream = RemoteStream(file, settings=QUICK, note=[].append)
        got = b"".join(iter(stream.next_piece, b""))
        assert got == data
        assert server.ranges("b/toy.fa") == ranges


def test_a_truncated_stream_is_no_whole_genome(server, tmp_path, texts):
    url = server.put("toy.fa.gz", texts["gzip"], *[lie(Content_Length=300_000)] * 9)
    with pytest.raises(InputError, match=r"the gzip data end at byte 300,000 .* truncated"):
        take(url, tmp_path / "s", stream=True)
    url = server.put("toy.fa", texts["plain"], drop(1_000_000), *[status(404)] * 9)
    with pytest.raises(InputError, match=r"could not be streamed: .* answers 404"):
        take(url, tmp_path / "s", stream=True)
    assert not (tmp_path / "s").exists()


def test_2bit_is_not_streamed(server, tmp_path, manifests):
    url = server.put("toy.2bit", b"\x43\x27\x41\x1a" + bytes(12))
    with pytest.raises(InputError, match=r"toy.2bit: holds 2bit data, which cannot be streamed.* Leave --stream out"):
        take(url, tmp_path / "s", stream=True)
