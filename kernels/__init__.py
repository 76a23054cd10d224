"""Selective scan, causal convolution, norm and loss: Triton on NVIDIA GPUs, compiled engines on the CPU, plain references."""

if __name__ != "dnamamba.kernels":
    raise ImportError("import this package as dnamamba.kernels; its bare name would shadow other people's packages")
