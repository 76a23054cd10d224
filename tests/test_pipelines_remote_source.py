"""From a name or an address to a store in one go: downloaded or streamed, resumed, verified, and never half right."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from faulty_server import drop
from fetch_cases import add_manifest
from remote_source_cases import GENOME, genome_texts, take, what
from store_cases import assert_genome

from dnamamba.errors import InputError
from dnamamba.pipelines.remote_source import Remote, find_source, ingest_source
from dnamamba.pipelines.store import open_store


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return genome_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def manifests(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path / "m"))
    return partial(add_manifest, tmp_path / "m")


def test_downloaded_by_name_ingested_and_removed(server, tmp_path, texts, manifests):
    data = texts["gzip"]
    manifests("toy", server.put("x.fa.gz", data, drop(300_000)), data)
    ticks = []
    options = {"format": "fasta", "fetched": lambda *tick: ticks.append(tick)}
    made, _ = take("toy", tmp_path / "s", **options)
    assert made.name == "toy"
    assert_genome(made, GENOME)
    assert what(made) == ("x.fa.gz", len(data), hashlib.sha256(data).hexdigest())
    assert made.attributes["provenance"]["checked"] == ["size", "MD5 of the manifest"]
    assert made["1", 0:10].tobytes() == GENOME["chr1"][:10].tobytes()  # the manifest's aliases came along
    assert ticks[-1] == ("x.fa.gz", len(data), len(data))
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["toy", "zarr.json"]
    asked = len(server.requests)
    with pytest.raises(InputError, match="'toy' is there already; --overwrite replaces it"):
        take("toy", tmp_path / "s", **options)
    assert len(server.requests) == asked, "it was downloaded before the store was looked at"


def test_downloads_that_stay(server, tmp_path, texts):
    data = texts["plain"]
    url = server.put(["toy.fa", "key=secret"][0], data) + "?key=secret"
    made, _ = take(url, tmp_path / "s", folder=tmp_path / "d")
    assert (tmp_path / "d" / "toy.fa").read_bytes() == data
    assert "secret" not in str(made.attributes)
    take(url, tmp_path / "t", folder=tmp_path / "d")
    assert len(server.requests) == 1
    _, notes = take(url, tmp_path / "u", keep=True)
    (kept,) = (tmp_path / "u").rglob("toy.fa")
    assert any(str(kept) in note for note in notes)
    assert open_store(tmp_path / "u").assemblies == ["toy"]
    assert open_store(tmp_path / "u").unfinished == []


def test_a_download_outlasts_a_failure(server, tmp_path, texts):
    data = texts["plain"]
    bad = server.put("toy.fa", data + b">x\nACGX\n")
    with pytest.raises(InputError, match="base 4: found 'X'"):
        take(bad, tmp_path / "s")
    made, _ = take(bad, tmp_path / "s", unknown="N")
    assert bytes(made["x"]) == b"ACGN"
    assert len(server.requests) == 1
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["toy", "zarr.json"]


def test_two_addresses_with_one_file_name_do_not_stand_in_for_each_other(server, tmp_path):
    one, two = server.put("a/genome.fa", b">x\nAAAA\n"), server.put("b/genome.fa", b">x\nCCCC\n")
    store = tmp_path / "s"
    assert bytes(take(one, store, assembly="a", keep=True)[0]["x"]) == b"AAAA"
    assert bytes(take(two, store, assembly="b", keep=True)[0]["x"]) == b"CCCC"


def test_a_path_wins_over_a_name(tmp_path, monkeypatch, manifests):
    manifests("toy", "http://127.0.0.1:9/toy.fa", b"x")
    monkeypatch.chdir(tmp_path)
    found = find_source("toy")
    assert isinstance(found, Remote)
    assert found.manifest.name == "toy"
    assert find_source("toy", "2bit").file.format == "2bit"
    (tmp_path / "toy").write_text(">x\nACGT\n")
    assert find_source("toy") == "toy"
    assert bytes(ingest_source("toy", tmp_path / "s")["x"]) == b"ACGT"
    assert find_source(str(tmp_path / "m" / "toy.yaml")).manifest.name == "toy"
    assert find_source("-") == "-"


def test_a_file_address_is_a_path(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "toy.fa").write_text(">x\nACGT\n")
    made = ingest_source(f"file://{tmp_path}/a%20b/toy.fa", tmp_path / "s", stream=True)
    assert bytes(made["x"]) == b"ACGT"
    assert "url" not in made.attributes["provenance"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hg83", r"hg83: no such file, and no genome of this name; is 'hg38' meant\?"),
        ("qqqqqqqq", "`dnamamba genome list` shows the names"),
        ("a/hg38", "a/hg38: no such file$"),
        ("ftp://h/x.fa", "ftp:// is not fetched"),
        ("http://h/", "ends without the name of a file"),
        ("x.yaml", "x.yaml: cannot be read"),
    ],
)
def test_what_is_no_source(tmp_path, source, message):
    with pytest.raises(InputError, match=message):
        take(source, tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.fixture
def bucket(monkeypatch):
    """An S3 bucket "genomes" on a local server."""
    pytest.importorskip("moto", reason="moto, a local S3 server, is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs (pip install 'dnamamba[s3]') is not installed")
    code = (
        "import sys; from moto.server import ThreadedMotoServer\n"
        "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False); server.start()\n"
        "print('at', server.get_host_and_port()[1], flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = ""
    while not line.startswith("at "):
        line = process.stdout.readline()
        assert line, "the server did not start"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.split()[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("genomes")
    yield filesystem
    process.stdin.close()
    process.wait(20)
    s3fs.S3FileSystem.clear_instance_cache()


def test_from_and_to_an_object_store(server, tmp_path, texts, bucket):
    data = texts["gzip"]
    with bucket.open("genomes/toy.fa.gz", "wb") as file:
        file.write(data)
    url = "s3://genomes/toy.fa.gz"
    for i, options in enumerate([{}, {"stream": True}]):
        made, _ = take(url, tmp_path / f"s{i}", **options)
        assert_genome(made, GENOME)
        assert what(made) == ("toy.fa.gz", len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(InputError, match=r"none.fa: no such file"):
        take("s3://genomes/none.fa", tmp_path / "t")
    web, store = server.put("toy.fa.gz", data), "s3://genomes/store.zarr"
    with pytest.raises(InputError, match="has no place for downloads; give --dir, or --stream"):
        take(web, store)
    assert_genome(take(web, store, stream=True)[0], GENOME)
    assert_genome(take(web, store, folder=tmp_path / "d", assembly="two")[0], GENOME)


def _slow(x):
    x.head()
    rest = x.data[x.start :]
    for start in range(0, len(rest), 30_000):
        x.handler.wfile.write(rest[start : start + 30_000])
        time.sleep(0.01)


def _child(*arguments):
    # A shell starts what it runs in the background with Ctrl-C ignored; this child must hear it all the same.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom dnamamba.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "genome", "ingest", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _wait_for(child, there):
    while not there():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.005)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("how", ["download", "stream"])
def test_killed_or_interrupted_and_resumed(server, tmp_path, texts, how, sign):
    data, store = texts["plain"], tmp_path / "s"
    url = server.put("toy.fa", data, _slow)
    child = _child(url, "--store", store, *(["--stream"] if how == "stream" else []))
    if how == "download":
        _wait_for(child, lambda: any(path.stat().st_size > 200_000 for path in store.rglob("*.part")))
    else:  # the first contig is finished
        journal = store / ".ingest" / "toy" / "new" / "journal"
        _wait_for(child, lambda: journal.exists() and journal.read_bytes().count(b"\n") > 1)
    child.send_signal(sign)
    err = child.communicate(timeout=60)[1]
    if sign == signal.SIGINT:
        assert child.returncode == 1
        assert "interrupted; the " in err
        assert "--resume goes on" in err
    assert not (store / "toy").exists()
    worked = set()
    made, _ = take(url, store, resume=True, stream=how == "stream", progress=lambda contig, *_: worked.add(contig))
    assert_genome(made, GENOME)
    assert what(made)[2] == hashlib.sha256(data).hexdigest()
    if how == "stream":
        assert "chr1" not in worked, "a finished contig was done again"
    else:
        assert server.ranges("toy.fa")[-1].startswith("bytes=")
    assert sorted(path.name for path in store.iterdir()) == ["toy", "zarr.json"]
    # Whole already: no error.
    assert take(url, store, resume=True, stream=how == "stream")[0].sizes == made.sizes


def test_a_stream_without_versions_is_not_resumed(server, tmp_path, texts):
    server.etags = False
    url = server.put("toy.fa", texts["plain"])
    with pytest.raises(InputError, match="a server without ETag, cannot be gone on with; run without --resume"):
        take(url, tmp_path / "s", stream=True, resume=True)


def test_the_command(server, tmp_path, texts):
    data = texts["gzip"]
    url = server.put("toy.fa.gz", data)
    for i, extra in enumerate([[], ["--stream"], ["--dir", tmp_path / "d"]]):
        child = _child(url, "--store", tmp_path / f"s{i}", *extra)
        err = child.communicate(timeout=60)[1]
        assert child.returncode == 0, err
        assert "assembly toy, 5 contigs" in err
        assert "checksum is known" in err
        assert_genome(open_store(tmp_path / f"s{i}")["toy"], GENOME)
    assert os.listdir(tmp_path / "d") == ["toy.fa.gz"]
