"""The Triton kernels around the scan on a GPU: values, gradients, the same bits twice, sizes past int32, memory."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from kernel_checks import FORWARD, GRADIENT
from triton_ops_cases import cases, errors

from dnamamba.kernels import causal_conv1d, linear_cross_entropy, rms_norm

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the Triton kernels run on a GPU only"),
]


def test_every_case_matches_reference():
    wrong = []
    for case, dtype in cases(large=True):
        for name, error in errors(case, "cuda").items():
            limit = (FORWARD if name.startswith("out") else GRADIENT)[dtype]
            if not error < limit:
                wrong.append(f"{case[0]}: {name} has relative error {error:.1e}, at most {limit:.0e}")
    assert not wrong, "\n".join(wrong)


def test_offsets_past_int32():
    """2^31 elements and more: the last rows are as right as the first."""
    length, channels = 2**22, 520
    x = torch.zeros(1, length, channels, device="cuda", dtype=torch.bfloat16)
    x[0, -1] = 1.0
    weight = torch.ones(channels, 4, device="cuda")
    y = causal_conv1d(x, weight, activation=None)
    assert (y[0, -1] == 1).all()
    assert (y[0, : 2**20] == 0).all()
    del y
    normed = rms_norm(x, weight[:, 0])
    assert torch.allclose(normed[0, -1].float(), torch.ones(channels, device="cuda"), atol=1e-2)


def test_loss_holds_no_logits():
    hidden = torch.randn(1, 2**20, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(256, 64, device="cuda", requires_grad=True)
    targets = torch.randint(0, 256, (1, 2**20), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    linear_cross_entropy(hidden, weight, targets)[0].backward()
    extra = torch.cuda.max_memory_allocated() - before - hidden.numel() * 2
    assert extra < 2**28, f"{extra / 2**20:.0f} MiB beside the gradient: the float32 logits alone are 1,024"
