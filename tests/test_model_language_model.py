"""MambaLM: the loss is that of its logits, gradients are those of finite differences, recomputation changes nothing."""

import pytest
import torch
import torch.nn.functional as F
from random_models import random_model, random_tokens
from torch.func import functional_call

from dnamamba.model import MambaLM, ModelConfig, ModelState


def _batch(batch=2, length=30):
    targets = random_tokens(batch, length, seed=1, vocab=4).long()
    targets[:, ::7] = -100
    reset = torch.zeros(batch, length, dtype=torch.bool)
    reset[-1, [4, 20]] = True
    return {"tokens": random_tokens(batch, length), "targets": targets, "reset": reset}


def _gradients(model, batch, state=None):
    model.zero_grad()
    loss, _, after = model.loss(batch, state)
    (loss + sum(tensor.square().sum() for tensor in after.tensors())).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("letters", [None, 4])
@torch.no_grad()
def test_loss_is_the_cross_entropy_of_the_logits(letters):
    model, batch = random_model(), _batch()
    loss, count, state = model.loss(batch, letters=letters)
    logits, after = model(batch["tokens"], None, batch["reset"])
    wanted = F.cross_entropy(logits[..., :letters].double().flatten(0, 1), batch["targets"].flatten(), reduction="sum")
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert int(count) == int((batch["targets"] != -100).sum()) == 50
    assert all(torch.equal(a, b) for a, b in zip(state.tensors(), after.tensors(), strict=True))


@torch.no_grad()
def test_the_model_is_causal():
    model, tokens = random_model(), random_tokens(1, 20)
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 16
    before, after = model(tokens)[0], model(changed)[0]
    assert torch.equal(before[:, :10], after[:, :10])
    assert (before[:, 10:] - after[:, 10:]).abs().amax(-1).min() > 1e-4  # and every later position sees it


def test_gradients_are_those_of_finite_differences():
    model = random_model(dtype=torch.float64, d_model=4, n_layers=2, d_state=3)
    names = [name for name, _ in model.named_parameters()]
    torch.manual_seed(0)
    carried = [torch.randn_like(t) for t in ModelState.zeros(model.config, 2, dtype=torch.float64).tensors()]
    batch = {"tokens": random_tokens(2, 7), "targets": random_tokens(2, 7, seed=1).long()}
    batch["reset"] = torch.zeros(2, 7, dtype=torch.bool)
    batch["reset"][0, 3] = True

    class Loss(torch.nn.Module):  # functional_call replaces the weights of a module's forward
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *state):
            loss, _, after = self.model.loss(batch, ModelState.from_tensors(state))
            return (loss, *after.tensors())

    def outputs(*inputs):
        weights = {f"model.{name}": weight for name, weight in zip(names, inputs[: len(names)], strict=True)}
        return functional_call(Loss(), weights, inputs[len(names) :])

    inputs = [p.detach().clone().requires_grad_() for p in model.parameters()]
    inputs += [tensor.requires_grad_() for tensor in carried]
    assert torch.autograd.gradcheck(outputs, inputs, fast_mode=True)


def test_recomputation_gives_the_same_bits_from_less_memory():
    model, batch = random_model(), _batch()
    torch.manual_seed(0)
    state = ModelState.from_tensors([torch.randn_like(t) for t in ModelState.zeros(model.config, 2).tensors()])
    saved = []

    def total():
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
            model.loss(batch, state)
        return sum(saved)

    plain, plain_size = _gradients(model, batch, state), total()
    model.recompute = True
    lean, lean_size = _gradients(model, batch, state), total()
    assert all(torch.equal(plain[name], lean[name]) for name in plain)
    assert lean_size < plain_size / 2
    assert all(torch.equal(lean[name], again) for name, again in _gradients(model, batch, state).items())


def test_bfloat16_matrix_work_stays_near_float32():
    model, batch = random_model(), _batch()
    exact = _gradients(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = model(batch["tokens"])
        rough = _gradients(model, batch)
    assert logits.dtype == torch.float32
    for name, gradient in rough.items():
        assert gradient.dtype == torch.float32
        error = (gradient - exact[name]).norm() / exact[name].norm()
        assert error < 0.05, f"{name}: relative error {error:.1e}"  # 8 bits of mantissa through 3 blocks


def test_what_decays_and_what_does_not():
    model = MambaLM(ModelConfig(d_model=16, n_layers=2))
    groups = model.parameter_groups(0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    name_of = {p: name.removeprefix("backbone.") for name, p in model.named_parameters()}
    decays, rest = ({name_of[p] for p in group["params"]} for group in groups)
    assert len(decays) + len(rest) == len(name_of)
    per_block = {"in_proj.weight", "conv1d.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight"}
    assert decays == {"embedding.weight"} | {f"layers.{i}.mixer.{name}" for i in range(2) for name in per_block}


@pytest.mark.parametrize(
    "tokens, reset, batch, message",
    [
        (torch.zeros(5, dtype=torch.long), None, None, r"tokens: want \[B, L\]"),
        (torch.zeros(1, 0, dtype=torch.long), None, None, "L >= 1"),
        (torch.zeros(1, 5), None, None, "torch.float32"),
        (torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 4, dtype=torch.bool), None, r"reset: want \(2, 5\)"),
        (torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 5), None, "reset: want .* bool"),
        (torch.zeros(2, 5, dtype=torch.long), None, 3, "state: want 3 blocks and a batch of 2, got 3 and 3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tokens, reset, batch, message):
    model = random_model()
    state = None if batch is None else ModelState.zeros(model.config, batch)
    with pytest.raises(ValueError, match=message):
        model(tokens, state, reset)
