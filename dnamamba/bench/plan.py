"""What `dnamamba bench` measures: sizes that suit the device, and what the command line says instead."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from dnamamba.bench.training import read_model
from dnamamba.errors import InputError

Part = Literal["scan", "training", "decoding"]
PARTS: tuple[Part, ...] = ("scan", "training", "decoding")


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """Everything that decides what is measured.

    Raises:
        InputError: a size below 1, a model that is none, or a cap that is not positive.
    """

    device: str
    dtype: torch.dtype
    """Of activations and matrix products."""
    parts: tuple[Part, ...] = PARTS
    width: int = 256
    """Channels of the scan, and width of its rivals."""
    lengths: tuple[int, ...]
    """Steps of a scan."""
    cap: float
    """Seconds of a call from which on a contender is not asked for longer ones."""
    models: tuple[str, ...]
    """Models that are trained and that decode, width x blocks."""
    contexts: tuple[int, ...]
    """Tokens of a training window."""
    tokens: int
    """Tokens of an optimiser step."""
    modes: tuple[str, ...] = ("fast", "lean")
    """Of training, see dnamamba.bench.training.MODES."""
    batches: tuple[int, ...]
    """Sequences that are decoded side by side."""

    def __post_init__(self) -> None:
        for key in ("lengths", "contexts", "batches"):
            values = getattr(self, key)
            if not values or min(values) < 1 or list(values) != sorted(set(values)):
                raise InputError(f"{key}: want growing numbers of at least 1, got {', '.join(map(str, values))}")
        for key in ("width", "cap", "tokens"):
            if not getattr(self, key) > 0:
                raise InputError(f"{key}: want above 0, got {getattr(self, key)}")
        for model in self.models:
            read_model(model)


def default_plan(device: str, dtype: torch.dtype, quick: bool) -> BenchPlan:
    """The plan for a device; `quick` takes under a minute on two CPU cores and on a GPU."""
    if device == "cuda":
        whole = BenchPlan(
            device=device, dtype=dtype, lengths=tuple(2**p for p in range(9, 21)), cap=2.0, models=("128x6", "256x8"),
            contexts=tuple(2**p for p in range(10, 21, 2)), tokens=2**20, batches=(1, 4, 16, 64, 256, 1024),
        )  # fmt: skip
        less = replace(
            whole, lengths=tuple(2**p for p in range(10, 19, 2)), cap=0.3, models=("128x6",), modes=("fast",),
            contexts=(2**10, 2**15, 2**20), batches=(1, 64, 1024),
        )  # fmt: skip
    else:
        whole = BenchPlan(
            device=device, dtype=dtype, lengths=tuple(2**p for p in range(9, 19)), cap=2.0, models=("64x4", "128x6"),
            contexts=tuple(2**p for p in range(10, 17, 2)), tokens=2**14, batches=(1, 4, 16, 64),
        )  # fmt: skip
        less = replace(
            whole, lengths=tuple(2**p for p in range(9, 16, 2)), cap=0.2, models=("64x4",), modes=("fast",),
            contexts=(2**10, 2**14), tokens=2**13, batches=(1, 16),
        )  # fmt: skip
    return less if quick else whole
