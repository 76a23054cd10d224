"""Low-rank adapters: nothing at first, trained alone, and the same numbers once they are merged."""

import torch

from dnamamba.model import MambaLM, ModelConfig
from dnamamba.species.adapters import add_adapters, merge_adapters


def test_adapters():
    torch.manual_seed(0)
    model = MambaLM(ModelConfig(d_model=16, n_layers=2))
    names = list(model.state_dict())
    tokens = torch.randint(0, 4, (2, 30), dtype=torch.uint8)
    before = model(tokens)[0].detach()
    add_adapters(model, rank=2, alpha=4.0)
    torch.testing.assert_close(model(tokens)[0], before)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sorted({name.rsplit(".", 1)[1] for name in trained}) == ["down", "up"]
    assert len(trained) == 2 * 3 * 2  # two blocks, three projections, two factors
    model(tokens)[0].square().sum().backward()
    assert all(p.grad is not None for name, p in trained.items() if name.endswith("up"))
    with torch.no_grad():
        for p in trained.values():
            p.add_(torch.randn_like(p) * 0.3)
    after = model(tokens)[0].detach()
    assert (after - before).abs().max() > 1e-3
    merge_adapters(model)
    torch.testing.assert_close(model(tokens)[0], after, rtol=1e-4, atol=1e-5)
    assert sorted(model.state_dict()) == sorted(names)
    assert all(p.requires_grad for p in model.parameters())
