"""Ingest that is killed, interrupted or resumed, and two that write at once: nothing half-made is ever seen."""

import fcntl
import multiprocessing
import os
import signal

import numpy as np
import pytest
from kill_cases import die_at, kill_and_resume
from store_cases import assert_genome, random_bases, small_shards, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_lock import Workplace, assembly_lock
from dnamamba.pipelines.store_writer import AssemblyWriter

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def genome():
    return {f"chr{i}": random_bases(3_000 * i % 20_011, i) for i in range(1, 13)}


@pytest.fixture
def fasta(tmp_path, genome):
    return write_fasta(tmp_path / "toy.fa", genome)


def _run_and_die(fasta, store, overwrite, dying):
    die_at(*dying[:3], after=dying[3])
    ingest(fasta, store, overwrite=overwrite, jobs=2)
    os._exit(0)


KILLS = [
    (AssemblyWriter, "write", 1, False),
    (AssemblyWriter, "write", 4, True),
    (AssemblyWriter, "add", 3, False),
    (AssemblyWriter, "add", 7, True),
    (AssemblyWriter, "_append", 2, True),
    (AssemblyWriter, "_append", 11, True),
    (AssemblyWriter, "finish", 1, False),
    (AssemblyWriter, "_save", 1, True),
    (AssemblyWriter, "_save", 4, True),
    (AssemblyWriter, "finish", 1, True),
    (Workplace, "publish", 1, False),
    (Workplace, "publish", 1, True),
    (os, "rename", 1, True),
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("dying", KILLS, ids=lambda kill: f"{kill[1]}-{kill[2]}-{'after' if kill[3] else 'before'}")
def test_killed_at_any_step_and_resumed(tmp_path, fasta, genome, monkeypatch, dying, overwrite):
    small_shards(monkeypatch)
    store = tmp_path / "s"
    old = {"old": random_bases(5_000, 5)}
    if overwrite:
        ingest_arrays([("old", "", old["old"])], store, assembly="toy")
    child = FORK.Process(target=_run_and_die, args=(fasta, store, overwrite, dying))
    child.start()
    child.join(60)
    renamed = child.exitcode == 0  # with an overwrite nothing is renamed by os.rename
    assert child.exitcode == -signal.SIGKILL or (overwrite and dying[0] is os)
    if (store / "zarr.json").exists():  # what a reader sees is whole: the old one, the new one or none
        for assembly in map(open_store(store).__getitem__, open_store(store).assemblies):
            assert_genome(assembly, old if "old" in assembly.sizes else genome)
    journal = store / ".ingest" / "toy" / "new" / "journal"
    finished = max(len(journal.read_bytes().splitlines()) - 1, 0) if journal.exists() else 0
    worked = set()
    made = ingest(
        fasta, store, resume=True, overwrite=overwrite and not renamed, progress=lambda name, *_: worked.add(name)
    )
    assert_genome(made, genome)
    assert not worked & set(list(genome)[:finished]), "finished contigs were done again"
    assert sorted(path.name for path in store.iterdir()) == ["toy", "zarr.json"]


def test_killed_at_random_moments(tmp_path, fasta, genome):
    """SIGKILL from outside while an ingest runs, a dozen times; benchmarks/rehearse_kills.py does it fifty times."""
    random, kills = np.random.default_rng(3), []
    for number in range(12):
        kill, made = kill_and_resume(
            fasta, tmp_path / f"s{number}", list(genome), float(random.uniform(0.01, 0.4)), pause=0.02
        )
        assert_genome(made, genome)
        assert not kill.redone, "finished contigs were done again"
        assert sorted(path.name for path in (tmp_path / f"s{number}").iterdir()) == ["toy", "zarr.json"]
        kills.append(kill)
    assert any(kill.hit for kill in kills)


def _interrupted(fasta, store, **kwargs):
    def stop(name, done, total):
        if name == "chr5":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(fasta, store, progress=stop, **kwargs)


def test_an_interruption_can_be_resumed(tmp_path, fasta, genome, monkeypatch):
    _interrupted(fasta, tmp_path / "s")
    with pytest.raises(InputError, match=r"no genome store .* waits for --resume: toy"):
        open_store(tmp_path / "s")
    ingest_arrays([("a", "", random_bases(9))], tmp_path / "s", assembly="other")
    assert (open_store(tmp_path / "s").assemblies, open_store(tmp_path / "s").unfinished) == (["other"], ["toy"])
    names = []
    assert_genome(ingest(fasta, tmp_path / "s", resume=True, progress=lambda name, *_: names.append(name)), genome)
    assert names[0] == "chr5"
    # Whole already: the same file again is no error, another one is.
    assert ingest(fasta, tmp_path / "s", resume=True).sizes == {name: len(bases) for name, bases in genome.items()}
    write_fasta(fasta, {"chr1": random_bases(7)})
    with pytest.raises(InputError, match="is there already"):
        ingest(fasta, tmp_path / "s", resume=True)


def test_what_cannot_be_resumed_is_not_kept(tmp_path):
    def stop(name, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_arrays([("a", "", random_bases(9))], tmp_path / "s", assembly="a", progress=stop)
    assert not (tmp_path / "s").exists()


def test_resume_wants_the_same_source_read_the_same_way(tmp_path, fasta, genome):
    _interrupted(fasta, tmp_path / "s")
    with pytest.raises(InputError, match=r"options was .* run without --resume"):
        ingest(fasta, tmp_path / "s", resume=True, names="full")
    os.utime(fasta, ns=(1, 1))
    with pytest.raises(InputError, match=r"source was .* run without --resume"):
        ingest(fasta, tmp_path / "s", resume=True)
    assert_genome(ingest(fasta, tmp_path / "s"), genome)  # from the start


@pytest.mark.parametrize("file", ["sequence/c/0", "crc32c.part", "journal"])
def test_what_waits_for_resume_is_not_believed(tmp_path, fasta, genome, file):
    """A power cut may leave holes in what was written: then everything is done again."""
    _interrupted(fasta, tmp_path / "s")
    path = tmp_path / "s" / ".ingest" / "toy" / "new" / file
    path.write_bytes(bytes(len(path.read_bytes())))
    assert_genome(ingest(fasta, tmp_path / "s", resume=True), genome)


def _ingest_in_child(fasta, store, name, started, results):
    def wait(*_):
        started.set()
        import time

        time.sleep(0.05)

    try:
        ingest(fasta, store, assembly=name, progress=wait)
        results.put("done")
    except InputError as error:
        results.put(str(error))


@pytest.mark.parametrize("names", [("toy", "toy"), ("one", "two")], ids=["one assembly", "two assemblies"])
def test_two_writers(tmp_path, fasta, genome, names):
    started, results = FORK.Event(), FORK.Queue()
    store = tmp_path / "s"
    first = FORK.Process(target=_ingest_in_child, args=(fasta, store, names[0], started, results))
    first.start()
    assert started.wait(30)
    second = FORK.Process(target=_ingest_in_child, args=(fasta, store, names[1], started, results))
    second.start()
    answers = sorted(results.get(timeout=60) for _ in range(2))
    first.join(), second.join()
    if names[0] == names[1]:
        assert answers[1] == "done"
        assert f"assembly 'toy' is being written by process {first.pid} on" in answers[0]
    else:
        assert answers == ["done", "done"]
    for name in names:
        assert_genome(open_store(store)[name], genome)
    assert not (store / ".ingest").exists()


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    path, real, calls = tmp_path / "s" / ".ingest" / "toy" / "lock", fcntl.flock, []

    def late(handle, operation):
        if not calls:  # the holder before us ends between our open and our lock, and another one starts
            path.unlink()
            path.touch()
        calls.append(handle)
        return real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with assembly_lock(tmp_path / "s", "toy"):
        assert len(calls) == 2
        with pytest.raises(InputError, match="is being written"), assembly_lock(tmp_path / "s", "toy"):
            pass
    assert not (tmp_path / "s" / ".ingest").exists()


def test_many_writers_at_once(tmp_path, genome):
    """Ten assemblies into a store that is not there yet: all race for the same folders."""
    fasta = write_fasta(tmp_path / "toy.fa", {"chr1": genome["chr1"]})
    results = FORK.Queue()
    children = [
        FORK.Process(target=_ingest_in_child, args=(fasta, tmp_path / "s", f"a{i}", FORK.Event(), results))
        for i in range(10)
    ]
    for child in children:
        child.start()
    assert [results.get(timeout=60) for _ in children] == ["done"] * 10
    for child in children:
        child.join()
    assert len(open_store(tmp_path / "s").assemblies) == 10
    assert sorted(path.name for path in (tmp_path / "s").iterdir())[0] == "a0"
