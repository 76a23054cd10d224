"""AdamW and its learning rate: linear warm-up, then a cosine down, both over tokens and blind to curriculum stages."""

import math
from dataclasses import dataclass

from dnamamba.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """The defaults are the published recipe (arXiv 2312.00752, E.3)."""

    lr: float = 8e-3
    """Highest learning rate, reached at the end of the warm-up."""
    lr_end: float = 0.1
    """The cosine ends at this share of `lr`."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises from zero."""
    betas: tuple[float, ...] = (0.9, 0.95)
    weight_decay: float = 0.1
    """Of matrices; A_log, D, biases and norm weights have none."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""

    def __post_init__(self) -> None:
        for key, (good, wanted) in {
            "lr": (self.lr > 0, "above 0"),
            "lr_end": (0 <= self.lr_end <= 1, "0 to 1"),
            "warmup": (0 <= self.warmup < 1, "0 or more and below 1"),
            "betas": (len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two, each 0 .. below 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "clip": (self.clip > 0, "above 0"),
        }.items():
            if not good:
                raise InputError(f"optimiser.{key}: want {wanted}, got {getattr(self, key)!r}")


def learning_rate(config: OptimiserConfig, step: int, total_steps: int) -> float:
    """Learning rate of optimiser step `step` (from 0) of `total_steps`. The last step of the warm-up runs at `lr`."""
    warm = round(config.warmup * total_steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    done = (step - warm) / max(1, total_steps - warm)
    return config.lr * (config.lr_end + (1 - config.lr_end) * 0.5 * (1 + math.cos(math.pi * done)))
