"""RMSNorm fused with the residual addition; the residual stream stays in float32."""

from torch import Tensor

from dnamamba.kernels import reference
from dnamamba.kernels.engines import check_floats, check_shape, choose


def rms_norm(
    x: Tensor, weight: Tensor, *, residual: Tensor | None = None, eps: float = 1e-5, engine: str | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """Normalise the last axis by its root mean square: y = r / sqrt(mean(r^2) + eps) * weight, r = residual + x.

    Args:
        x: [..., D]; float32, bfloat16, float16, or float64 (reference only).
        weight: [D].
        residual: the residual stream so far, the shape of x, float32.
        eps: added to the mean square.
        engine: "triton", "cpu", "reference", or None: by device.

    Returns:
        y in the dtype of x when `residual` is None; else the pair of y and the new residual stream r in float32.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (arXiv 1910.07467).
    """
    op = "rms_norm"
    if x.ndim < 1 or x.numel() == 0:
        raise ValueError(f"{op}: x must be [..., D] and not empty, got {list(x.shape)}")
    check_shape(op, "weight", weight, (x.shape[-1],), "[D]")
    check_shape(op, "residual", residual, tuple(x.shape), "the shape of x")
    check_floats(op, x=x, weight=weight, residual=residual)
    choose(op, engine, x, weight, residual)
    y, total = reference.rms_norm(x, weight, residual=residual, eps=eps)
    return y if residual is None else (y, total)
