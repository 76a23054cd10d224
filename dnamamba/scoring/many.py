"""Variants scored by several processes, one a GPU or on a Dask cluster: the same scores, in the same order.

A task is a window of variants, the very one that a single scorer holds at a time, so that each score is computed in the
same company and comes out the same to the last bit on the same kind of device.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from dnamamba.in_lists import in_lists
from dnamamba.pipelines.cluster import Cluster, connect
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.plan import ScorerPlan

if TYPE_CHECKING:
    from dnamamba.scoring.scorer import VariantScorer
    from dnamamba.scoring.types import HaplotypeScore, VariantScore

KEPT = "the scores so far are kept, --resume goes on"
_AHEAD = 64  # windows on their way over a cluster of unknown size


@lru_cache(maxsize=1)
def _scorer(plan: ScorerPlan) -> "VariantScorer":
    return plan.open()


def score_window(plan: ScorerPlan, variants: list[Variant]) -> list["VariantScore"]:
    """One task; the scorer stays in the process for the next."""
    return list(_scorer(plan).score_many(variants))


def score_haplotype_window(plan: ScorerPlan, haplotypes: list[Sequence[Variant]]) -> list["HaplotypeScore"]:
    """As `score_window`, of haplotypes."""
    return list(_scorer(plan).score_haplotypes(haplotypes))


class ManyScorer:
    """Scores as `VariantScorer` does, by other processes."""

    def __init__(self, cluster: Cluster, plan: ScorerPlan, ahead: int = _AHEAD) -> None:
        """
        Args:
            cluster: runs the tasks.
            plan: of the scorer.
            ahead: tasks on their way at a time.
        """
        self.window = plan.window or replace(plan, device="cpu").open().window
        self.horizon = plan.horizon
        self._cluster, self._ahead = cluster, ahead
        self._plan = replace(plan, window=self.window)

    def score_many(self, variants: Iterable[Variant]) -> Iterator["VariantScore"]:
        """Scores of variants, any number, lazily and in order."""
        tasks = (partial(score_window, self._plan, some) for some in in_lists(variants, self.window))
        for scores in self._cluster.in_order(tasks, self._ahead):
            yield from scores

    def score_haplotypes(self, haplotypes: Iterable[Sequence[Variant]]) -> Iterator["HaplotypeScore"]:
        """Scores of haplotypes, any number, lazily and in order."""
        tasks = (partial(score_haplotype_window, self._plan, some) for some in in_lists(haplotypes, self.window))
        for scores in self._cluster.in_order(tasks, self._ahead):
            yield from scores


@contextmanager
def workers(jobs: int | None, scheduler: str | None) -> Iterator[tuple[Cluster, int]]:
    """Processes of this machine, or those behind a Dask scheduler.

    Args:
        jobs: processes; each sees one GPU, in turn, where there are some.
        scheduler: address of the scheduler.

    Returns:
        The cluster, and how many tasks to keep on their way.
    """
    if scheduler is not None:
        with connect(scheduler, KEPT) as cluster:
            yield cluster, _AHEAD
        return
    count = jobs or 1
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA, and reads through old handles
    numbers = context.Queue()
    gpus = _gpus()
    for number in range(count):
        numbers.put((gpus[number % len(gpus)] if gpus else None, max(1, (os.cpu_count() or 1) // count)))
    with ProcessPoolExecutor(count, context, _begin, (numbers,)) as pool:
        try:
            yield Cluster(pool, kept=KEPT), 2 * count
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _gpus() -> list[str]:
    """Names of the visible GPUs, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(torch.cuda.device_count())]


def _begin(numbers: Any) -> None:
    """In a new process, before torch is loaded there: a GPU of its own, and its share of the cores."""
    gpu, threads = numbers.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ.update(OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE")
