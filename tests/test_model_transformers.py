"""Logits of the whole model against the Mamba of transformers, an implementation that shares no code with ours."""

import pytest
import torch
from random_models import random_model, random_tokens

transformers = pytest.importorskip("transformers", reason="transformers is not installed (pip install dnamamba[test])")

RENAMED = {"backbone.embedding.": "backbone.embeddings."}


def _theirs(model):
    config = model.config
    theirs = transformers.MambaForCausalLM(
        transformers.MambaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            state_size=config.d_state,
            num_hidden_layers=config.n_layers,
            conv_kernel=config.d_conv,
            expand=config.expand,
            time_step_rank=config.rank,
            use_bias=False,
            use_conv_bias=True,
            residual_in_fp32=True,
            layer_norm_epsilon=config.norm_eps,
            tie_word_embeddings=True,
            pad_token_id=0,
        )
    )
    weights = {}
    for name, weight in model.state_dict().items():
        for ours, new in RENAMED.items():
            name = name.replace(ours, new)
        weights[name] = weight
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert set(missing) <= {"lm_head.weight"}  # tied
    assert not unexpected
    theirs.tie_weights()
    return theirs.eval()


@pytest.mark.parametrize(
    "config",
    [
        {"d_model": 16, "n_layers": 2},
        {"d_model": 40, "n_layers": 4, "d_state": 8, "dt_rank": 5},
        {"d_model": 64, "n_layers": 8},
    ],
    ids=lambda config: "-".join(f"{key}{value}" for key, value in config.items()),
)
@torch.no_grad()
def test_logits_equal_transformers(config):
    model = random_model(seed=3, **config)
    tokens = random_tokens(2, 100).long()
    ours, _ = model(tokens)
    theirs = _theirs(model)(tokens).logits
    assert theirs.std() > 0.3  # logits near 0 would be equal by themselves
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
