"""Published points that reports draw beside ours, marked as published. All on HG38, read off the papers' figures.

Source: arXiv 2312.00752 (Mamba), appendix E.3; HyenaDNA and Transformer++ as that paper trained them.
"""

from collections.abc import Mapping

SIZES: Mapping[str, tuple[int, int]] = {
    "0.26M": (64, 8), "0.68M": (96, 10), "1.4M": (128, 12), "3.5M": (192, 14), "7M": (256, 16), "19M": (384, 20),
    "41M": (512, 24),
}  # fmt: skip
"""The paper's sizes: d_model and blocks. The recipes are configs/hg38-SIZE.yaml."""
SIZE_PARAMETERS = (0.263e6, 0.684e6, 1.401e6, 3.527e6, 7.013e6, 19.29e6, 40.69e6)
SIZE_PERPLEXITY: Mapping[str, tuple[float, ...]] = {
    "Mamba": (3.075, 2.991, 2.925, 2.853, 2.804, 2.742, 2.706),
    "HyenaDNA": (3.112, 3.017, 2.959, 2.900, 2.851, 2.798, 2.782),
    "Transformer++": (3.157, 3.054, 2.980, 2.900, 2.846, 2.789, 2.760),
}
"""Perplexity at context 2^10 after 10,000 steps of 2^20 tokens, by the sizes above."""
SIZE_TOKENS = 10_000 * 2**20

CONTEXTS = (2**10, 2**12, 2**14, 2**16, 2**18, 2**20)
CONTEXT_PERPLEXITY: Mapping[str, tuple[float, ...]] = {
    "Mamba 1.4M": (2.895, 2.876, 2.866, 2.869, 2.863, 2.862),
    "Mamba 7M": (2.761, 2.739, 2.730, 2.729, 2.725, 2.722),
    "HyenaDNA 1.4M": (2.940, 2.934, 2.938, 2.948, 2.965, 3.007),
}
"""Perplexity of models trained at each of `CONTEXTS`, 20,000 steps of 2^24 tokens."""

MARK = "published, HG38"
"""What every label of such a point says."""
EXPLAINED = (
    "Published points are perplexities on HG38 read off the figures of arXiv 2312.00752, after 10.5 G tokens (sizes) "
    "or 335 G (contexts): other genomes and budgets than the runs here, so slopes can be compared and levels cannot."
)
