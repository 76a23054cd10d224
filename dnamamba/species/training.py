"""The fine-tuning loop: steps, validation points, checkpoints; a resumed run equals an unbroken one to the bit."""

import csv
import io
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnamamba.checkpoints import Best, Checkpoint, checkpoint_of_step, save_checkpoint
from dnamamba.errors import InputError
from dnamamba.interrupts import interrupt
from dnamamba.memory import plan_memory
from dnamamba.model.autocasting import autocasting
from dnamamba.optimiser import learning_rate
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.species.finetune_config import FinetuneConfig
from dnamamba.species.finetune_progress import FinetuneProgress
from dnamamba.species.loss import micro_losses
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.read_ahead import GPU_WORKERS, read_ahead
from dnamamba.species.training_windows import Rows, TrainingWindows
from dnamamba.training_state import restore_moments, training_tensors

CPU_TOKENS = 2**15
"""Tokens at a time on a CPU."""
LM_BYTES = 60
"""A token of a language model in training, about, a unit of its width: 8 kB at width 128, measured."""
FROZEN_TOKENS = 2**20
"""Tokens at a time on a GPU where the language model is frozen and nothing of it is kept for a backward."""


@dataclass(frozen=True)
class Point:
    """A point of the validation curve."""

    loss: float
    """Cross-entropy in nats after the best single temperature at each length, mean over the lengths."""
    accuracy: dict[int, float]
    """Bases -> share of right calls."""


class Trainer:
    """One fine-tuning."""

    def __init__(
        self,
        model: SpeciesClassifier,
        windows: TrainingWindows,
        config: FinetuneConfig,
        alphabet: Alphabet,
        autocast: torch.dtype | None,
        out: Path,
        validate: Callable[[SpeciesClassifier], Point],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Set up a run, or the rest of one.

        Args:
            model: on its device; what is frozen requires no gradient. A checkpoint's weights are put into it.
            windows: of every step.
            config: of the run.
            alphabet: of the model.
            autocast: dtype of matrix products, None for float32.
            out: the run's folder.
            validate: makes a point of the validation curve.
            checkpoint: what to go on from.
        """
        self.model, self.windows, self.config, self.alphabet = model, windows, config, alphabet
        self.autocast, self.out, self.validate = autocast, out, validate
        self.optimiser = torch.optim.AdamW(self._groups(), lr=config.optimiser.lr, betas=self._betas, fused=True)
        self.step = 0
        self.best: Best | None = None
        self.rows: list[dict[str, float]] = []
        """The log: one row a validation point."""
        self._since_best = 0
        if checkpoint is not None:
            self._restore(checkpoint)
        self.micro = dict(checkpoint.state["micro"]) if checkpoint else self._plan()

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.borders[-1]

    @property
    def _betas(self) -> tuple[float, float]:
        first, second = self.config.optimiser.betas
        return first, second

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters that are trained: matrices decay, the head has a learning rate of its own."""
        decay = self.config.optimiser.weight_decay
        groups: list[dict[str, Any]] = []
        for group in self.model.lm.parameter_groups(decay):
            members = [p for p in group["params"] if p.requires_grad]  # type: ignore[attr-defined]
            groups.append({**group, "params": members, "factor": 1.0})
        head = [p for name, p in self.model.named_parameters() if not name.startswith("lm.")]
        groups.append({"params": head, "weight_decay": 0.0, "factor": self.config.head.lr_factor})
        return [group for group in groups if group["params"]]

    def _plan(self) -> dict[str, int]:
        """Windows at a time, by length of the window."""
        longest = {stage.length: stage.windows for stage in self.config.stages}
        device, tokens = self.model.device, self.config.run.micro_tokens
        learns = any(p.requires_grad for p in self.model.lm.parameters())
        if tokens is None and device.type == "cuda" and not learns:
            tokens = FROZEN_TOKENS
        if tokens is None and device.type == "cuda":
            plan = plan_memory(self.model.lm, longest, "auto", autocast=self.autocast)
            for length, portion in plan.items():
                if portion.slice_length < length:
                    raise InputError(
                        f"stages: windows of {length:,} bases do not fit this device's memory; take shorter ones"
                    )
            # The plan knows the language model alone; the head keeps its hidden layer thrice over.
            lm = self.model.lm.config.d_model * LM_BYTES
            room = lm / (lm + 12 * (self.model.config.hidden + 8 * len(self.model.config.classes)))
            return {str(length): max(1, int(portion.rows * room)) for length, portion in plan.items()}
        tokens = tokens or CPU_TOKENS
        return {str(length): max(1, min(rows, tokens // length)) for length, rows in longest.items()}

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.model.load_state_dict(checkpoint.weights())
        restore_moments(self.optimiser, checkpoint.tensors)
        self.step, self.best = checkpoint.step, checkpoint.best
        self.rows = list(checkpoint.state["rows"])
        self._since_best = int(checkpoint.state["since_best"])

    def run(self) -> None:
        """Train to the end, or until validation gets no better; the model then has the best point's weights.

        Raises:
            InputError: a loss that is no number, or a stop by SIGTERM or Ctrl-C, which leaves a checkpoint.
        """
        saved = time.monotonic()
        every = max(1, self.total // self.config.measure.points)
        patience = self.config.measure.early_stop
        workers = self.config.run.workers
        if workers is None:
            workers = GPU_WORKERS if self.model.device.type == "cuda" else 0
        with (
            _Stop() as stop,
            FinetuneProgress(self.total, self.step) as progress,
            closing(read_ahead(self.windows, self.step, self.total, workers)) as ahead,
        ):
            self.model.train()
            if self.step == 0 and not self.rows:  # what the head is worth before any step
                self._point({}, progress)
                saved = self._save()
            while self.step < self.total and not (patience and self._since_best >= patience):
                rows = next(ahead)
                figures = self._one_step(rows)
                self.step += 1
                progress.told(self.step, self.config.stage_at(self.step - 1).length, int(rows.lengths.sum()), figures)
                if self.step % every == 0 or self.step == self.total:
                    self._point(figures, progress)
                    saved = self._save()
                elif stop.asked or time.monotonic() - saved > 60 * self.config.run.checkpoint_minutes:
                    saved = self._save()
                if stop.asked:
                    raise InputError(
                        f"stopped by {stop.asked.name} after step {self.step:,}; --resume goes on from there"
                    )
        self._take_best()

    def _one_step(self, rows: Rows) -> dict[str, float]:
        device, config = self.model.device, self.config
        count = len(rows.labels)
        micro = self.micro[str(config.stage_at(self.step).length)]
        bases = torch.from_numpy(rows.bases)
        total_bases = max(1, int((rows.lengths).sum()))
        classes, letters, seen = (torch.zeros((), device=device, dtype=torch.float64) for _ in range(3))
        for first in range(0, count, micro):
            part = slice(first, first + micro)
            longest = int(rows.lengths[part].max())
            piece = bases[part, :longest].to(device)
            with autocasting(device, self.autocast):
                losses = micro_losses(
                    self.model,
                    piece,
                    torch.from_numpy(rows.labels[part]).to(device),
                    torch.from_numpy(rows.lengths[part]).to(device),
                    config.loss,
                    self.alphabet,
                )
            whole = losses.classes / count + config.loss.lm_weight * losses.letters / total_bases
            whole.backward()  # type: ignore[no-untyped-call]
            classes += losses.classes.detach().double()
            letters += losses.letters.detach().double()
            seen += losses.bases
        rate = learning_rate(config.optimiser, self.step, self.total)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, config.optimiser.clip)
        figures = {"loss": classes / count, "letters": letters / seen.clamp_min(1), "gradient_norm": norm.double()}
        values = torch.stack(list(figures.values())).tolist()  # waits for the device
        if not all(map(math.isfinite, values)):
            raise InputError(
                f"step {self.step + 1:,}: loss {values[0]}, gradient {values[2]}; take a lower optimiser.lr"
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return {**dict(zip(figures, values, strict=True)), "learning_rate": rate}

    def _point(self, figures: dict[str, float], progress: FinetuneProgress) -> None:
        point = self.validate(self.model)
        self.model.train()
        accuracy = {f"accuracy_{length}": value for length, value in point.accuracy.items()}
        self.rows.append({"step": self.step, **figures, "valid_loss": point.loss, **accuracy})
        self._since_best += 1
        if self.best is None or point.loss < self.best.nats:
            self.best, self._since_best = Best(self.step, point.loss, {}), 0
        progress.point(self.step, point.loss, point.accuracy, self._since_best == 0)
        write_log(self.out / "logs.csv", self.rows)

    def _save(self) -> float:
        tensors = training_tensors(self.model, self.optimiser)
        state = {"micro": self.micro, "rows": self.rows, "since_best": self._since_best}
        keep = self.config.run.keep_checkpoints
        save_checkpoint(self.out / "checkpoints", self.step, tensors, state, keep, self.best)
        return time.monotonic()

    def _take_best(self) -> None:
        if self.best is not None and self.best.step != self.step:
            best = checkpoint_of_step(self.out / "checkpoints", self.best.step)
            self.model.load_state_dict(best.weights())


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the log as CSV, columns as they first come."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())


class _Stop:
    """SIGTERM and Ctrl-C raise a flag that is looked at between two steps; a second one does not wait."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_Stop":
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._flag)
            except ValueError:  # not the main thread: its caller stops it otherwise
                break
        return self

    def _flag(self, number: int, frame: Any) -> None:
        if self.asked is not None:
            interrupt(number)
        self.asked = signal.Signals(number)

    def __exit__(self, *error: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


@contextmanager
def evaluating(model: SpeciesClassifier) -> Iterator[None]:
    """The model in eval mode, without gradients."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)
