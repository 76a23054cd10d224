"""Scores from several processes, of this machine and of a Dask cluster: the bytes of one process; lost workers."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest
from random_models import random_model
from scoring_cases import made_sequence, made_variants, write_fasta

from dnamamba.errors import InputError
from dnamamba.model_directory import save
from dnamamba.pipelines.cluster import Cluster
from dnamamba.pipelines.store_build import Interrupted
from dnamamba.scoring.plan import ScorerPlan
from dnamamba.scoring.run import Wanted, run_score

FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A plan with windows of 25 variants, and a phased VCF of 90."""
    folder = tmp_path_factory.mktemp("many")
    sequence = made_sequence(1500, 3, odd="")
    write_fasta(folder / "g.fa", c1=sequence)
    save(random_model(5, n_layers=2), folder / "model")
    variants = sorted(made_variants(sequence, 84, 4), key=lambda v: v.pos)
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS"]
    for v in variants:
        lines.append(f"{v.chrom}\t{v.pos}\t{v.id}\t{v.ref}\t{v.alt}\t.\t.\t.\tGT\t0|1")
    (folder / "in.vcf").write_text("\n".join(lines) + "\n")
    plan = ScorerPlan(
        model=str(folder / "model"), reference=str(folder / "g.fa"), context=256, horizon=32, window=25, device="cpu"
    )
    return folder, plan


def _run(case, out, **options):
    folder, plan = case
    run_score(plan, str(folder / "in.vcf"), str(out), wanted=Wanted(), **options)
    return out.read_bytes()


def test_two_processes_and_a_cluster_give_the_bytes_of_one(case, tmp_path):
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    whole = _run(case, tmp_path / "one.vcf.gz")
    phased = _run(case, tmp_path / "one.tsv", phased=True)
    assert _run(case, tmp_path / "two.vcf.gz", jobs=2) == whole
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as there:
        assert _run(case, tmp_path / "dask.vcf.gz", scheduler=there.scheduler_address) == whole
        assert _run(case, tmp_path / "dask.tsv", scheduler=there.scheduler_address, phased=True) == phased


def test_results_come_in_order_and_few_are_on_their_way():
    taken = []

    def tasks():
        for number in range(20):
            taken.append(number)
            yield partial(_sleepy, number)

    with ProcessPoolExecutor(2, FORK) as pool:
        for wanted, got in enumerate(Cluster(pool).in_order(tasks(), 5)):
            assert got == wanted
            assert len(taken) <= wanted + 6
    assert taken == list(range(20))


def test_what_a_task_raises_and_a_worker_that_dies():
    with ProcessPoolExecutor(1, FORK) as pool, pytest.raises(InputError, match="mine"):
        list(Cluster(pool).in_order([partial(_sleepy, 0), _bad], 2))
    with ProcessPoolExecutor(1, FORK) as pool, pytest.raises(Interrupted, match=r"gave up .*; --resume goes on"):
        list(Cluster(pool, kept="--resume goes on").in_order([_die], 2))
    with ProcessPoolExecutor(1, FORK) as pool, pytest.raises(Interrupted, match="lost; the finished contigs are kept"):
        list(Cluster(pool, lambda: "lost").in_order([partial(time.sleep, 2)], 2))


def _sleepy(number):
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number


def _bad():
    raise InputError("mine")


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_process_gets_a_gpu_of_its_own(monkeypatch):
    from dnamamba.scoring import many

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert many._gpus() == ["4", "6"]
    with many.workers(2, None) as (cluster, ahead):
        found = list(cluster.in_order([partial(os.getenv, "CUDA_VISIBLE_DEVICES")] * 4, ahead))
    assert set(found) <= {"4", "6"}
    assert ahead == 4
