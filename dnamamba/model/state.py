"""What a model remembers of the sequence so far: of every block, the convolution's last inputs and the scan's state."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dnamamba.model.config import ModelConfig


@dataclass(frozen=True)
class LayerState:
    """State of one block, float32 whatever the matrices are computed in (float64 in a float64 model)."""

    conv: Tensor
    """Last inputs of the convolution, oldest first, zeros before the start, [B, d_conv - 1, d_inner]."""
    ssm: Tensor
    """State of the scan, [B, d_inner, d_state]."""


@dataclass(frozen=True)
class ModelState:
    """State of a whole model after a prefix: all that the rest of the sequence can see of it.

    Its size does not depend on the prefix's length. A method returns a new state; the tensors of the old one are
    not written to, by the model neither, so that a state can be kept and forked at no cost.
    """

    layers: tuple[LayerState, ...]

    @classmethod
    def zeros(
        cls,
        config: ModelConfig,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """The state before the first token, of `batch` sequences."""
        shapes = (batch, config.d_conv - 1, config.d_inner), (batch, config.d_inner, config.d_state)
        return cls.from_tensors([torch.zeros(shape, device=device, dtype=dtype) for shape in shapes * config.n_layers])

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Self:
        """The state whose `tensors()` these are."""
        if len(tensors) % 2:
            raise ValueError(f"a state has two tensors a block, got {len(tensors)} tensors")
        return cls(tuple(LayerState(conv, ssm) for conv, ssm in zip(tensors[::2], tensors[1::2], strict=True)))

    @classmethod
    def from_dict(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The state whose `to_dict()` this is.

        Raises:
            ValueError: a name that `to_dict` does not give, or a block without one of its two tensors.
        """
        names = [f"layers.{i}.{part}" for i in range((len(tensors) + 1) // 2) for part in ("conv", "ssm")]
        if set(names) != set(tensors):
            odd = sorted(set(names) ^ set(tensors), key=lambda name: [int(x) for x in re.findall(r"\d+", name)])
            raise ValueError(f"not the tensors of a state: {odd[0]!r} is missing or does not belong")
        return cls.from_tensors([tensors[name] for name in names])

    def tensors(self) -> list[Tensor]:
        """Every tensor, block by block, convolution first: what autograd takes and gives gradients of."""
        return list(self._tensors())

    def to_dict(self) -> dict[str, Tensor]:
        """Flat, contiguous and named `layers.<i>.conv` and `layers.<i>.ssm`, as a safetensors file wants it."""
        parts = ((i, part) for i in range(len(self.layers)) for part in ("conv", "ssm"))
        tensors = zip(parts, self._tensors(), strict=True)
        return {f"layers.{i}.{part}": tensor.detach().contiguous() for (i, part), tensor in tensors}

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.layers[0].ssm.shape[0]

    def detach(self) -> Self:
        """Cut from the graph: nothing before it receives a gradient."""
        return self._map(Tensor.detach)

    def clone(self) -> Self:
        """A copy in memory of its own."""
        return self._map(Tensor.clone)

    def to(self, device: torch.device | str) -> Self:
        """On another device."""
        return self._map(lambda tensor: tensor.to(device))

    def expand(self, n: int) -> Self:
        """Fork: each sequence `n` times, its copies next to each other, [B, ...] -> [B * n, ...].

        A single sequence is not copied in memory: all its forks are views.
        """
        if self.batch == 1:
            return self._map(lambda tensor: tensor.expand(n, -1, -1))
        return self._map(lambda tensor: tensor.repeat_interleave(n, 0))

    def index(self, index: Tensor | slice | Sequence[int]) -> Self:
        """Choose, repeat or reorder sequences, as `tensor[index]` does along the batch."""
        return self._map(lambda tensor: tensor[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(tuple(LayerState(change(layer.conv), change(layer.ssm)) for layer in self.layers))

    def _tensors(self) -> Iterator[Tensor]:
        for layer in self.layers:
            yield layer.conv
            yield layer.ssm
