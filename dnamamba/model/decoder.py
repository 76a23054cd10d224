"""Token after token from a state: what generation waits for. One fused step a block, on a GPU in one CUDA graph.

A step by `MambaLM` itself says the same and is what this must equal; it launches a scan over a sequence of length 1.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.errors import InputError
from dnamamba.kernels import causal_conv1d_step, rms_norm, selective_step
from dnamamba.model.block import Block
from dnamamba.model.config import SELECTIVE
from dnamamba.model.language_model import MambaLM
from dnamamba.model.mixer import MambaMixer
from dnamamba.model.state import LayerState, ModelState


class _Layer(NamedTuple):
    """A block's weights as a step reads them: matrices in the dtype of the products, the rest in its own."""

    norm: Tensor
    in_proj: Tensor
    conv: Tensor  # [D, W]
    conv_bias: Tensor
    x_proj: Tensor
    dt_proj: Tensor
    dt_bias: Tensor
    A: Tensor  # [D, N]
    D: Tensor
    out_proj: Tensor

    @classmethod
    def of(cls, block: Block, dtype: torch.dtype) -> "_Layer":
        mixer = block.mixer
        assert isinstance(mixer, MambaMixer)
        assert mixer.conv1d.bias is not None
        in_proj, x_proj, dt_proj, out_proj = (
            linear.weight.to(dtype) for linear in (mixer.in_proj, mixer.x_proj, mixer.dt_proj, mixer.out_proj)
        )
        return cls(
            block.norm.weight, in_proj, mixer.conv1d.weight.squeeze(1), mixer.conv1d.bias, x_proj, dt_proj,
            mixer.dt_proj.bias, -mixer.A_log.exp(), mixer.D, out_proj,
        )  # fmt: skip


class Decoder:
    """Feeds a model one token a sequence at a time, from a state of its own.

    >>> _, state = model(prompt)
    >>> decoder = Decoder(model, state.expand(64))
    >>> logits = decoder.step(tokens)                 # [64] -> [64, V]

    The weights are read once, here: a decoder does not see later training.
    """

    @torch.no_grad()
    def __init__(self, model: MambaLM, state: ModelState, *, dtype: torch.dtype | None = None) -> None:
        """Take up `state`, which is copied.

        Args:
            model: on any device; on a GPU a step is recorded as a CUDA graph and replayed.
            state: what came before, of as many sequences as are decoded.
            dtype: of the matrix products; None is the model's own.

        Raises:
            InputError: a model with another mixer, or one that does not select all of dt, B and C.
        """
        if model.config.mixer != "mamba" or model.config.selective != SELECTIVE:
            raise InputError(
                "a Decoder steps through the mixer mamba with dt, B and C selected; call this model itself"
            )
        self.config = model.config
        weight = model.backbone.embedding.weight
        self._dtype = weight.dtype if dtype is None else dtype
        self._embedding, self._norm = weight.detach(), model.backbone.norm_f.weight.detach()
        self._layers = [_Layer.of(layer, self._dtype) for layer in cast(Iterable[Block], model.backbone.layers)]
        self._eps = model.backbone.norm_f.eps
        copies = [t.detach().clone(memory_format=torch.contiguous_format) for t in state.tensors()]
        self._state = ModelState.from_tensors(copies)  # every step writes into it
        self._tokens = torch.zeros(state.batch, dtype=torch.int64, device=weight.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        if weight.device.type == "cuda":
            self._record()

    @torch.no_grad()
    def restart(self, state: ModelState) -> None:
        """Take up another state of as many sequences; it is copied. A CUDA graph stays as it is.

        Raises:
            ValueError: another number of sequences.
        """
        if state.batch != self._state.batch:
            raise ValueError(f"state: want {self._state.batch} sequences, got {state.batch}")
        for now, new in zip(self._state.tensors(), state.tensors(), strict=True):
            now.copy_(new)

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Logits of the token after `tokens` [B], float32 [B, vocab_size]. On a GPU the next step overwrites them.

        Raises:
            ValueError: not one token a sequence.
        """
        if tokens.shape != self._tokens.shape:
            raise ValueError(f"tokens: want one a sequence, {list(self._tokens.shape)}, got {list(tokens.shape)}")
        self._tokens.copy_(tokens)
        if self._graph is None:
            return self._compute()
        self._graph.replay()
        return self._logits

    @property
    def state(self) -> ModelState:
        """After all tokens so far, in memory of its own."""
        return self._state.clone()

    def _compute(self) -> Tensor:
        x, residual = F.embedding(self._tokens, self._embedding), None
        for layer, state in zip(self._layers, self._state.layers, strict=True):
            normed, residual = self._add_and_norm(x, residual, layer.norm)
            x = self._mix(normed.to(self._dtype), layer, state)
        features, _ = self._add_and_norm(x, residual, self._norm)
        return F.linear(features.to(self._embedding.dtype), self._embedding)  # as in MambaLM: logits in full precision

    def _add_and_norm(self, x: Tensor, residual: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
        found = rms_norm(x, weight, residual=residual, eps=self._eps)
        return (found, x) if isinstance(found, Tensor) else found

    def _mix(self, u: Tensor, layer: _Layer, state: LayerState) -> Tensor:
        """The mixer on [B, d_model]; writes the new state into the old one."""
        config = self.config
        x, z = F.linear(u, layer.in_proj).chunk(2, dim=-1)  # [B, d_inner] each
        x, _ = causal_conv1d_step(x, state.conv, layer.conv, layer.conv_bias, into=state.conv)
        dt, B, C = torch.split(F.linear(x, layer.x_proj), [config.rank, config.d_state, config.d_state], -1)
        y, _ = selective_step(
            x, F.linear(dt, layer.dt_proj), layer.A, B, C, state.ssm, D=layer.D, z=z, dt_bias=layer.dt_bias,
            into=state.ssm,
        )  # fmt: skip
        return F.linear(y, layer.out_proj)

    def _record(self) -> None:
        """Record a step as a CUDA graph. The steps before it compile the kernels; the state is put back after them."""
        kept = self._state.clone()
        stream = torch.cuda.Stream(self._tokens.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._tokens.device))
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._compute()
        torch.cuda.current_stream(self._tokens.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits = self._compute()
        for now, before in zip(self._state.tensors(), kept.tensors(), strict=True):
            now.copy_(before)
        self._graph = graph
