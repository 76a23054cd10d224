"""The loss of a fine-tuning: the classes after every 2^k bases, and the next base beside it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.data import IGNORED
from dnamamba.kernels import linear_cross_entropy
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.species.finetune_config import LossConfig, powers_between
from dnamamba.species.model import SpeciesClassifier


class Losses(NamedTuple):
    """Sums over a micro-batch."""

    classes: Tensor
    """Sum over the rows of the mean cross-entropy over a row's lengths, nats; differentiable."""
    letters: Tensor
    """Sum over the bases, nats; differentiable. Zero where it has no weight."""
    bases: Tensor
    """How many they are."""


def lengths_within(longest: int, config: LossConfig) -> tuple[int, ...]:
    """Bases after which the loss stands in a window of `longest`."""
    return (longest,) if config.at == "end" else powers_between(min(config.first, longest), longest)


def with_start(bases: Tensor, alphabet: Alphabet) -> Tensor:
    """The start token before every row: uint8 [B, L] -> [B, L + 1]."""
    return F.pad(bases, (1, 0), value=alphabet.start)


def next_bases(bases: Tensor, lengths: Tensor, alphabet: Alphabet) -> Tensor:
    """Targets of the language model for `with_start(bases)`, int64 [B, L + 1]; none after the last base."""
    targets = F.pad(bases.long(), (0, 1), value=IGNORED)
    past = torch.arange(targets.shape[1], device=bases.device) >= lengths[:, None]
    return targets.masked_fill((targets >= len(alphabet.targets)) | past, IGNORED)


def micro_losses(
    model: SpeciesClassifier, bases: Tensor, labels: Tensor, lengths: Tensor, config: LossConfig, alphabet: Alphabet
) -> Losses:
    """Losses of a micro-batch.

    Args:
        model: in training.
        bases: uint8 tokens without a start token, [B, L], padded behind the rows' ends.
        labels: class of each row, int64 [B].
        lengths: bases of each row, int64 [B].
        config: where the loss stands.
        alphabet: of the model.
    """
    stands = lengths_within(bases.shape[1], config)
    if config.at == "end":  # each row at its own end
        at = torch.unique(lengths)
        counts = (at[None] == lengths[:, None]).float()
    else:
        at = torch.tensor(stands, device=bases.device)
        counts = (at[None] <= lengths[:, None]).float()
        # A row shorter than the first length still has an end to learn from.
        short = counts.sum(1) == 0
        if bool(short.any()):
            at = torch.cat([at, lengths[short]])
            counts = torch.cat([counts, (short[:, None] & (lengths[short][None] == lengths[:, None])).float()], 1)
            counts = counts / counts.sum(1, keepdim=True).clamp_min(1)
    logits, features, _ = model.read(with_start(bases, alphabet), at=at)  # [B, P, K]
    wanted = labels[:, None].expand(-1, len(at))
    each = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
    classes = ((each * counts).sum(1) / counts.sum(1)).sum()
    if not config.lm_weight:
        zero = torch.zeros((), device=bases.device)
        return Losses(classes, zero, zero)
    weight = model.lm.backbone.embedding.weight
    letters, count = linear_cross_entropy(features, weight, next_bases(bases, lengths, alphabet))
    return Losses(classes, letters, count)
