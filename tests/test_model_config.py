"""ModelConfig: the published parameter counts follow from it, and a bad value is named."""

import dataclasses

import pytest
import torch

from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig

# Mamba paper, table 12 and figure 5 (left): parameters of the seven HG38 models, to the printed digits.
PUBLISHED = [
    (64, 8, "0.263M"),
    (96, 10, "0.684M"),
    (128, 12, "1.401M"),
    (192, 14, "3.527M"),
    (256, 16, "7.013M"),
    (384, 20, "19.29M"),
    (512, 24, "40.69M"),
]


@pytest.mark.parametrize("d_model, n_layers, published", PUBLISHED)
def test_published_parameter_counts(d_model, n_layers, published):
    with torch.device("meta"):
        model = MambaLM(ModelConfig(d_model=d_model, n_layers=n_layers))
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    digits = len(published.removesuffix("M").split(".")[1])
    assert f"{millions:.{digits}f}M" == published


def test_no_bias_where_none_belongs_and_no_head_of_its_own():
    names = {name for name, _ in MambaLM(ModelConfig(d_model=16, n_layers=1)).named_parameters()}
    mixer = "A_log D in_proj.weight conv1d.weight conv1d.bias x_proj.weight dt_proj.weight dt_proj.bias out_proj.weight"
    assert names == {
        "backbone.embedding.weight",
        "backbone.norm_f.weight",
        "backbone.layers.0.norm.weight",
        *(f"backbone.layers.0.mixer.{name}" for name in mixer.split()),
    }


def test_defaults_are_the_recipe():
    config = ModelConfig(d_model=100, n_layers=2)
    assert (config.d_state, config.d_conv, config.d_inner, config.rank, config.vocab_size) == (16, 4, 200, 7, 16)
    assert (config.norm_eps, config.embedding_std) == (1e-5, 0.02)
    assert (config.dt_min, config.dt_max, config.dt_floor) == (1e-3, 1e-1, 1e-4)
    assert ModelConfig(dt_rank=3).rank == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.d_model = 5


@pytest.mark.parametrize(
    "values, message",
    [
        ({"d_model": 0}, "d_model: want a whole number in 1..65536, got 0"),
        ({"d_model": 2**40}, "d_model: want a whole number"),
        ({"n_layers": 2.0}, "n_layers: want a whole number in 1..65536, got 2.0"),
        ({"n_layers": True}, "n_layers: want a whole number"),
        ({"d_state": 65}, "d_state: want a whole number in 1..64, got 65"),
        ({"d_conv": 1}, "d_conv: want a whole number in 2..8, got 1"),
        ({"dt_rank": -1}, "dt_rank: want a whole number"),
        ({"expand": None}, "expand: want a whole number"),
        ({"norm_eps": 0.0}, "norm_eps: want a positive number"),
        ({"embedding_std": float("nan")}, "embedding_std: want a positive number"),
        ({"dt_min": 0.2}, "dt_min: want no more than dt_max 0.1, got 0.2"),
        ({"alphabet": "protein"}, "alphabet: want one of dna, bytes, got 'protein'"),
        ({"alphabet": "bytes"}, "vocab_size: alphabet 'bytes' has 256 tokens, got 16"),
        ({"vocab_size": 4}, "vocab_size: alphabet 'dna' has 16 tokens, got 4"),
    ],
)
def test_a_bad_value_names_its_key(values, message):
    with pytest.raises(InputError) as error:
        ModelConfig(**values)
    assert str(error.value).startswith(message)


def test_bytes_alphabet_with_256_tokens():
    assert ModelConfig(alphabet="bytes", vocab_size=256).vocab_size == 256
