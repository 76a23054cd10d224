"""Small models for the tests, no weight of them at a special value."""

import torch

from dnamamba.model import MambaLM, ModelConfig


def random_model(seed: int = 0, dtype: torch.dtype = torch.float32, **config: int) -> MambaLM:
    """A model whose weights all lie off their start: a swapped, lost or doubled one shows, and logits are of order 1.

    At the start D and the norms are 1, A is equal in every channel and logits are near 0: much would go unseen. Larger
    weights than these would amplify float32 rounding past the tolerances.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what a start draws, dt_proj.bias among it, is kept below
        model = MambaLM(ModelConfig(**{"d_model": 24, "n_layers": 3, **config})).to(dtype)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=dtype)
            if "embedding" in name:
                weight.copy_(0.25 * noise)
            elif name.endswith(("A_log", ".D", "norm.weight", "norm_f.weight", "dt_proj.bias", "conv1d.bias")):
                weight.add_(0.3 * noise)
            else:
                weight.copy_(0.7 * noise / weight.shape[-1] ** 0.5)
    return model.eval()


def random_tokens(batch: int, length: int, seed: int = 0, vocab: int = 16) -> torch.Tensor:
    """Tokens [batch, length], uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab, (batch, length), generator=generator, dtype=torch.uint8)
