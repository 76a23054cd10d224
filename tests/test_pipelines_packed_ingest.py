"""Ingest into the packed layout and export from it: killed, resumed, on a full disk, and by command."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from kill_cases import die_at
from packed_cases import genome_like
from store_cases import assert_genome, flip_byte, random_bases, small_shards, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.store import open_store
from dnamamba.pipelines.store_writer import AssemblyWriter


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
