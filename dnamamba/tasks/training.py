"""Training on a synthetic task: fresh samples at every step, made on the device, until the task is solved."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from dnamamba.device import autocast_dtype
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model.autocasting import autocasting
from dnamamba.tasks.captured import CapturedStep
from dnamamba.tasks.extrapolation import right_answers
from dnamamba.tasks.task import Task, TaskSettings
from dnamamba.training_state import restore_moments, training_tensors

CHECK_SEED = 2**20
"""Added to the seed for samples that training never sees."""
CHECK_TOKENS = 2**18
"""Tokens that a look takes at a time."""
FAR_SAMPLES, FAR_SURE = 64, 256
"""Samples of a look at the stop length, and how many where all of those were right."""
CHECKPOINT_SECONDS = 60.0

Tell = Callable[["Look"], None]


@dataclass(frozen=True)
class Look:
    """How a model does on fresh samples after so many steps."""

    step: int
    loss: float
    """Mean over the training steps since the look before, in nats an answer."""
    check_loss: float
    """The same on samples that are not trained on."""
    accuracy: float
    """Share of the answers that are right, on those samples."""
    whole: float
    """Share of the samples with all answers right."""
    far: float | None
    """Accuracy at `stop_length`; None where that was not looked at."""
    seconds: float
    """Trained so far, looks included."""

    def solves(self, settings: TaskSettings) -> bool:
        """Whether every answer was right and the loss small enough."""
        here = self.accuracy == 1.0 and self.check_loss < settings.stop_loss
        return here and (self.far == 1.0 or not settings.stop_length)

    @property
    def merit(self) -> tuple[float, float, float]:
        """What one look is better than another by: accuracy at the stop length, where trained, and then the loss."""
        return -1.0 if self.far is None else self.far, self.accuracy, -self.check_loss


class TaskTraining:
    """One model on one task. What it trains on follows from the step number, so that a resumed run is the same.

    The model of the best look is kept: a model that has solved the length it is trained at learns nothing more there,
    while what it does at a thousand times that length still comes and goes.
    """

    def __init__(self, task: Task, settings: TaskSettings, config: ModelConfig, device: torch.device) -> None:
        self.task, self.settings = task, settings
        torch.manual_seed(settings.seed)
        self.model = MambaLM(config).to(device)
        self.autocast = autocast_dtype(settings.precision, device)
        self.looks: list[Look] = []
        self.best: Look | None = None
        """The first of the looks that none is better than."""
        self._best_weights: dict[str, Tensor] = {}
        beta1, beta2 = settings.betas
        self._optimiser = torch.optim.AdamW(
            self.model.parameter_groups(0.0), lr=settings.lr, betas=(beta1, beta2), fused=True,
            capturable=device.type == "cuda",
        )  # fmt: skip
        self._samples = torch.arange(settings.batch, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._train = CapturedStep(self._one, self._clear, device)
        self._done = 0

    def _clear(self) -> None:
        self._optimiser.zero_grad(set_to_none=True)

    def _loss_of(self, seed: int, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss, and which answers are right, [B, answers]."""
        length, answers = self.settings.length, self.task.answers(seed, samples, self.settings.length)
        tokens = self.task.tokens(seed, samples, length, 0, length)
        with autocasting(samples.device, self.autocast):
            features, _ = self.model.backbone(tokens)
        logits = F.linear(features[:, -answers.shape[1] :].float(), self.model.backbone.embedding.weight)
        loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
        return loss, logits.argmax(-1) == answers

    def _one(self) -> None:
        self._clear()
        loss, _ = self._loss_of(self.settings.seed, self._step * self.settings.batch + self._samples)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._optimiser.step()
        self._loss += loss.detach()
        self._step += 1

    @property
    def is_solved(self) -> bool:
        """Whether the last looks found every answer right and the loss small enough."""
        last = self.looks[-self.settings.stop_checks :]
        return len(last) == self.settings.stop_checks and all(look.solves(self.settings) for look in last)

    @property
    def is_over(self) -> bool:
        return self._done >= self.settings.steps or self.is_solved

    def run(self, folder: Path, tell: Tell) -> None:
        """Train to the end, from the last checkpoint below `folder` where there is one.

        The model is then that of the best look.

        Raises:
            InputError: the loss is no number.
        """
        if (folder / "checkpoints").exists():
            self._resume(latest_checkpoint(folder / "checkpoints", lambda text: None))
        before = self.looks[-1].seconds if self.looks else 0.0
        began = saved = time.monotonic()
        while not self.is_over:
            until = min(self.settings.steps, self._done + self.settings.check_every)
            steps, self._done = until - self._done, until
            for _ in range(steps):
                self._train()
            loss = self._loss.item() / steps  # waits for the device
            self._loss.zero_()
            if not math.isfinite(loss):
                raise InputError(f"{self.task.name}: the loss is no number after step {until:,}; try a lower --lr")
            checked = self._check()
            self.looks.append(Look(until, loss, *checked, self._far(*checked), before + time.monotonic() - began))
            if self.best is None or self.looks[-1].merit > self.best.merit:
                self.best = self.looks[-1]
                self._best_weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            tell(self.looks[-1])
            if time.monotonic() - saved > CHECKPOINT_SECONDS or self.is_over:
                self._save(folder)
                saved = time.monotonic()
        self.model.load_state_dict(self._best_weights)

    @torch.no_grad()
    def _check(self) -> tuple[float, float, float]:
        """Mean loss, share of right answers, and share of samples with all of them right."""
        parts = []
        samples = torch.arange(self.settings.check_samples, device=self._samples.device)
        for part in torch.split(samples, max(1, CHECK_TOKENS // self.settings.length)):
            loss, right = self._loss_of(self.settings.seed + CHECK_SEED, part)
            parts.append(torch.stack([loss, right.float().mean(), right.all(1).float().mean()]).double() * len(part))
        loss, accuracy, whole = (torch.stack(parts).sum(0) / len(samples)).tolist()
        return loss, accuracy, whole

    def _far(self, loss: float, accuracy: float, whole: float) -> float | None:
        """Accuracy at the stop length, where the trained length and a sixteenth of the stop length are solved."""
        settings = self.settings
        if not settings.stop_length or accuracy < 1 or loss >= settings.stop_loss:
            return None
        seed, short = settings.seed + CHECK_SEED, settings.stop_length // 16

        def share(length: int, samples: int = FAR_SAMPLES) -> float:
            right = right_answers(self.task, self.model, seed, samples, length, self.autocast)
            return float(right.float().mean())

        # The long way only where the short one is done.
        if short >= settings.length and share(short) < 1:
            return None
        found = share(settings.stop_length)
        return found if found < 1 else share(settings.stop_length, FAR_SURE)

    def _save(self, folder: Path) -> None:
        tensors = training_tensors(self.model, self._optimiser)
        tensors |= {f"best.{name}": tensor for name, tensor in self._best_weights.items()}
        looks = [asdict(look) for look in self.looks]
        save_checkpoint(
            folder / "checkpoints",
            self._done,
            tensors,
            {"looks": looks, "best_look": self.best and self.best.step},
            keep=1,
        )

    def _resume(self, checkpoint: Checkpoint) -> None:
        weights = checkpoint.weights()
        own = self.model.state_dict()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in own.items()}:
            raise InputError(f"{self.task.name}: the checkpoint is of a model of another shape; choose another --out")
        self.model.load_state_dict(weights)
        restore_moments(self._optimiser, checkpoint.tensors)
        self._done = checkpoint.step
        self._step.fill_(checkpoint.step)
        self.looks = [Look(**look) for look in checkpoint.state["looks"]]
        self.best = next(look for look in self.looks if look.step == checkpoint.state["best_look"])
        self._best_weights = {name: one.to(self._step.device) for name, one in checkpoint.weights("best").items()}
