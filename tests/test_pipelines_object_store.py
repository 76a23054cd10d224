"""Stores in an S3 bucket of a real local server: written whole or not seen at all, read back byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from store_cases import assert_genome, random_bases, small_shards, write_fasta

from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.pipelines import store_staging
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_files import StoreFiles

pytest.importorskip("s3fs", reason="s3fs (pip install 'dnamamba[s3]') is not installed")
pytest.importorskip("moto", reason="moto, a local S3 server, is not installed")

SERVER = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


# Its log goes nowhere: a pipe that nobody reads would stop the server when it is full.
STREAMS = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def server():
    process = subprocess.Popen([sys.executable, "-c", SERVER], text=True, **STREAMS)
    address = ""
    while ":" not in address or not address.startswith("127.0.0.1"):
        address = process.stdout.readline()
        assert address, "the server did not start"
    yield f"http://{address.strip()}"
    process.stdin.close()
    process.wait(20)


@pytest.fixture
def bucket(server, monkeypatch, tmp_path, request):
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "Very/Secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DNAMAMBA_STAGING": str(tmp_path / "staging"),
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.name)) % 10**9}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}/apes.zarr"


@pytest.fixture
def genome():
    return {f"chr{i}": random_bases(3_000 * i % 20_011 + 1, i) for i in range(1, 8)}


@pytest.fixture
def fasta(tmp_path, genome):
    return write_fasta(tmp_path / "toy.fa", genome)


def _objects(url: str) -> dict[str, bytes]:
    files = StoreFiles(url)
    return {name: files.read(name) for name in files.names()}


def _local(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_objects_are_the_files_of_a_local_store(bucket, tmp_path, fasta, genome, monkeypatch):
    small_shards(monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    made = ingest(fasta, bucket)
    assert_genome(made, genome)
    ingest(fasta, tmp_path / "local")
    assert _objects(bucket) == _local(tmp_path / "local")
    assert not any((tmp_path / "staging").iterdir()), "the staging folder was not cleaned"
    assert open_store(bucket).assemblies == ["toy"]
    with pytest.raises(InputError, match="'toy' is there already; --overwrite replaces it"):
        ingest(fasta, bucket)
    with pytest.raises(InputError, match="no assembly 'tay'; is 'toy' meant"):
        open_store(bucket)["tay"]


def test_commands(bucket, tmp_path, fasta, genome):
    def run(*arguments):
        return CliRunner().invoke(cli, ["genome", *map(str, arguments)])

    answers = [
        run("ingest", fasta, "--store", bucket),
        run("info", bucket),
        run("verify", bucket),
        run("export", bucket, "--out", tmp_path / "out.fa", "--width", 70),
    ]
    assert [answer.exit_code for answer in answers] == [0] * 4, [answer.output for answer in answers]
    assert "toy: whole, 7 contigs" in answers[2].output
    assert (tmp_path / "out.fa").read_bytes() == fasta.read_bytes()
    assert not any("Very/Secret" in answer.output for answer in answers)


@pytest.mark.parametrize("at", [1, 3, -1])
def test_an_upload_that_breaks_off_is_not_seen_and_goes_on(bucket, tmp_path, fasta, genome, monkeypatch, at):
    small_shards(monkeypatch)
    monkeypatch.setattr(store_staging, "_AT_ONCE", 1)
    real, calls, arrived = StoreFiles.put, [], set()

    def breaking(self, path, data, *, create=False):
        calls.append(path)
        if ("sequence" in path and sum("sequence" in p for p in calls) == at) or (at < 0 and path == "toy/zarr.json"):
            raise InputError(f"{path}: the line is dead")
        real(self, path, data, create=create)
        arrived.add(path)

    with monkeypatch.context() as patch:
        patch.setattr(StoreFiles, "put", breaking)
        with pytest.raises(InputError, match=r"the line is dead; what was made waits in .*, --resume goes on"):
            ingest(fasta, bucket)
    assert open_store(bucket).assemblies == []
    calls.clear()

    def counting(self, path, data, *, create=False):
        if path == "toy/zarr.json":  # from here on it is seen: all the rest is there, and no other writer's is replaced
            assert create
            (made,) = (tmp_path / "staging").glob("*/store/toy")
            assert {*self.names("toy"), "toy/zarr.json"} == {f"toy/{name}" for name in _local(made)}
        calls.append(path)
        real(self, path, data, create=create)

    monkeypatch.setattr(StoreFiles, "put", counting)
    assert_genome(ingest(fasta, bucket, resume=True), genome)
    arrived = {path for path in arrived if path.startswith("toy/")}
    assert arrived
    assert not arrived & set(calls), "what had arrived was sent again"
    assert calls[-1] == "toy/zarr.json"


def test_overwriting(bucket, tmp_path, fasta, genome, monkeypatch):
    small_shards(monkeypatch)
    ingest_arrays([("old", "", random_bases(160_000, 9))], bucket, assembly="toy")
    assert_genome(ingest(fasta, bucket, overwrite=True), genome)
    again = _objects(bucket)
    ingest(fasta, tmp_path / "local")
    assert set(again) == set(_local(tmp_path / "local")), "shards of the old assembly are left"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    ingest(fasta, bucket, overwrite=True)
    assert {name for name in again if again[name] != _objects(bucket)[name]} == {"toy/zarr.json"}


def test_two_writers(bucket, fasta, genome):
    files = StoreFiles(bucket)
    files.put(".ingest/toy/lock", b"process 7 on elsewhere, claim 1")
    with pytest.raises(
        InputError, match=r"being written by process 7 on elsewhere; .* remove s3://.*/\.ingest/toy/lock"
    ):
        ingest(fasta, bucket)
    assert files.names() == [".ingest/toy/lock"]
    with pytest.raises(FileExistsError):
        files.put(".ingest/toy/lock", b"mine", create=True)
    assert files.read(".ingest/toy/lock") == b"process 7 on elsewhere, claim 1"
    assert_genome(ingest(fasta, bucket, assembly="other"), genome)


def test_a_lock_left_by_a_kill_is_taken_over_by_the_same_machine(bucket, fasta, genome):
    """SIGKILL in the middle of an upload: the lock and half of the objects stay."""
    child = os.fork()
    if child == 0:
        real = StoreFiles.put

        def dying(self, path, data, *, create=False):
            real(self, path, data, create=create)
            if "sequence" in path:
                os.kill(os.getpid(), 9)

        StoreFiles.put = dying
        ingest(fasta, bucket)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9
    assert ".ingest/toy/lock" in StoreFiles(bucket).names()
    assert open_store(bucket).assemblies == []
    assert_genome(ingest(fasta, bucket, resume=True), genome)
    assert ".ingest/toy/lock" not in StoreFiles(bucket).names()


def test_a_bad_source_leaves_nothing(bucket, tmp_path):
    (tmp_path / "bad.fa").write_text(">a\nAC!T\n")
    with pytest.raises(InputError, match="'a': base 3"):
        ingest(tmp_path / "bad.fa", bucket)
    assert StoreFiles(bucket).names() == []


def test_places_that_are_no_store(bucket, fasta):
    StoreFiles(bucket).put("thesis.txt", b"precious")
    with pytest.raises(InputError, match=r"holds other things \(thesis\.txt"):
        ingest(fasta, bucket)
    assert StoreFiles(bucket).names() == ["thesis.txt"]


def test_other_bytes_than_were_sent(bucket, monkeypatch):
    files, connect = StoreFiles(bucket), StoreFiles._connect

    class Flipping:
        """A line that changes bytes on the way."""

        def __init__(self, filesystem):
            self._filesystem = filesystem

        def __getattr__(self, name):
            return getattr(self._filesystem, name)

        def pipe_file(self, path, data, **options):
            self._filesystem.pipe_file(path, data[::-1], mode=options["mode"])

    monkeypatch.setattr(StoreFiles, "_connect", lambda self: (Flipping(connect(self)[0]), connect(self)[1]))
    with pytest.raises(InputError, match="/a: other bytes arrived than were sent"):
        files.put("a", b"12")


def test_an_address_that_cannot_be_reached(bucket, fasta, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    for work in (lambda: open_store(bucket), lambda: ingest(fasta, bucket)):
        with pytest.raises(InputError, match=r"cannot be read .*127\.0\.0\.1:1") as caught:
            work()
        assert "\n" not in str(caught.value)
        assert "Very/Secret" not in str(caught.value)
