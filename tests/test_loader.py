"""Reading ahead: the loader's micro-batches in its order, its errors, and no thread left behind."""

import os
import signal
import threading
import time
from multiprocessing import active_children

import pytest
import torch
from memory_genomes import random_genome

from dnamamba.corpus import build_corpus
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.data import TrainingData
from dnamamba.errors import InputError
from dnamamba.loader import DEPTH, ReadAhead, TrainingBatches, training_loader
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import SplitConfig

CURRICULUM = CurriculumConfig(
    stages=(Stage(context=64, share=0.5), Stage(context=256, share=0.5)), tokens_per_step=2048, total_tokens=2048 * 12
)


@pytest.fixture(scope="module")
def data():
    genome = random_genome("large", {"chr1": 30_000, "chr2": 9_000, **{f"s{i}": 60 + i for i in range(20)}})
    return TrainingData(
        build_corpus([("A", [genome], None)], SplitConfig(margin=64)),
        CURRICULUM,
        DNA,
        micro_batch={64: 7, 256: 4},
        seed=3,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_batches_in_the_same_order(data, device, workers):
    plain = list(training_loader(data, start_step=3))
    ahead = ReadAhead(training_loader(data, start_step=3, workers=workers), torch.device(device))
    assert len(ahead) == len(plain)
    for _ in range(2):  # can be iterated again
        for one, other in zip(ahead, plain, strict=True):
            assert (one.step, one.stage, one.micro, one.micros) == (other.step, other.stage, other.micro, other.micros)
            assert one.bases.device.type == device
            assert torch.equal(one.samples, other.samples)
            assert torch.equal(one.bases.cpu(), other.bases)
            assert (one.reset is None) == (other.reset is None)
            assert one.reset is None or torch.equal(one.reset.cpu(), other.reset)


def test_reading_processes_never_see_a_signal_that_all_processes_of_a_run_are_sent(data):
    batches = iter(training_loader(data, workers=2))
    first, reading = next(batches), active_children()
    for process in reading:
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
    assert len(reading) == 2
    assert [one.step for one in (first, *batches)] == [one.step for one in training_loader(data)]


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


class _Loader:
    """Stands in for a DataLoader: says how far it was read, and may be slow or fail."""

    def __init__(self, data, fails_at=None, seconds=0.0):
        self.data, self.fails_at, self.seconds, self.read = data, fails_at, seconds, 0

    def __iter__(self):
        for step in range(12):
            time.sleep(self.seconds)
            if step == self.fails_at:
                raise InputError("g, x from base 3: 'E' is not in the dna alphabet")
            self.read += 1
            yield self.data[step, 0]


def test_an_error_of_the_reader_comes_after_the_batches_before_it(data):
    batches = iter(ReadAhead(_Loader(data, fails_at=4), torch.device("cpu")))
    assert [next(batches).step for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="'E' is not in the dna alphabet"):
        next(batches)
    assert not _threads()


def test_it_reads_a_little_ahead_and_stops_when_nobody_listens(data):
    loader = _Loader(data)
    batches = iter(ReadAhead(loader, torch.device("cpu")))
    next(batches)
    until = time.monotonic() + 20
    while loader.read < 1 + DEPTH and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 1 + DEPTH <= loader.read <= 2 + DEPTH  # what was taken, what waits, and what is in the thread's hand
    batches.close()
    assert not _threads()


def test_waiting_is_counted_from_the_second_batch_on(data):
    slow = ReadAhead(_Loader(data, seconds=0.03), torch.device("cpu"))
    assert sum(1 for _ in slow) == 12
    assert 11 * 0.03 <= slow.waited < 12 * 0.03 + 5
    first = ReadAhead(_Loader(data, seconds=0.3, fails_at=1), torch.device("cpu"))
    next(iter(first))
    assert first.waited == 0
    ready = ReadAhead(_Loader(data), torch.device("cpu"))
    for _ in ready:
        time.sleep(0.03)  # a step that takes longer than the reading
    assert ready.waited < slow.waited


def test_batches_are_those_of_the_loader(data):
    batches = TrainingBatches(data, start_step=5, stop_step=8)
    assert len(batches) == 5 + 2 * 2
    assert [tuple(batch["tokens"].shape) for batch in batches] == [(7, 64)] * 4 + [(4, 64)] + [(4, 256)] * 4
    assert torch.equal(next(iter(batches))["targets"], data[5, 0].bases.long())
