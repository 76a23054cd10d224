"""Selective copying: data tokens stand at random places among noise; at the end say them in their order.

Source: Gu and Dao, Mamba (arXiv 2312.00752), 3.1 and E.1: length 4096, 16 tokens to copy, vocabulary 16 with the noise.
"""

import torch
from torch import Tensor

from dnamamba.tasks.draws import random_below, random_bits
from dnamamba.tasks.task import VOCABULARY, Task, TaskSettings

NOISE, MARKER = 0, VOCABULARY - 1
"""What stands between the data tokens 1..14, and what asks for each of them at the end."""
COPIED = 16
_TOKENS, _PLACES = 0, 1  # streams of random numbers


def tokens(seed: int, samples: Tensor, length: int, first: int, last: int) -> Tensor:
    """Positions first..last - 1: the first length - 16 hold noise and 16 data tokens, the last 16 the marker."""
    places = torch.arange(length - COPIED, device=samples.device)
    bits = random_bits(seed, _PLACES, samples[:, None], places)
    keys = (bits >> 1 << 31) | places  # no two are equal, so that exactly 16 are the largest
    chosen = keys >= keys.topk(COPIED, dim=1, sorted=False).values.amin(1, keepdim=True)
    order = (chosen.cumsum(1) - 1).clamp_min(0).clamp_max(COPIED - 1)
    data = torch.where(chosen, answers(seed, samples, length).gather(1, order), NOISE)
    whole = torch.cat([data, data.new_full((len(samples), COPIED), MARKER)], 1)
    return whole[:, first:last]


def answers(seed: int, samples: Tensor, length: int) -> Tensor:
    """The data tokens in their order, [B, 16]."""
    place = torch.arange(COPIED, device=samples.device)
    return 1 + random_below(MARKER - 1, random_bits(seed, _TOKENS, samples[:, None], place))


SELECTIVE_COPYING = Task(
    name="selective-copying",
    title="Selective copying",
    tokens=tokens,
    answers=answers,
    n_answers=COPIED,
    chance=1 / (MARKER - 1),
    shortest=2 * COPIED,
    settings=TaskSettings(
        length=4096, batch=64, steps=400_000, lr=1e-4, precision="auto", check_every=500, check_samples=512,
    ),
    published={
        "S4": "18.3%", "H3 (S4)": "57.0%", "Hyena": "30.1%", "Mamba's block with S4": "56.4%",
        "no gate, selective": "97.0%", "H3 with the selective scan": "99.7%", "Mamba": "99.8%",
    },
)  # fmt: skip
