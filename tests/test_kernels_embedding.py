"""The lookup of tokens against plain indexing, values and gradient. The kernel: test_kernels_ops_in_triton.py."""

import pytest
import torch

from dnamamba.kernels import embedding


@pytest.mark.parametrize("tokens_dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("rows", [16, 256, 300])
def test_matches_indexing(rows, tokens_dtype, device, poisoned_memory):
    torch.manual_seed(0)
    tokens = torch.randint(0, min(rows, 256), (2, 1100), device=device).to(tokens_dtype)
    table = torch.randn(rows, 40, device=device, requires_grad=True)
    found, wanted = embedding(tokens, table), table[tokens.long()]
    assert torch.equal(found, wanted)
    draw = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(out, table, draw)[0] for out in (found, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_wrong_input_is_one_clear_error():
    with pytest.raises(ValueError, match=r"embedding: want tokens of uint8, int32 or int64 and weight \[V, D\]"):
        embedding(torch.zeros(1, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="engine='triton' takes at most 256 rows, got 300"):
        embedding(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(300, 3), engine="triton")
