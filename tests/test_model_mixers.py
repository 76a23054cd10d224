"""The time-invariant twins: selection switched off part by part, and S4D; everything a model does, they do as well."""

import json

import pytest
import torch
import torch.nn.functional as F
from random_models import random_model, random_tokens

from dnamamba.errors import InputError
from dnamamba.kernels import selective_scan, static_scan
from dnamamba.memory import Portion
from dnamamba.model import MambaLM, ModelConfig, ModelState
from dnamamba.model.config import SELECTIVE
from dnamamba.model.mixers import MIXERS
from dnamamba.model.parameters import count_parameters, match_parameters
from dnamamba.model.s4d_mixer import S4DMixer
from dnamamba.model.sliced import cut_batch, sliced_step
from dnamamba.model.state import LayerState
from dnamamba.model_directory import load, save
from dnamamba.parallel.plan import check_pieces
from dnamamba.parallel.sequence_group import sharing

TWINS = {
    "nothing": {"selective": ()},
    "dt": {"selective": ("dt",)},
    "B": {"selective": ("B",)},
    "dt and C": {"selective": ("dt", "C")},
    "s4d": {"mixer": "s4d"},
}
each_twin = pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
SIZES = {"d_model": 16, "n_layers": 2}
LENGTH = 90  # more than a chunk of static_scan


def packed_batch(rows=2):
    reset = torch.zeros(rows, LENGTH, dtype=torch.bool)
    reset[0, [20, 71]] = True
    return {"tokens": random_tokens(rows, LENGTH), "targets": random_tokens(rows, LENGTH, 1).long(), "reset": reset}


def parameters(**config):
    return count_parameters(ModelConfig(**config))


def test_every_name_has_a_class():
    for name in ("mamba", "s4d"):
        assert isinstance(MambaLM(ModelConfig(**SIZES, mixer=name)).backbone.layers[0].mixer, MIXERS[name])


def test_full_selection_is_the_mamba_of_before():
    """Weights drawn and numbers computed do not change by a bit when the default is written out."""
    torch.manual_seed(0)
    plain = MambaLM(ModelConfig(**SIZES))
    torch.manual_seed(0)
    named = MambaLM(ModelConfig(**SIZES, mixer="mamba", selective=["C", "dt", "B"]))
    assert named.config == plain.config
    assert plain.state_dict().keys() == named.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), named.parameters(), strict=True))
    batch = packed_batch()
    losses = [model.loss(batch)[0] for model in (plain, named)]
    assert torch.equal(*losses)


def test_the_parts_that_are_left_out_are_constants_of_the_same_scan():
    """A fully selective mixer computes the same where its projections give those constants."""
    twin = random_model(dtype=torch.float64, **SIZES, selective=("C",)).backbone.layers[0].mixer
    whole = random_model(dtype=torch.float64, **SIZES).backbone.layers[0].mixer
    u = torch.randn(2, 70, 16, dtype=torch.float64)
    with torch.no_grad():
        shared = {key: weight for key, weight in twin.state_dict().items() if key in whole.state_dict()}
        whole.load_state_dict({key: weight for key, weight in shared.items() if key != "x_proj.weight"}, strict=False)
        whole.dt_proj.weight.zero_()
        whole.dt_proj.bias.copy_(twin.dt_bias)
        whole.x_proj.weight[-16:] = twin.x_proj.weight  # C
        inputs = whole._scan_inputs
        whole._scan_inputs = lambda x: (*inputs(x)[:2], twin.B.expand(2, 70, -1), inputs(x)[3])
        for ours, theirs in zip(twin(u, None, None), whole(u, None, None), strict=True):
            ours, theirs = (t.ssm if isinstance(t, LayerState) else t for t in (ours, theirs))
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("twin", [TWINS["nothing"], TWINS["s4d"]], ids=["nothing", "s4d"])
@torch.no_grad()
def test_without_selection_the_scan_is_shift_invariant_and_linear(twin):
    """The scan of the mixer: double input, double output; later input, later output."""
    config = ModelConfig(d_model=8, n_layers=1, **twin)
    assert config.is_time_invariant
    mixer = random_model(dtype=torch.float64, d_model=8, n_layers=1, **twin).backbone.layers[0].mixer

    def scan(x):
        if isinstance(mixer, S4DMixer):
            return static_scan(x, mixer.dt_bias.exp(), -mixer.A_log.exp(), mixer.B, mixer.C)
        dt, bias, B, C = mixer._scan_inputs(x)
        return selective_scan(x, dt, -mixer.A_log.exp(), B, C, dt_bias=bias)

    x = torch.randn(1, 70, 16, dtype=torch.float64)
    y, later = scan(x), scan(F.pad(x, (0, 0, 5, 0)))
    torch.testing.assert_close(later[:, 5:], y, rtol=0, atol=1e-12)
    torch.testing.assert_close(scan(2 * x), 2 * y, rtol=0, atol=1e-12)


@torch.no_grad()
def test_selection_is_not_linear():
    mixer = random_model(dtype=torch.float64, d_model=8, n_layers=1, selective=("B",)).backbone.layers[0].mixer
    x = torch.randn(1, 70, 16, dtype=torch.float64)
    one, two = (mixer._scan_inputs(scale * x)[2] for scale in (1, 2))
    torch.testing.assert_close(two, 2 * one)
    assert one.std(1).min() > 0


@each_twin
@torch.no_grad()
def test_any_chunking_is_the_whole(twin):
    model, batch = random_model(dtype=torch.float64, **SIZES, **twin), packed_batch()
    whole, after = model(batch["tokens"], None, batch["reset"])
    state, pieces = None, []
    for first, last in ((0, 1), (1, 3), (3, 70), (70, LENGTH)):
        piece, state = model(batch["tokens"][:, first:last], state, batch["reset"][:, first:last])
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    for ours, theirs in zip(state.tensors(), after.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    zeros = ModelState.zeros(model.config, 2, dtype=torch.float64)
    assert [t.shape for t in zeros.tensors()] == [t.shape for t in state.tensors()]


@each_twin
@torch.no_grad()
def test_packed_sequences_are_the_separate_ones(twin):
    model, batch = random_model(dtype=torch.float64, **SIZES, **twin), packed_batch()
    packed, _ = model(batch["tokens"], None, batch["reset"])
    alone, _ = model(batch["tokens"][:1, 20:71])
    torch.testing.assert_close(packed[:1, 20:71], alone, rtol=0, atol=1e-12)
    assert (model(batch["tokens"])[0] - packed)[0, 20:].abs().max() > 1e-3  # the reset does something


@each_twin
def test_slices_and_recomputation_give_the_gradients_of_the_whole(twin):
    model, batch, found = random_model(**SIZES, **twin), packed_batch(), {}
    for name, slice_length, recompute in (("whole", LENGTH, "none"), ("slices", 13, "none"), ("again", 40, "all")):
        model.zero_grad()
        model.recompute = recompute
        sliced_step(model, cut_batch(batch), LENGTH, slice_length)
        found[name] = {key: p.grad.clone() for key, p in model.named_parameters()}
    for name in ("slices", "again"):
        for key, grad in found["whole"].items():
            assert grad.norm() > 0, key
            error = (found[name][key] - grad).norm() / grad.norm()
            assert error < 1e-5, f"{name}, {key}: relative error {error:.1e}"


@each_twin
def test_state_stays_float32_under_autocast_and_training_runs(twin):
    model, batch = random_model(**SIZES, **twin), packed_batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, state = model.loss(batch)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert {t.dtype for t in state.tensors()} == {torch.float32}
    exact = model.loss(batch)[0]
    assert abs(loss.item() / exact.item() - 1) < 0.01


@each_twin
@torch.no_grad()
def test_a_model_directory_keeps_the_twin(twin, tmp_path):
    model = random_model(**SIZES, **twin)
    back = load(save(model, tmp_path / "m"))
    assert back.config == model.config
    tokens = random_tokens(1, 70)
    assert torch.equal(back(tokens)[0], model(tokens)[0])
    whole, parts = (back.log_likelihood("ACGTTGCA" * 20, chunk=chunk).total for chunk in (1000, 7))
    assert whole == pytest.approx(parts, rel=1e-5)


def test_a_directory_from_before_mixers_had_names_still_loads(tmp_path):
    model = random_model(**SIZES)
    file = save(model, tmp_path / "m") / "config.json"
    data = json.loads(file.read_text())
    del data["model"]["mixer"], data["model"]["selective"]
    file.write_text(json.dumps(data))
    assert load(tmp_path / "m").config == model.config


def test_the_twins_have_nearly_the_parameters_of_mamba():
    for size in ({"d_model": 64, "n_layers": 2}, {"d_model": 128, "n_layers": 12}):
        mamba, d_inner, rank = parameters(**size), 2 * size["d_model"], size["d_model"] // 16
        assert mamba - parameters(**size, mixer="s4d") == size["n_layers"] * 2 * rank * d_inner
        assert mamba - parameters(**size, selective=()) == size["n_layers"] * (2 * (rank + 16) * d_inner - 32)


@each_twin
def test_parameters_are_counted_and_matched_by_width(twin):
    config = ModelConfig(d_model=64, n_layers=2, **twin)
    assert count_parameters(config) == sum(p.numel() for p in MambaLM(config).parameters())
    mamba = parameters(d_model=64, n_layers=2)
    matched = match_parameters(config, mamba)
    assert matched.d_model >= 64
    assert (matched.mixer, matched.selective) == (config.mixer, config.selective)
    assert abs(count_parameters(matched) / mamba - 1) < 0.02
    assert match_parameters(matched, count_parameters(matched)) == matched
    with pytest.raises(InputError, match="want parameters for a width of 1 or more, got 5"):
        match_parameters(config, 5)


@each_twin
def test_constants_of_the_scan_are_not_decayed(twin):
    model = MambaLM(ModelConfig(**SIZES, **twin))
    names = {p: name for name, p in model.named_parameters()}
    decays, rest = ({names[p].removeprefix("backbone.layers.0.mixer.") for p in group["params"]}
                    for group in model.parameter_groups(0.1))  # fmt: skip
    assert {"in_proj.weight", "conv1d.weight", "out_proj.weight", "backbone.embedding.weight"} <= decays
    assert {"A_log", "D", "conv1d.bias"} <= rest
    assert not {"B", "C", "dt_bias", "A_log"} & decays
    assert len(decays) + len(rest) == len({n.removeprefix("backbone.layers.0.mixer.") for n in names.values()})


@pytest.mark.parametrize(
    "values, message",
    [
        ({"mixer": "hyena"}, "mixer: want one of mamba, s4d, got 'hyena'"),
        ({"selective": ("A",)}, r"selective: want some of dt, B, C, each once, got \['A'\]"),
        ({"selective": ("dt", "dt")}, "selective: want some of dt, B, C, each once"),
        ({"mixer": "s4d", "selective": ("B",)}, "selective: is for mixer mamba; mixer s4d has nothing to switch off"),
    ],
)
def test_a_bad_value_names_its_key(values, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**values)
    assert ModelConfig(selective="B").selective == ("B",)
    assert ModelConfig(selective=["C", "dt"]).selective == ("dt", "C")
    assert ModelConfig().selective == SELECTIVE


def test_context_parallel_wants_the_mamba_mixer():
    class Two:
        context = 2

    class Group:
        rank = 0

    with pytest.raises(InputError, match=r"run\.context_parallel: .* mixer s4d cannot"):
        check_pieces({64: Portion(1, 64)}, Two(), ModelConfig(mixer="s4d"))
    with (
        pytest.raises(ValueError, match="mixer s4d cannot share"),
        sharing(random_model(**SIZES, mixer="s4d"), Group()),
    ):
        pass


def test_layer_states_have_one_shape_whatever_mixes():
    for config in ({}, *TWINS.values()):
        _, state = random_model(**SIZES, **config)(random_tokens(1, 5))
        assert isinstance(state.layers[0], LayerState)
        assert state.layers[1].ssm.shape == (1, 32, 16)
