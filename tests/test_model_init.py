"""The weights before training against the distributions of the Mamba paper's code, by moments, bounds and quantiles."""

import math

import pytest
import torch

from dnamamba.model import MambaLM, ModelConfig

CONFIG = ModelConfig(d_model=256, n_layers=4)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return dict(MambaLM(CONFIG).named_parameters())


def _of(weights, name):
    return torch.stack([weights[f"backbone.layers.{i}.mixer.{name}"].detach() for i in range(CONFIG.n_layers)])


def _is_uniform(values, low, high):
    """Kolmogorov-Smirnov distance to U(low, high) below its 1e-6 point, 2.7 / sqrt(n); nothing outside."""
    ours = values.double().flatten().sort().values
    assert low <= ours[0]
    assert ours[-1] <= high
    ranks = torch.arange(1, len(ours) + 1, dtype=torch.float64) / len(ours)
    distance = ((ours - low) / (high - low) - ranks).abs().max()
    assert distance < 2.7 / math.sqrt(len(ours))


def test_decay_is_s4d_real(weights):
    A = -_of(weights, "A_log").exp()  # [layer, D, N]
    torch.testing.assert_close(A, -torch.arange(1.0, 17.0).expand(4, 512, 16), rtol=1e-6, atol=0)


def test_skip_and_norms_are_one(weights):
    ones = [p for name, p in weights.items() if name.endswith(("mixer.D", "norm.weight", "norm_f.weight"))]
    assert len(ones) == 2 * CONFIG.n_layers + 1
    assert all((p == 1).all() for p in ones)


def test_step_size_is_log_uniform(weights):
    dt = torch.nn.functional.softplus(_of(weights, "dt_proj.bias").double())
    _is_uniform(dt.log(), math.log(1e-3) - 1e-4, math.log(1e-1) + 1e-4)


def test_channels_stand_in_the_order_of_their_steps(weights):
    for name, tensor in weights.items():
        if name.endswith("dt_proj.bias"):
            assert (tensor.diff() >= 0).all()


@pytest.mark.parametrize("dt", [1e-4, 0.1, 2.0, 30.0])
def test_softplus_gives_the_step_size_back(dt):
    model = MambaLM(ModelConfig(d_model=16, n_layers=1, dt_min=dt, dt_max=dt))
    bias = model.backbone.layers[0].mixer.dt_proj.bias.detach()
    torch.testing.assert_close(torch.nn.functional.softplus(bias), torch.full((32,), dt), rtol=1e-5, atol=0)


def test_step_size_has_a_floor():
    model = MambaLM(ModelConfig(d_model=64, n_layers=1, dt_min=1e-7, dt_max=1e-2, dt_floor=1e-4))
    dt = torch.nn.functional.softplus(model.backbone.layers[0].mixer.dt_proj.bias.detach().double())
    assert dt.min() == pytest.approx(1e-4, rel=1e-4)  # the inverse of softplus is exact where dt is small
    assert (dt > 1.5e-4).any()


@pytest.mark.parametrize(
    "name, bound",
    [
        ("dt_proj.weight", 16**-0.5),
        ("in_proj.weight", 256**-0.5),
        ("x_proj.weight", 512**-0.5),
        ("out_proj.weight", 512**-0.5 / 4**0.5),  # 1 / sqrt(n_layers)
        ("conv1d.weight", 4**-0.5),
        ("conv1d.bias", 4**-0.5),
    ],
)
def test_projections_and_convolution_are_uniform(weights, name, bound):
    _is_uniform(_of(weights, name), -bound, bound)


def test_embedding_is_normal(weights):
    embedding = weights["backbone.embedding.weight"].detach()
    uniform = torch.special.ndtr(embedding.double() / 0.02)
    _is_uniform(uniform, 0, 1)


def test_the_seed_decides():
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(MambaLM(ModelConfig(d_model=16, n_layers=1)).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["backbone.embedding.weight"], models[2]["backbone.embedding.weight"])
