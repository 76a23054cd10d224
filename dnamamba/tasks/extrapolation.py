"""Accuracy of a trained model at lengths that it never saw, by streaming: the memory does not grow with the length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.intervals import wilson
from dnamamba.model import MambaLM
from dnamamba.model.autocasting import autocasting
from dnamamba.tasks.task import Task, TaskSettings

TEST_SEED = 2**21
"""Added to the seed for samples that neither training nor its checks see."""
TOKENS = {"cuda": 2**26, "cpu": 2**20}
"""Tokens of a test at one length, about."""
SAMPLES = (64, 4096)
"""Samples of a length, at least and at most."""
AT_A_TIME = {"cuda": 2**20, "cpu": 2**15}
"""Tokens that go through the model at a time."""


@dataclass(frozen=True)
class Measured:
    """Accuracy at one length."""

    length: int
    samples: int
    accuracy: float
    """Share of the answers that are right."""
    low: float
    """The 95% interval's ends (Wilson), the samples taken as independent and the answers of one as not."""
    high: float
    whole: float
    """Share of the samples with all answers right."""


def test_lengths(settings: TaskSettings) -> list[int]:
    """The trained length, and every power of two from 64 up to the longest."""
    powers = [1 << power for power in range(6, settings.longest.bit_length())]
    return sorted({settings.length, *powers})


def measure(
    task: Task,
    model: MambaLM,
    settings: TaskSettings,
    lengths: Sequence[int],
    autocast: torch.dtype | None,
    tell: Callable[[Measured], None],
) -> list[Measured]:
    """Test a model at each length, on samples that it never saw; `tell` hears of each length when it is done."""
    found = []
    for length in lengths:
        samples = min(max(TOKENS.get(model.device.type, TOKENS["cpu"]) // length, SAMPLES[0]), SAMPLES[1])
        right = right_answers(task, model, settings.seed + TEST_SEED, samples, length, autocast)
        accuracy = float(right.float().mean())
        low, high = wilson(accuracy, samples)
        found.append(Measured(length, samples, accuracy, low, high, float(right.all(1).float().mean())))
        tell(found[-1])
    return found


@torch.no_grad()
def right_answers(
    task: Task, model: MambaLM, seed: int, samples: int, length: int, autocast: torch.dtype | None
) -> Tensor:
    """Which answers to the first so many samples are right, by streaming, bool [samples, answers]."""
    at_a_time = AT_A_TIME.get(model.device.type, AT_A_TIME["cpu"])
    rows = max(1, min(samples, at_a_time // min(length, 2**12)))
    columns = max(task.n_answers, at_a_time // rows)
    return torch.cat(
        [
            _answered(task, model, seed, part, length, columns, autocast) == task.answers(seed, part, length)
            for part in torch.split(torch.arange(samples, device=model.device), rows)
        ]
    )


def _answered(
    task: Task, model: MambaLM, seed: int, samples: Tensor, length: int, columns: int, autocast: torch.dtype | None
) -> Tensor:
    """What the model says at the last positions; the answers lie in the last piece, which is therefore a whole one."""
    state, head = None, model.backbone.embedding.weight
    first = 0
    while True:
        last = length - (length - first - 1) // columns * columns
        tokens = task.tokens(seed, samples, length, first, last)
        with autocasting(model.device, autocast):
            features, state = model.backbone(tokens, state)
        if last == length:
            return F.linear(features[:, -task.n_answers :].float(), head).argmax(-1)
        first = last
