"""What a synthetic task is: tokens in, answers asked for at the end, and the settings it is trained with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from dnamamba.device import Precision

VOCABULARY = 16
TaskName = Literal["selective-copying", "induction-heads"]

Tokens = Callable[[int, Tensor, int, int, int], Tensor]
"""(seed, samples [B], length, first, last) -> tokens [B, last - first], int64: that piece of each sample's sequence."""
Answers = Callable[[int, Tensor, int], Tensor]
"""(seed, samples [B], length) -> what is to be said at the last positions, [B, answers], int64."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task and the settings of its training. Samples are pure functions of (seed, sample number)."""

    name: TaskName
    title: str
    tokens: Tokens
    answers: Answers
    n_answers: int
    """Answers a sequence, asked for at its last positions."""
    chance: float
    """Accuracy of a guess."""
    shortest: int
    """Length of the shortest sequence."""
    settings: "TaskSettings"
    published: Mapping[str, str]
    """What the paper says, by model; printed beside ours and marked as published."""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """How a model is trained on a task; equal for all models of a run."""

    length: int
    """Tokens of a sequence, the places of the answers included."""
    batch: int
    steps: int
    """At most; fewer where the task is solved before."""
    lr: float
    """Constant, of AdamW without weight decay."""
    betas: tuple[float, ...] = (0.9, 0.95)
    """Of AdamW. The paper names none for the tasks: these are those of its pretraining."""
    precision: Precision
    d_model: int = 64
    n_layers: int = 2
    clip: float = 1.0
    """Largest norm of the gradient."""
    check_every: int = 1000
    """Steps between two looks at fresh samples."""
    check_samples: int = 1024
    stop_loss: float = 1e-3
    """Solved: every answer right and the mean loss below this, in nats an answer, at `stop_checks` looks in a row."""
    stop_checks: int = 3
    stop_length: int = 0
    """Looked at as well where the trained length is solved, and to be solved too; 0: the trained length alone."""
    longest: int = 0
    """Tested, by streaming, at every power of two up to this length; 0: at the trained length alone."""
    seed: int = 0
