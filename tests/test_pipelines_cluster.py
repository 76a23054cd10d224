"""Contigs written by other processes, those of a Dask cluster above all: the bytes of a local ingest, whoever dies."""

import gzip
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from store_cases import assert_genome, random_bases, small_shards, write_fasta

from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.pipelines import cluster as cluster_module
from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.cluster import Cluster, ProgramError, connect
from dnamamba.pipelines.compression import TextPart
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.ingest_cluster import InOrder
from dnamamba.pipelines.ingest_many import ingest_many
from dnamamba.pipelines.packed_pieces import PIECES, PieceReader, PieceWriter
from dnamamba.pipelines.packed_writer import LOGS, RunsWriter
from dnamamba.pipelines.share_pen import TOKEN, SharePen, Written
from dnamamba.pipelines.share_tasks import SharedSource, scan, write_share
from dnamamba.pipelines.shares import KnownContig, Share, cut_shares, place_all
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_build import Interrupted
from dnamamba.pipelines.store_format import Layout

FORK = multiprocessing.get_context("fork")
TESTS = Path(__file__).parent


@pytest.fixture
def genome():
    """Contigs longer than a shard of 8 KiB, many short ones over its borders, empty ones."""
    lengths = [20_000, 3_000, 0, 7_000, 9_000, 8_192, 50_001, 1, 2_047, 0]
    return {f"chr{i}": random_bases(length, i) for i, length in enumerate(lengths)}


@pytest.fixture
def small(monkeypatch):
    small_shards(monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# Shares


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.booleans())
def test_shares_are_disjoint_and_cover_everything(lengths, whole):
    layout = Layout(1, 8)
    placed = place_all([KnownContig(str(i), "", length) for i, length in enumerate(lengths)], layout)
    shares = cut_shares(placed, layout, whole=whole)
    assert [one for share in shares for one in share.contigs] == placed
    assert all(before.last <= after.first for before, after in pairwise(shares))
    for one in placed:
        owners = [
            number
            for number, share in enumerate(shares)
            if one in share.contigs or (share.tail is one and whole is False)
        ]
        shards = {(one.offset + base) // layout.shard for base in range(one.contig.length)}
        assert shards <= {shard for owner in owners for shard in range(shares[owner].first, shares[owner].last)}
        assert len(owners) == 1 or (one.contig.length <= layout.shard and len(owners) == 2)
    assert len(shares) == 1 or not whole


def test_short_contigs_are_cut_at_every_shard():
    layout = Layout(1, 8)
    placed = place_all([KnownContig(str(i), "", 3) for i in range(80)], layout)
    assert [(share.first, share.last) for share in cut_shares(placed, layout)] == [(i, i + 1) for i in range(30)]


def test_a_part_of_a_text():
    for skip, size, text in ((0, 2, b"ab"), (2, 3, b"cde"), (4, 1, b"e"), (7, None, b"h"), (3, None, b"defgh")):
        assert b"".join(TextPart(0, skip, size).cut(iter((b"abc", b"def", b"gh")))) == text


def test_a_contig_is_finished_when_all_its_shares_are():
    """The second contig ends in the second share: the journal must not have it before."""
    layout, added = Layout(1, 8), []
    placed = place_all([KnownContig(name, "", 5) for name in "abcd"], layout)
    shares = cut_shares(placed, layout)
    assert [[one.contig.name for one in share.contigs] for share in shares] == [["a", "b"], ["c", "d"]]
    for order, steps in (((0, 1), ["a", "abcd"]), ((1, 0), ["", "abcd"])):
        added.clear()
        writer = SimpleNamespace(add=lambda one, *_: added.append(one.name), layout=layout, layout_name="raw")
        journal = InOrder(writer, shares)
        for number, wanted in zip(order, steps, strict=True):
            journal.add(number, Written([(one.contig, None, None) for one in shares[number].contigs], None))
            assert "".join(added) == wanted


# Another process, no cluster


LAYOUTS = pytest.mark.parametrize("layout", ["raw", "packed"])


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        *((kind, "raw") for kind in ("fa", "fa.gz", "gzip", "mixed", "2bit", "crlf")),
        *((kind, "packed") for kind in ("fa", "gzip", "2bit")),
    ],
)
def test_other_processes_give_the_same_bytes(tmp_path, genome, small, kind, layout):
    genome = genome if kind != "2bit" else {name: bases | 0x20 for name, bases in genome.items()}
    source = write_fasta(tmp_path / "toy.fa", {f"{name} of {name}": bases for name, bases in genome.items()})
    if kind == "2bit":
        plain = {name: random_bases(len(bases)).clip(65, 84) for name, bases in genome.items()}
        for bases in plain.values():
            bases[:] = [b"ACGTacgtNn"[value % 10] for value in bases]
        genome = plain
        write_fasta(source, genome)
    if kind in ("fa.gz", "2bit"):
        export(ingest(source, tmp_path / "made"), tmp_path / f"toy.{kind}")
        source = tmp_path / f"toy.{kind}"
    if kind == "gzip":
        source = tmp_path / "toy.fa.gz"
        source.write_bytes(gzip.compress((tmp_path / "toy.fa").read_bytes()))
    if kind == "mixed":  # bgzip, then a member of the other kind, then bgzip
        source, text = tmp_path / "toy.fa.gz", (tmp_path / "toy.fa").read_bytes()
        with source.open("wb") as file:
            for number, piece in enumerate((text[:9_000], text[9_000:50_000], text[50_000:])):
                if number == 1:
                    file.write(gzip.compress(piece))
                else:
                    with BgzipWriter(file) as packed:
                        packed.write(piece)
    if kind == "crlf":
        text = source.read_bytes().replace(b"\n", b"\r\n").replace(b">chr3", b"\r\n;a comment\r\n>chr3")
        source.write_bytes(b"\xef\xbb\xbf\r\n" + text)
    ingest(source, tmp_path / "local", layout=layout)
    with ProcessPoolExecutor(2, FORK) as pool:
        made = ingest(source, tmp_path / "there", cluster=Cluster(pool), layout=layout)
    assert_genome(made, genome)
    assert _files(tmp_path / "there") == _files(tmp_path / "local")
    with ProcessPoolExecutor(1, FORK) as pool:
        some = {"exclude": ["chr1", "chr9"], "include": ["chr[1-9]"], "names": "first-word"}
        ingest(source, tmp_path / "some there", cluster=Cluster(pool), jobs=2, layout=layout, **some)
    ingest(source, tmp_path / "some", layout=layout, **some)
    assert _files(tmp_path / "some there") == _files(tmp_path / "some")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=8), st.integers(1, 9)
)
def test_runs_packed_apart_join_as_if_packed_in_one(parts, size):
    """Contigs of whole and of part chunks, gaps between them, any case at their borders; `size` of them a share."""
    chunk = 1024
    logs, taken = (dict.fromkeys(LOGS, b"") for _ in range(2))
    ours, theirs = RunsWriter(_adder(logs), chunk), RunsWriter(_adder(taken), chunk)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader, at = PieceReader(folder), 0
        for first in range(0, len(parts), size):
            packer, codes = PieceWriter(folder, chunk), []
            for number, (gap, length, whole) in enumerate(parts[first : first + size]):
                at += gap
                bases = random_bases(length * chunk - (0 if whole or not length else 7), first + number)
                bases[:1] |= 0x20 * (number % 2)
                if len(bases):
                    ours.fill(at)
                    packer.end()
                    codes.append((ours.pack(bases), packer.pack(at * chunk, bases)))
                at += length
            assert all((a == b).all() for a, b in codes)
            reader.add(packer.close())
            reader.give(theirs, 0, at)
    ours.finish_contig()
    theirs.finish_contig()
    assert taken == logs


def _adder(logs):
    def append(name, data):
        logs[name] += data

    return append


def _shared(file: Path, **changes) -> SharedSource:
    plain = {"names": "first-word", "gaps": "error", "unknown": "error", "rna": False}
    return SharedSource(**{"path": str(file), "size": file.stat().st_size, **plain, **changes})


def test_a_worker_that_sees_something_else_refuses(tmp_path, genome):
    source = write_fasta(tmp_path / "toy.fa", genome)
    for changes, words in (
        ({"version": "0.0.1"}, r"has dnamamba .*, 0\.0\.1 is wanted"),
        ({"size": 7}, r"bytes for the worker on .*, 7 where ingest runs"),
        ({"path": str(tmp_path / "none.fa")}, r"cannot open it \(No such file"),
    ):
        with pytest.raises(InputError, match=words):
            scan(_shared(source, **changes), iter)


def test_only_who_holds_the_token_writes(tmp_path):
    """A worker that was taken for dead wakes up when others have begun anew."""
    (tmp_path / "sequence" / "c").mkdir(parents=True)
    pen = SharePen(tmp_path, Layout(1024, 8192), Share(0, 1), "mine")
    for token in (None, "theirs"):
        if token:
            (tmp_path / TOKEN).write_text(token)
        with pytest.raises(InputError, match="does not see the ingest that sent it"):
            pen.write(0, random_bases(10))
        assert list((tmp_path / "sequence" / "c").iterdir()) == []
    (tmp_path / TOKEN).write_text("mine")
    with pen:
        pen.write(8_190, random_bases(10))  # the last eight are another share's
    assert {path.name: path.stat().st_size for path in (tmp_path / "sequence" / "c").iterdir()} == {"0": 8_192}


def test_a_source_that_changes_between_the_passes(tmp_path, genome, small):
    source = write_fasta(tmp_path / "toy.fa", genome)
    found = scan(_shared(source), iter)
    layout = Layout(1024, 8192)
    share = cut_shares(place_all(found.contigs, layout), layout)[0]
    (tmp_path / "sequence" / "c").mkdir(parents=True)
    (tmp_path / TOKEN).write_text("t")
    text = source.read_bytes()
    for new, words in (
        (text.replace(b">chr0", b">CHR0"), "changed while it was read"),
        (text.replace(b">chr0\nA", b">chr0\n-").replace(b">chr0\nC", b">chr0\n-"), "base 1"),
        (b">chr0\n\n" + text[7:], r"bases came, 20,000 were announced"),
    ):
        assert len(new) == len(text)
        source.write_bytes(new)
        if new == text:
            continue
        with pytest.raises(InputError, match=words):
            write_share(_shared(source), share, layout, str(tmp_path), "t", whole=False, jobs=1)


# Dask


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
    assert _files(tmp_path / "there") == _files(tmp_path / "local")
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
            assert _files(store) == _files(tmp_path / "local")


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
