"""The shape of a model: everything its weights' names and sizes follow from, and the constants they are drawn with."""

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from dnamamba.errors import InputError

ALPHABET_SIZE = {"dna": 16, "bytes": 256}
MixerName = Literal["mamba", "s4d"]
"""What mixes along the sequence; `dnamamba.model.mixers` has a class for each."""
SELECTIVE = ("dt", "B", "C")
"""What can follow from the input at each step."""

# The kernels take no more states and taps; the others keep a damaged file from asking for sizes past int64.
_LARGEST = {
    "d_model": 2**16,
    "n_layers": 2**16,
    "d_state": 64,
    "d_conv": 8,
    "expand": 2**8,
    "dt_rank": 2**16,
    "vocab_size": 2**20,
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A Mamba-1 language model over bytes, or a twin of it with a mixer that selects less or nothing.

    Raises:
        InputError: a value of the wrong kind or out of range; the message names the key.

    Source: Gu and Dao, Mamba (arXiv 2312.00752), sections 3.4 and E.3, and its public code.
    """

    d_model: int = 128
    """Width of the residual stream."""
    n_layers: int = 12
    """Number of blocks."""
    mixer: MixerName = "mamba"
    """"mamba", or "s4d": the same block around a time-invariant state space, B and C of each channel learned."""
    selective: tuple[str, ...] = SELECTIVE
    """Which of dt, B and C the mixer "mamba" makes from its input; the others are learned constants: a step size a
    channel, one B and one C for all of them."""
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
        if self.mixer not in get_args(MixerName):
            raise InputError(f"mixer: want one of {', '.join(get_args(MixerName))}, got {self.mixer!r}")
        self._check_selective()
        for key, largest in _LARGEST.items():
            value, smallest = getattr(self, key), 2 if key == "d_conv" else 1
            if key == "dt_rank" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
                raise InputError(f"{key}: want a whole number in {smallest}..{largest}, got {value!r}")
        for key in ("norm_eps", "embedding_std", "dt_min", "dt_max", "dt_floor"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
                raise InputError(f"{key}: want a positive number, got {value!r}")
        if self.dt_min > self.dt_max:
            raise InputError(f"dt_min: want no more than dt_max {self.dt_max}, got {self.dt_min}")
        if self.alphabet not in ALPHABET_SIZE:
            raise InputError(f"alphabet: want one of {', '.join(ALPHABET_SIZE)}, got {self.alphabet!r}")
        tokens = ALPHABET_SIZE[self.alphabet]
        if self.vocab_size < tokens:
            raise InputError(f"vocab_size: alphabet {self.alphabet!r} has {tokens} tokens, got {self.vocab_size}")

    def _check_selective(self) -> None:
        chosen = (self.selective,) if isinstance(self.selective, str) else tuple(self.selective)
        if len(set(chosen)) < len(chosen) or not set(chosen) <= set(SELECTIVE):
            raise InputError(f"selective: want some of {', '.join(SELECTIVE)}, each once, got {list(chosen)}")
        object.__setattr__(self, "selective", tuple(name for name in SELECTIVE if name in chosen))
        if self.mixer != "mamba" and self.selective != SELECTIVE:
            raise InputError(f"selective: is for mixer mamba; mixer {self.mixer} has nothing to switch off")

    @property
    def is_time_invariant(self) -> bool:
        """Whether nothing in the scan follows from the input."""
        return self.mixer == "s4d" or not self.selective

    @property
    def d_inner(self) -> int:
        """Channels of the convolution and the scan."""
        return self.expand * self.d_model

    @property
    def rank(self) -> int:
        """`dt_rank`, its default filled in."""
        return -(-self.d_model // 16) if self.dt_rank is None else self.dt_rank
