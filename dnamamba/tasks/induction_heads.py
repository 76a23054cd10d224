"""Induction heads: a marker stands once in random tokens; when it comes again, say what followed it the first time.

Source: Olsson et al., In-context Learning and Induction Heads (arXiv 2209.11895); Gu and Dao, Mamba (arXiv 2312.00752),
3.1 and E.1: trained at 256 tokens, tested at 2^6 to 2^20.
"""

import torch
from torch import Tensor

from dnamamba.tasks.draws import random_below, random_bits
from dnamamba.tasks.task import VOCABULARY, Task, TaskSettings

MARKER = VOCABULARY - 1
_TOKENS, _PLACE = 0, 1  # streams of random numbers


def _ordinary(seed: int, samples: Tensor, positions: Tensor) -> Tensor:
    return random_below(MARKER, random_bits(seed, _TOKENS, samples[:, None], positions))


def _place(seed: int, samples: Tensor, length: int) -> Tensor:
    """Where the marker stands first, [B]: what follows it is before the last position."""
    return random_below(length - 2, random_bits(seed, _PLACE, samples))


def tokens(seed: int, samples: Tensor, length: int, first: int, last: int) -> Tensor:
    """Positions first..last - 1 of the samples' sequences: random tokens, the marker once and again at the end."""
    positions = torch.arange(first, last, device=samples.device)
    marked = (positions == _place(seed, samples, length)[:, None]) | (positions == length - 1)
    return torch.where(marked, MARKER, _ordinary(seed, samples, positions))


def answers(seed: int, samples: Tensor, length: int) -> Tensor:
    """What follows the marker's first place, [B, 1]."""
    return _ordinary(seed, samples, _place(seed, samples, length)[:, None] + 1)


INDUCTION_HEADS = Task(
    name="induction-heads",
    title="Induction heads",
    tokens=tokens,
    answers=answers,
    n_answers=1,
    chance=1 / MARKER,
    shortest=4,
    settings=TaskSettings(
        length=256, batch=8, steps=25 * 8192, lr=1e-3, precision="float32", longest=2**20, stop_loss=1e-4,
        stop_length=2**20, betas=(0.9, 0.999),
    ),
    published={
        "Mamba": "100% at every length 2^6 to 2^20",
        "attention (absolute, xPos, RoPE)": "at chance by 2^14",
        "H3, Hyena": "about 7% by 2^20",
    },
)  # fmt: skip
