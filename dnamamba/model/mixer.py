"""The Mamba-1 mixer: two branches, one through convolution and selective scan, the other its gate."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnamamba.kernels import causal_conv1d, selective_scan
from dnamamba.kernels.relay import Relay, relayed_conv1d, relayed_scan
from dnamamba.model.config import ModelConfig
from dnamamba.model.init import (
    draw_convolution,
    draw_linear,
    draw_output,
    draw_static,
    draw_step_bias,
    draw_step_size,
    fill_decay,
)
from dnamamba.model.state import LayerState


class MixerOps(NamedTuple):
    """What a mixer runs along the sequence, where it is to do more than mix."""

    convolve: Callable[..., Any]
    """Called as `causal_conv1d` with `return_tail`."""
    scan: Callable[..., Any]
    """Called as `selective_scan` with `return_final_state`."""


class MambaMixer(nn.Module):
    """Mix [B, L, d_model] along L. Parameter names and shapes are those of mamba-ssm's `Mamba`.

    What `config.selective` leaves out is a constant: `dt_bias` [d_inner] alone for dt, `B` and `C` [d_state].

    Source: Gu and Dao, Mamba (arXiv 2312.00752), algorithm 2 and figure 3; the constants are those of its table 7.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.relay: Relay | None = None
        """Joins this piece of the sequence to pieces elsewhere (dnamamba.parallel sets it); None: this is the whole."""
        d_inner, rank, d_state, d_conv = config.d_inner, config.rank, config.d_state, config.d_conv
        self.in_proj = nn.Linear(config.d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, d_conv, groups=d_inner)  # holds weight and bias; never called
        widths = {"dt": rank, "B": d_state, "C": d_state}
        self.split = [widths[name] for name in config.selective]
        """How x_proj's output is parted, in the order of `config.selective`."""
        if self.split:
            self.x_proj = nn.Linear(d_inner, sum(self.split), bias=False)
        if "dt" in config.selective:
            self.dt_proj = nn.Linear(rank, d_inner)  # its bias goes into the scan, which adds it in float32
        else:
            self.dt_bias = nn.Parameter(torch.empty(d_inner))
        if "B" not in config.selective:
            self.B = nn.Parameter(torch.empty(d_state))
        if "C" not in config.selective:
            self.C = nn.Parameter(torch.empty(d_state))
        self.A_log = nn.Parameter(torch.empty(d_inner, d_state))
        self.D = nn.Parameter(torch.empty(d_inner))
        self.out_proj = nn.Linear(d_inner, config.d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight anew, as `dnamamba.model.init` says."""
        draw_linear(self.in_proj.weight)
        assert self.conv1d.bias is not None
        draw_convolution(self.conv1d.weight, self.conv1d.bias)
        if self.split:
            draw_linear(self.x_proj.weight)
        if "dt" in self.config.selective:
            draw_step_size(self.dt_proj.weight, self.dt_proj.bias, self.config)
        else:
            draw_step_bias(self.dt_bias, self.config)
        draw_static(getattr(self, "B", None), getattr(self, "C", None))
        fill_decay(self.A_log)
        nn.init.ones_(self.D)
        draw_output(self.out_proj.weight, self.config.n_layers)

    def forward(
        self, u: Tensor, state: LayerState | None, reset: Tensor | None, ops: MixerOps | None = None
    ) -> tuple[Tensor, LayerState]:
        """Mix a piece of the sequence.

        Args:
            u: input, [B, L, d_model], L >= 1.
            state: what came before the piece; None is the start of a sequence.
            reset: [B, L] bool, True where a new sequence starts; None where none does.
            ops: convolution and scan to run instead of the kernels' own.

        Returns:
            Output [B, L, d_model], in the dtype of the matrix work, and the state after the piece.
        """
        convolve, scan = ops or self._ops()
        # Two products, not the halves of one: its backward would first have to copy dx and dz into one buffer.
        to_x, to_z = self.in_proj.weight.chunk(2)
        x, z = F.linear(u, to_x), F.linear(u, to_z)  # [B, L, d_inner] each
        x, tail = convolve(
            x,
            self.conv1d.weight.squeeze(1),
            self.conv1d.bias,
            activation="silu",
            initial_tail=None if state is None else state.conv.to(x.dtype),
            reset=reset,
        )
        dt, dt_bias, B, C = self._scan_inputs(x)
        y, ssm = scan(
            x,
            dt,
            -self.A_log.exp(),
            B,
            C,
            D=self.D,
            z=z,
            dt_bias=dt_bias,
            initial_state=None if state is None else state.ssm,
            reset=reset,
        )
        # bfloat16 fits into float32 exactly, so a state that goes out and comes back is the same state.
        return self.out_proj(y), LayerState(tail.to(ssm.dtype), ssm)

    def _scan_inputs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dt before its bias [B, L, d_inner], the bias, B and C [B, L, d_state]; constants are views of one row."""
        names = self.config.selective
        made = dict(zip(names, self.x_proj(x).split(self.split, dim=-1), strict=True)) if names else {}
        B = made["B"] if "B" in made else self.B.expand(*x.shape[:2], -1)
        C = made["C"] if "C" in made else self.C.expand(*x.shape[:2], -1)
        if "dt" in made:
            return F.linear(made["dt"], self.dt_proj.weight), self.dt_proj.bias, B, C
        return x.new_zeros(x.shape[2]).expand(x.shape), self.dt_bias, B, C

    def _ops(self) -> MixerOps:
        if self.relay:
            return MixerOps(partial(relayed_conv1d, self.relay), partial(relayed_scan, self.relay))
        return MixerOps(partial(causal_conv1d, return_tail=True), partial(selective_scan, return_final_state=True))
