"""The time-invariant twin of the Mamba mixer: the same block around a diagonal state space that selects nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnamamba.kernels import causal_conv1d, static_scan
from dnamamba.model.config import ModelConfig
from dnamamba.model.init import draw_convolution, draw_linear, draw_output, draw_static, draw_step_bias, fill_decay
from dnamamba.model.state import LayerState


class S4DMixer(nn.Module):
    """Mix [B, L, d_model] along L with S4D-Real: step size, A, B and C of each channel are learned and constant.

    Projections, convolution, gate, skip, states and the start of A and of the step sizes are the Mamba mixer's. B and C
    [d_inner, d_state] take the place of x_proj and dt_proj, which have 2 dt_rank * d_inner parameters more.

    Source: Gu et al., On the Parameterization and Initialization of Diagonal State Space Models (arXiv 2206.11893); in
    Mamba's block as in its table 1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d_inner, d_state, d_conv = config.d_inner, config.d_state, config.d_conv
        self.in_proj = nn.Linear(config.d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, d_conv, groups=d_inner)  # holds weight and bias; never called
        self.dt_bias = nn.Parameter(torch.empty(d_inner))
        self.A_log = nn.Parameter(torch.empty(d_inner, d_state))
        self.B = nn.Parameter(torch.empty(d_inner, d_state))
        self.C = nn.Parameter(torch.empty(d_inner, d_state))
        self.D = nn.Parameter(torch.empty(d_inner))
        self.out_proj = nn.Linear(d_inner, config.d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight anew, as `dnamamba.model.init` says."""
        draw_linear(self.in_proj.weight)
        assert self.conv1d.bias is not None
        draw_convolution(self.conv1d.weight, self.conv1d.bias)
        draw_step_bias(self.dt_bias, self.config)
        fill_decay(self.A_log)
        draw_static(self.B, self.C)
        nn.init.ones_(self.D)
        draw_output(self.out_proj.weight, self.config.n_layers)

    def forward(self, u: Tensor, state: LayerState | None, reset: Tensor | None) -> tuple[Tensor, LayerState]:
        """Mix a piece of the sequence; arguments and results as `MambaMixer.forward`."""
        to_x, to_z = self.in_proj.weight.chunk(2)
        x, z = F.linear(u, to_x), F.linear(u, to_z)  # [B, L, d_inner] each
        x, tail = causal_conv1d(
            x,
            self.conv1d.weight.squeeze(1),
            self.conv1d.bias,
            activation="silu",
            initial_tail=None if state is None else state.conv.to(x.dtype),
            reset=reset,
            return_tail=True,
        )
        y, ssm = static_scan(
            x,
            F.softplus(self.dt_bias),
            -self.A_log.exp(),
            self.B,
            self.C,
            initial_state=None if state is None else state.ssm,
            reset=reset,
            return_final_state=True,
        )
        y = (y + self.D.to(x.dtype) * x) * F.silu(z)
        return self.out_proj(y), LayerState(tail.to(ssm.dtype), ssm)
