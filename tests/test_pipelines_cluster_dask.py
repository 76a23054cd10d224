"""Contigs written by a Dask cluster: the bytes of a local ingest, whoever dies, and clusters that cannot be used."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from cluster_cases import many_contigs, small_and_dated
from store_cases import assert_genome, files_of, write_fasta

from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.pipelines import cluster as cluster_module
from dnamamba.pipelines.cluster import ProgramError, connect
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.ingest_many import ingest_many
from dnamamba.pipelines.packed_pieces import PIECES
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_build import Interrupted

TESTS = Path(__file__).parent
LAYOUTS = pytest.mark.parametrize("layout", ["raw", "packed"])


@pytest.fixture
def genome():
    return many_contigs()


@pytest.fixture
def small(monkeypatch):
    small_and_dated(monkeypatch)


class _Dask:
    """A scheduler and two workers, each a process of its own under a nanny that starts it again when it dies."""

    def __init__(self, folder: Path) -> None:
        self.trap = folder / "trap"
        self.trap.mkdir()
        self.processes: list[subprocess.Popen] = []
        file = folder / "scheduler.json"
        self._log = (folder / "log").open("wb")
        self._environment = {**os.environ, "DNAMAMBA_TEST_TRAP": str(self.trap)}
        self._run("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-show", "--scheduler-file", str(file))
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        while True:  # it is written in place
            try:
                self.address = json.loads(file.read_text())["address"]
                break
            except ValueError:
                time.sleep(0.05)
        preload = ("--preload", str(TESTS / "cluster_worker.py"))
        self._run("worker", self.address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard", *preload)

    def _run(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "dask", *arguments]
        process = subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self.processes.append(process)

    def arm(self) -> None:
        for path in self.trap.iterdir():
            path.unlink()
        (self.trap / "armed").touch()

    def caught(self) -> int:
        """Wait until a worker is in the trap; its process."""
        deadline = time.monotonic() + 60
        while not (found := list(self.trap.glob("caught-*"))):
            assert time.monotonic() < deadline, "no worker came into the trap"
            time.sleep(0.02)
        return int(found[0].name.split("-")[1])

    def close(self) -> None:
        (self.trap / "free").touch()
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):  # with all its children
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(30)
        self._log.close()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    pytest.importorskip("distributed", reason="distributed (pip install 'dnamamba[cluster]') is not installed")
    made = _Dask(tmp_path_factory.mktemp("dask"))
    yield made
    made.close()


@LAYOUTS
def test_a_killed_worker_loses_nothing(tmp_path, genome, small, dask, layout):
    source = write_fasta(tmp_path / "toy.fa", genome)
    ingest(source, tmp_path / "local", layout=layout)
    dask.arm()
    killed = []

    def kill():
        killed.append(dask.caught())
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = []
    with connect(dask.address) as cluster:
        made = ingest(
            source, tmp_path / "there", cluster=cluster, layout=layout, progress=lambda *now: done.append(now)
        )
    killer.join()
    assert killed
    assert killed[0] != os.getpid()
    assert_genome(made, genome)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "local")
    assert done[-1][1:] == (made.attributes["bases"], made.attributes["bases"])
    assert len(done) >= 3


@LAYOUTS
def test_interrupted_and_resumed_here_and_there(tmp_path, genome, small, dask, layout):
    """What a cluster left goes on locally, and what a local ingest left goes on in a cluster."""
    source = write_fasta(tmp_path / "toy.fa", genome)
    ingest(source, tmp_path / "local", layout=layout)

    def rows(store):
        return (store / ".ingest" / "toy" / "new" / "journal").read_text().splitlines()[1:]

    with connect(dask.address) as cluster:
        for first, second in ((cluster, None), (None, cluster)):
            store = tmp_path / f"s{first is None}"

            def stop(name, done, total, store=store):
                if len(rows(store)) > 2:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                ingest(source, store, cluster=first, layout=layout, progress=stop)
            finished = {json.loads(row)["name"] for row in rows(store)}
            assert {"chr0", "chr1"} <= finished
            seen = set()
            made = ingest(
                source, store, cluster=second, resume=True, layout=layout,
                progress=lambda name, *_, seen=seen: seen.add(name),
            )  # fmt: skip
            assert_genome(made, genome)
            assert not seen & finished, "finished contigs were done again"
            assert not list(store.rglob(PIECES))
            assert files_of(store) == files_of(tmp_path / "local")


def test_a_bad_contig_leaves_nothing(tmp_path, genome, small, dask):
    source = write_fasta(tmp_path / "toy.fa", genome)
    source.write_bytes(source.read_bytes() + b">bad\nACGT-\n")
    with connect(dask.address) as cluster:
        with pytest.raises(InputError, match=r"toy\.fa: contig 'bad': base 5: found '-'"):
            ingest(source, tmp_path / "s", cluster=cluster)
        assert not (tmp_path / "s").exists()
        made = ingest(source, tmp_path / "s", cluster=cluster, gaps="drop", include=["bad"])
        assert_genome(made, {"bad": made["bad"]})
        with pytest.raises(InputError, match="pipe"):
            ingest("-", tmp_path / "s", assembly="x", cluster=cluster)


def test_a_mistake_of_ours_comes_back_with_its_traceback(dask):
    """Dask alone waits for ever for an exception whose traceback it cannot read."""

    def deep(n):
        return deep(n + 1)

    with connect(dask.address) as cluster:
        with pytest.raises(ProgramError, match="RecursionError"):
            cluster.call(deep, 0)
        with pytest.raises(FileNotFoundError):
            cluster.call(os.stat, "/nothing/here")


def test_several_sources_at_once(tmp_path, genome, small, dask):
    sources = [write_fasta(tmp_path / f"{name}.fa", {name: genome[name]}) for name in ("chr0", "chr4", "chr6")]
    (tmp_path / "bad.fa").write_text("ACGT")
    command = ["genome", "ingest", *map(str, [*sources, tmp_path / "bad.fa"]), "--store", str(tmp_path / "s")]
    answer = CliRunner().invoke(cli, [*command, "--scheduler", dask.address])
    assert answer.exit_code == 1
    assert "bad.fa: the first line starts with 'ACGT'" in answer.output + str(answer.exception)
    assert f"{tmp_path / 's'}: assembly chr6, 1 contigs, 50,001 bases" in answer.output
    store = open_store(tmp_path / "s")
    assert store.assemblies == ["chr0", "chr4", "chr6"]
    for name in store:
        assert_genome(store[name], {name: genome[name]})


def test_stopped_from_outside(tmp_path, genome, small, dask):
    source = write_fasta(tmp_path / "toy.fa", genome)
    with connect(dask.address) as cluster:

        def stop(name, done, total):
            raise KeyboardInterrupt  # as Ctrl-C in the thread of this source

        with pytest.raises(KeyboardInterrupt):
            ingest_many([str(source)], tmp_path / "s", cluster=cluster, done=print, progress=stop)
        with pytest.raises(KeyboardInterrupt):
            cluster.call(time.sleep, 30)
    made = ingest(source, tmp_path / "s", resume=True)
    assert_genome(made, genome)


def test_nobody_answers(monkeypatch):
    pytest.importorskip("distributed", reason="distributed (pip install 'dnamamba[cluster]') is not installed")
    monkeypatch.setattr(cluster_module, "_CONNECT", "1s")
    with pytest.raises(InputError, match=r"--scheduler 127\.0\.0\.1:1: no Dask scheduler answers there") as caught:
        connect("127.0.0.1:1").__enter__()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["", " ", "nonsense://x", "tcp://127.0.0.1", "tcp://:x", "tcp://x:65536", "x:0"])
def test_an_address_is_wanted(address, monkeypatch):
    """Dask never sees it: the Client that it would leave half made can hang later, in the middle of other work."""
    distributed = pytest.importorskip(
        "distributed", reason="distributed (pip install 'dnamamba[cluster]') is not installed"
    )
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("Dask saw it"))
    with pytest.raises(InputError, match=f"--scheduler: want an address.* got '{address}'"):
        connect(address).__enter__()


def test_dask_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'dnamamba\[cluster\]'"):
        connect("127.0.0.1:1").__enter__()


def _versions(python="3.11.7.final.0", **packages):
    return {"packages": {"python": python, "dnamamba": "1", "distributed": "2", **packages}}


@pytest.mark.parametrize(
    ("scheduler", "worker", "words"),
    [
        ({"distributed": "1"}, {}, "the scheduler has distributed 1, here is 2"),
        ({}, {"dnamamba": None}, r"worker tcp://w has dnamamba \(none\), here is 1"),
        ({}, {"python": "3.12.1.final.0"}, r"worker tcp://w runs Python 3\.12.*, here is 3\.11"),
    ],
)
def test_versions_differ(scheduler, worker, words):
    def answer(scheduler, worker):
        return {"client": _versions(), "scheduler": _versions(**scheduler), "workers": {"tcp://w": _versions(**worker)}}

    cluster_module._check_versions(answer({"dnamamba": None}, {}), "a:1")  # a scheduler needs no dnamamba
    with pytest.raises(InputError, match=f"--scheduler a:1: {words}"):
        cluster_module._check_versions(answer(scheduler, worker), "a:1")


def test_a_cluster_that_is_lost_keeps_what_is_finished(tmp_path, genome, small, monkeypatch):
    pytest.importorskip("distributed", reason="distributed (pip install 'dnamamba[cluster]') is not installed")
    source = write_fasta(tmp_path / "toy.fa", genome)
    dask = _Dask(tmp_path)
    killer = None
    try:
        with connect(dask.address) as cluster:
            cluster.call(abs, 1)  # the workers are there
            monkeypatch.setattr(cluster_module, "_PATIENCE", 1.0)
            dask.arm()
            killer = threading.Thread(target=lambda: (dask.caught(), dask.processes[0].kill()))
            killer.start()
            with pytest.raises(Interrupted, match="the finished contigs are kept, --resume goes on"):
                ingest(source, tmp_path / "s", cluster=cluster)
    finally:
        if killer:
            killer.join()
        dask.close()
    assert (tmp_path / "s" / ".ingest" / "toy" / "new" / "journal").exists()
    assert_genome(ingest(source, tmp_path / "s", resume=True), genome)
