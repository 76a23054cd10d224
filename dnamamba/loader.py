"""Micro-batches in order, read and copied ahead while the device computes: processes, a thread, a stream of its own."""

import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread

import torch

from dnamamba.data import Batch, MicroBatch, TrainingData, make_batch
from dnamamba.ordered_reading import OrderedReading

DEPTH = 2
"""Micro-batches that wait on the device for their turn."""
_LOOK = 0.1  # seconds between two looks of the reading thread at whether anybody still wants its batches


class StepOrder:
    """Keys of all micro-batches from one optimiser step up to another, in order."""

    def __init__(self, data: TrainingData, start: int, stop: int) -> None:
        self.data, self.start, self.stop = data, start, stop

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for step in range(self.start, self.stop):
            for micro in range(self.data.micros(step)):
                yield step, micro

    def __len__(self) -> int:
        return sum(self.data.micros(step) for step in range(self.start, self.stop))


def training_loader(
    data: TrainingData, *, start_step: int = 0, stop_step: int | None = None, workers: int = 0
) -> OrderedReading[tuple[int, int], MicroBatch]:
    """One loader through all stages that are left, in order; the same micro-batches whatever the number of workers.

    Args:
        data: of the whole training.
        start_step: optimiser steps already done.
        stop_step: step to stop before; None goes to the end of the curriculum.
        workers: reading processes; 0 reads in this one.
    """
    stop = data.curriculum.total_steps if stop_step is None else stop_step
    return OrderedReading(data, StepOrder(data, start_step, stop), workers)


class ReadAhead:
    """A loader's micro-batches on the device, in the loader's order. Can be iterated again and again."""

    def __init__(self, loader: OrderedReading[tuple[int, int], MicroBatch], device: torch.device) -> None:
        """Nothing is read yet; `device` is where the batches are wanted (`samples` stay on the CPU)."""
        self.loader, self.device = loader, device
        self.waited = 0.0
        """Seconds that the consumer stood waiting, from the second batch on: the first one has to be waited for."""

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[MicroBatch]:
        batches = iter(self.loader)  # here, not in the thread: it may fork
        ahead = _Thread(batches, self.device)
        ahead.start()
        try:
            first = True
            while True:
                began = time.monotonic()
                item = ahead.queue.get()
                if not first:
                    self.waited += time.monotonic() - began
                first = False
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield _receive(*item)
        finally:
            ahead.stop()


class _Thread(Thread):
    def __init__(self, batches: Iterator[MicroBatch], device: torch.device) -> None:
        super().__init__(daemon=True, name="read ahead")
        self.queue: Queue[tuple[MicroBatch, torch.cuda.Event | None] | BaseException | None] = Queue(DEPTH)
        self._batches, self._device = batches, device
        self._unwanted = Event()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def run(self) -> None:
        try:
            for batch in self._batches:
                self._put(self._send(batch))
                if self._unwanted.is_set():
                    return
            self._put(None)
        except BaseException as error:  # whatever it is, it belongs to the one who waits for the batch
            self._put(error)

    def _put(self, item: tuple[MicroBatch, torch.cuda.Event | None] | BaseException | None) -> None:
        while not self._unwanted.is_set():
            with suppress(Full):
                self.queue.put(item, timeout=_LOOK)
                break

    def _send(self, batch: MicroBatch) -> tuple[MicroBatch, torch.cuda.Event | None]:
        if self._stream is None:
            return batch, None
        with torch.cuda.stream(self._stream):
            bases = batch.bases.pin_memory().to(self._device, non_blocking=True)
            reset = None if batch.reset is None else batch.reset.pin_memory().to(self._device, non_blocking=True)
            before = None if batch.before is None else batch.before.pin_memory().to(self._device, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self._stream)
        return batch._replace(bases=bases, reset=reset, before=before), done

    def stop(self) -> None:
        self._unwanted.set()
        while True:
            try:
                self.queue.get_nowait()
            except Empty:
                break
        self.join()


def _receive(batch: MicroBatch, copied: torch.cuda.Event | None) -> MicroBatch:
    """Let the current stream wait for the copy, and the allocator know that it uses the memory."""
    if copied is not None:
        stream = torch.cuda.current_stream(batch.bases.device)
        stream.wait_event(copied)
        for tensor in (batch.bases, batch.reset, batch.before):
            if tensor is not None:
                tensor.record_stream(stream)
    return batch


class TrainingBatches:
    """Batches of a training from one optimiser step on, as the model reads them. Can be iterated again and again."""

    def __init__(
        self,
        data: TrainingData,
        *,
        start_step: int = 0,
        stop_step: int | None = None,
        workers: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """As training_loader; `device` is where the batches are wanted."""
        self.alphabet = data.alphabet
        loader = training_loader(data, start_step=start_step, stop_step=stop_step, workers=workers)
        self.micro_batches = ReadAhead(loader, torch.device(device))

    def __len__(self) -> int:
        return len(self.micro_batches)

    def __iter__(self) -> Iterator[Batch]:
        for one in self.micro_batches:
            yield make_batch(one.bases, one.reset, self.alphabet, one.before)
