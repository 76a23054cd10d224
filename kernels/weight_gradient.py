"""The gradient of a projection's weight: a product of two tall thin matrices, summed over every position."""

from math import gcd

import torch
from torch import Tensor

_PARTS = 64  # a power of two; with two tiles of output each they fill a GPU


def weight_gradient(grad: Tensor, inputs: Tensor) -> Tensor:
    """Sum grad[m, k] inputs[m, n] over m, in float32.

    The inner axis has a million entries and the result is a few tiles large: on a GPU the sum is cut into parts that
    run side by side and are added in order, so that equal input gives equal bits.

    Args:
        grad: [M, K], any dtype the device multiplies.
        inputs: [M, N], the same dtype.

    Returns:
        [K, N] float32.
    """
    if not grad.is_cuda:
        return (grad.t() @ inputs).float()
    parts = gcd(grad.shape[0], _PARTS)
    left, right = (t.reshape(parts, -1, t.shape[1]) for t in (grad, inputs))
    products = torch.bmm(left.transpose(1, 2), right, out_dtype=torch.float32)  # bfloat16 would round each part
    return products.sum(0)
