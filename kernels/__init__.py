"""Selective scan, convolution, norm and loss: Triton on NVIDIA GPUs, compiled on the CPU, plain references."""

if __name__ != "dnamamba.kernels":
    raise ImportError("import this package as dnamamba.kernels; its bare name would shadow other people's packages")

from dnamamba.kernels.causal_conv import causal_conv1d
from dnamamba.kernels.cross_entropy import linear_cross_entropy
from dnamamba.kernels.embedding import embedding
from dnamamba.kernels.rms_norm import rms_norm
from dnamamba.kernels.selective_scan import selective_scan
from dnamamba.kernels.static_scan import static_scan
from dnamamba.kernels.step import causal_conv1d_step, selective_step

__all__ = [
    "causal_conv1d",
    "causal_conv1d_step",
    "embedding",
    "linear_cross_entropy",
    "rms_norm",
    "selective_scan",
    "selective_step",
    "static_scan",
]
