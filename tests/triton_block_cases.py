"""A script for the interpreter: the planned block by the Triton kernels in two pieces, against `Block.plain`."""

import json
from unittest import mock

import torch
from kernel_checks import relative_error
from random_models import random_model

from dnamamba.kernels import triton_scan_plan
from dnamamba.model import LayerState, block_plan, planned_block

L, D, N = 10, 16, 4
GRAIN = 8  # steps between two states, for 64: the interpreter is slow


def _gradients(call, block, leaves, reset):
    x, residual, conv, ssm = leaves
    out, stream, new = call(x, residual, LayerState(conv, ssm), reset)
    total = sum((t * torch.linspace(-1, 1, t.numel()).view(t.shape)).sum() for t in (out, stream, new.conv, new.ssm))
    wanted = [*leaves, *block.parameters()]
    once = torch.autograd.grad(total, wanted, retain_graph=True)
    again = torch.autograd.grad(total, wanted)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True)), "the second walk of the graph differs"
    return [out, *once]


def main():
    triton_scan_plan.BLOCK = block_plan.GRAIN = GRAIN
    block_plan.PIECE = GRAIN * D
    torch.manual_seed(0)
    block = random_model(d_model=8, d_state=N, n_layers=1).backbone.layers[0]
    shapes = ((1, L, 8), (1, L, 8), (1, 3, D), (1, D, N))
    leaves = [torch.randn(shape).requires_grad_() for shape in shapes]
    reset = (torch.arange(L) == GRAIN - 2)[None]
    theirs = _gradients(block.plain, block, leaves, reset)
    errors = {}
    for recompute in block_plan.RECOMPUTE:
        with mock.patch.object(planned_block, "choose", return_value="triton"):
            ours = _gradients(lambda *inputs, what=recompute: block(*inputs, what), block, leaves, reset)
        errors[recompute] = max(relative_error(a, b) for a, b in zip(ours, theirs, strict=True))
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
