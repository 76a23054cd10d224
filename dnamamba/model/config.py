"""The shape of a model: everything its weights' names and sizes follow from, and the constants they are drawn with."""

from dataclasses import dataclass, fields
from math import isfinite

from dnamamba.errors import InputError

ALPHABET_SIZE = {"dna": 16, "bytes": 256}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A Mamba-1 language model over bytes.

    Raises:
        InputError: a value of the wrong kind or out of range; the message names the key.

    Source: Gu and Dao, Mamba (arXiv 2312.00752), sections 3.4 and E.3, and its public code.
    """

    d_model: int = 128
    """Width of the residual stream."""
    n_layers: int = 12
    """Number of blocks."""
    d_state: int = 16
    """States of each channel, N."""
    d_conv: int = 4
    """Taps of the causal convolution, in bases."""
    expand: int = 2
    """Channels of the mixer over d_model."""
    dt_rank: int | None = None
    """Rank of the step size's projection; None is d_model / 16, rounded up."""
    vocab_size: int = 16
    """Rows of the embedding, tied to the head; at least the alphabet's tokens."""
    alphabet: str = "dna"
    """How bytes become tokens: "dna" (16 tokens) or "bytes" (256)."""
    norm_eps: float = 1e-5
    """Added to the mean square under RMSNorm's root."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start."""
    dt_min: float = 1e-3
    """Smallest step size at the start; log-uniform from here to dt_max."""
    dt_max: float = 1e-1
    """Largest step size at the start."""
    dt_floor: float = 1e-4
    """Step sizes drawn below this are raised to it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, getattr(self, field.name))
        if self.alphabet not in ALPHABET_SIZE:
            raise InputError(f"alphabet: want one of {', '.join(ALPHABET_SIZE)}, got {self.alphabet!r}")
        if self.vocab_size < ALPHABET_SIZE[self.alphabet]:
            tokens = ALPHABET_SIZE[self.alphabet]
            raise InputError(f"vocab_size: alphabet {self.alphabet!r} has {tokens} tokens, got {self.vocab_size}")
        if self.d_conv < 2:
            raise InputError(f"d_conv: want at least 2 taps, got {self.d_conv}")
        if self.dt_min > self.dt_max:
            raise InputError(f"dt_min: want no more than dt_max {self.dt_max}, got {self.dt_min}")

    @staticmethod
    def _check(key: str, value: object) -> None:
        if key == "alphabet":
            if not isinstance(value, str):
                raise InputError(f"{key}: want a name, got {value!r}")
        elif key in ("norm_eps", "embedding_std", "dt_min", "dt_max", "dt_floor"):
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
                raise InputError(f"{key}: want a positive number, got {value!r}")
        elif value is None and key == "dt_rank":
            return
        elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{key}: want a positive whole number, got {value!r}")

    @property
    def d_inner(self) -> int:
        """Channels of the convolution and the scan."""
        return self.expand * self.d_model

    @property
    def rank(self) -> int:
        """`dt_rank`, its default filled in."""
        return -(-self.d_model // 16) if self.dt_rank is None else self.dt_rank
