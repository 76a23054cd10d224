"""One optimiser step after another: the Lightning module that pretraining runs."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dnamamba.carried import CarriedStates
from dnamamba.checkpoints import Checkpoint
from dnamamba.curriculum import CurriculumConfig
from dnamamba.data import MicroBatch, cut_batch
from dnamamba.device import Moment, peak_memory, reset_peak_memory, send_to_host
from dnamamba.memory import MemoryPlan
from dnamamba.model import MambaLM
from dnamamba.model.sliced import sliced_step
from dnamamba.optimiser import OptimiserConfig, learning_rate
from dnamamba.parallel.processes import ALONE, Processes, whole
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.replay import stop_for_nan
from dnamamba.training_state import restore_moments, training_tensors


@dataclass(frozen=True)
class Step:
    """An optimiser step whose figures the device still has to say."""

    batches: tuple[MicroBatch, ...]
    figures: Tensor
    """Loss and gradient norm, float64 [2], on the CPU; there once the step has `ended`."""
    learning_rate: float
    ended: Moment


@dataclass
class Status:
    """Where the run stands after a step. `loss` and `gradient_norm` are of the step that was settled last."""

    step: int = 0
    context: int = 0
    tokens: int = 0
    loss: float = math.nan
    """Mean over the step's targets, nats a base."""
    gradient_norm: float = math.nan
    """Before clipping."""
    tokens_per_second: float = math.nan
    data_share: float = 0.0
    """Share of the time since the first batch that was spent waiting for the loader."""
    peak_memory: int = 0
    """Bytes: on a GPU the most that was in use since the stage began, on a CPU the most that the process ever held."""

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 20.0))


class Pretraining(pl.LightningModule):
    """Next-base training. Every batch of the loader is a micro-batch; the last one of a step moves the weights.

    The step counter is ours, not Lightning's: a resumed run is a new fit that starts at `start_step`, with weights and
    moments put back to the bit, so that no loop state has to be restored.
    """

    def __init__(
        self,
        model: MambaLM,
        alphabet: Alphabet,
        config: OptimiserConfig,
        curriculum: CurriculumConfig,
        plan: MemoryPlan,
        autocast: torch.dtype | None,
        checkpoint: Checkpoint | None,
        crash_folder: Path,
        carry_state: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        """Set up a run, or the rest of one.

        Args:
            model: in float32; a checkpoint's weights are put into it.
            alphabet: of the model; says the start token and which targets count.
            config: learning rate and its course.
            curriculum: says how many tokens and steps there are.
            plan: says how long slices of a window are.
            autocast: dtype of matrix products, or None for float32 throughout.
            checkpoint: what to go on from.
            crash_folder: where the step goes that made a loss or gradient that is no number.
            carry_state: hand the state after a row on to the same row of the next step.
            processes: this one and those it trains with.
        """
        super().__init__()
        self.automatic_optimization = False
        self.processes = processes
        self.model = model
        self.alphabet = alphabet
        self.config = config
        self.curriculum = curriculum
        self.plan = plan
        self.autocast = autocast
        self.crash_folder = crash_folder
        self.start_step = checkpoint.step if checkpoint else 0
        self.status = Status(step=self.start_step, tokens=self.start_step * curriculum.tokens_per_step)
        self.step_done = False
        """Whether the micro-batch that was just trained on was the last one of its step."""
        self.weights_step = 0
        """Optimiser steps that the model's weights have seen."""
        self.within_step: list[Callable[[float], None]] = []
        """Called with the share of the optimiser step that is done, slice by slice."""
        carried = processes.own_states(checkpoint.tensors) if checkpoint else {}
        self._carried = CarriedStates(carried) if carry_state else None
        self._checkpoint = checkpoint
        self._began = 0.0
        self._step_ended: Moment | None = None
        self._loss = self._count = torch.zeros(())
        self._batches: list[MicroBatch] = []
        self._stage = -1
        self._unsettled: Step | None = None
        if checkpoint:
            self.put_weights(checkpoint)

    def put_weights(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint's weights into the model."""
        self.model.load_state_dict(checkpoint.weights())
        self.weights_step = checkpoint.step

    def configure_model(self) -> None:
        if self.processes.is_sharded:
            self.processes.shard(self.model, self.device_mesh["data_parallel"])  # type: ignore[index]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = self.model.parameter_groups(self.config.weight_decay)
        beta1, beta2 = self.config.betas
        return torch.optim.AdamW(groups, lr=self.config.lr, betas=(beta1, beta2), fused=True)

    def on_train_start(self) -> None:
        if self._checkpoint:
            restore_moments(self._optimiser(), self._checkpoint.tensors)
            self._checkpoint = None  # its tensors are as large as three models
        self._began = time.monotonic()
        self._step_ended = Moment(self.device)

    def transfer_batch_to_device(self, batch: MicroBatch, device: torch.device, dataloader_idx: int) -> MicroBatch:
        return batch  # read ahead and copied already

    def training_step(self, batch: MicroBatch, batch_idx: int) -> None:
        if batch.micro == 0:
            self._loss = torch.zeros((), device=self.device, dtype=torch.float64)
            self._count = torch.zeros((), device=self.device, dtype=torch.int64)
            self._batches = []
        self._batches.append(batch)
        if batch.stage != self._stage:
            self._stage = batch.stage
            reset_peak_memory(self.device)
        first = self.curriculum.at(batch.step).step == 0
        processes, context = self.processes, batch.context
        with processes.step(self, self.model):
            loss, count, after = sliced_step(
                self.model,
                lambda start, end: cut_batch(batch, self.alphabet, *processes.piece(start, end)),  # type: ignore[arg-type, return-value]
                context,
                self.plan[context].slice_length,
                # Over all positions of the step, those without a target too: its weight does not hang on the cutting.
                scale=processes.loss_factor / self.curriculum.tokens_per_step,
                state=self._carried.before(batch, first) if self._carried else None,
                autocast=self.autocast,
                backward=self.manual_backward,
                progress=partial(self._tell, batch),
            )
        if self._carried:
            self._carried.keep(batch, after)
        self._loss += loss
        self._count += count
        self.step_done = batch.micro == batch.micros - 1
        if self.step_done:
            self._move_weights(batch)

    def _tell(self, batch: MicroBatch, share: float) -> None:
        for listen in self.within_step:
            listen((batch.micro + share) / batch.micros)

    def _move_weights(self, batch: MicroBatch) -> None:
        optimiser = self._optimiser()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(self.config, batch.step, self.curriculum.total_steps)
        self.processes.sum_gradients(self.model.parameters())
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip))
        total, count = self.processes.sum(self._loss, self._count)
        loss = total / count.clamp_min(1)
        # The device skips a step that is no number, and the host asks about it a step later: no queue runs dry for it.
        optimiser.found_inf = (~(loss.isfinite() & norm.isfinite())).float()  # type: ignore[attr-defined]
        self.optimizers().step()  # type: ignore[union-attr]
        optimiser.zero_grad(set_to_none=True)
        figures = send_to_host(torch.stack([loss, norm.to(loss)]))
        ended = Moment(self.device)
        self.settle()
        self._unsettled = Step(tuple(self._batches), figures, optimiser.param_groups[0]["lr"], ended)
        status, tokens = self.status, self.curriculum.tokens_per_step
        status.step, status.tokens, status.context = batch.step + 1, (batch.step + 1) * tokens, batch.context
        self.weights_step = status.step
        if status.step in {self.start_step + 1, *self.curriculum.borders}:
            self.settle()

    def settle(self) -> None:
        """Learn the figures of the last step, which waits for the device, and log them; a NaN among them stops the run.

        Whoever looks at the weights after a step (validation, checkpoint) calls this first.

        Raises:
            InputError: loss or gradient norm is no number. The step is kept for replay.
        """
        if self._unsettled is None:
            return
        step, self._unsettled = self._unsettled, None
        step.ended.wait()
        loss, norm = step.figures.tolist()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            stop_for_nan(self.crash_folder, self.processes.whole_model(self.model), step.batches, loss, norm)
        status, done = self.status, step.batches[0].step + 1
        tokens = self.curriculum.tokens_per_step
        assert self._step_ended is not None
        status.tokens_per_second = tokens / max(step.ended.since(self._step_ended), 1e-9)
        self._step_ended = step.ended
        status.loss, status.gradient_norm = loss, norm
        status.data_share = self.trainer.train_dataloader.waited / max(time.monotonic() - self._began, 1e-9)  # type: ignore[union-attr]
        status.peak_memory = peak_memory(self.device)
        row = {
            "tokens": done * tokens,
            "context": step.batches[0].context,
            "loss": loss,
            "gradient_norm": norm,
            "learning_rate": step.learning_rate,
            "tokens_per_second": status.tokens_per_second,
            "data_share": status.data_share,
            "peak_memory": status.peak_memory,
        }
        for logger in self.loggers:
            logger.log_metrics(row, done)

    def on_train_batch_end(self, outputs: Any, batch: MicroBatch, batch_idx: int) -> None:
        # Lightning comes here after all callbacks: validation and saving are behind us and count as no training.
        if self.step_done and self._unsettled is None:
            self._step_ended = Moment(self.device)

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """Weights, moments and carried states, named as those who put them back want them."""
        tensors = {name: whole(one) for name, one in training_tensors(self.model, self._optimiser()).items()}
        return tensors | (self.processes.all_states(self._carried.tensors()) if self._carried else {})

    def _optimiser(self) -> torch.optim.Optimizer:
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, torch.optim.Optimizer)
        return optimiser
