"""The planned block against `Block.plain`: the same numbers, whatever is kept and whatever is computed again."""

import weakref
from pathlib import Path

import pytest
import torch
from kernel_checks import relative_error
from random_models import random_model, random_tokens
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from triton_process import run_json

from dnamamba.kernels.weight_gradient import weight_gradient
from dnamamba.model import LayerState, ModelState, block_plan
from dnamamba.model.block_plan import RECOMPUTE
from dnamamba.model.planned_block import is_planned

# float32: sums in another order. bfloat16: every path rounds its own way to 8 bits of mantissa.
TOLERANCE = {None: 1e-5, torch.bfloat16: 2e-2}


def _inputs(B=2, L=70, *, first=False, carried=True, resets=0.05, device="cpu"):
    """A block with all weights off their start, and everything that goes into it and gets a gradient."""
    torch.manual_seed(B + L)
    model = random_model().to(device)
    d, D, N, W = 24, 48, 16, 4
    block = model.backbone.layers[1]
    reset = torch.rand(B, L, device=device) < resets if resets else None
    return block, reset, {
        "x": torch.randn(B, L, d, device=device),
        "residual": None if first else torch.randn(B, L, d, device=device),
        "conv": torch.randn(B, W - 1, D, device=device) if carried else None,
        "ssm": torch.randn(B, D, N, device=device) if carried else None,
    }  # fmt: skip


def _run(call, block, reset, inputs, autocast=None, used=("out", "stream", "conv", "ssm")):
    """Values, and gradients of a fixed random functional of the outputs in `used`."""
    leaves = {k: None if t is None else t.detach().requires_grad_() for k, t in inputs.items()}
    state = None if leaves["ssm"] is None else LayerState(leaves["conv"], leaves["ssm"])
    device = inputs["x"].device
    with torch.autocast(device.type, autocast or torch.bfloat16, enabled=autocast is not None):
        # Under autocast blocks hand on bfloat16 from the second on.
        x = leaves["x"] if leaves["residual"] is None or autocast is None else leaves["x"].to(autocast)
        out, stream, new = call(x, leaves["residual"], state, reset)
    values = {"out": out, "stream": stream, "conv": new.conv, "ssm": new.ssm}
    generator = torch.Generator().manual_seed(3)
    total = 0.0
    for name, value in values.items():
        draw = torch.randn(value.shape, generator=generator).to(device)
        total = total + (value.float() * draw).sum() if name in used else total
    wanted = {k: t for k, t in leaves.items() if t is not None} | dict(block.named_parameters())
    grads = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {k: v.detach() for k, v in values.items()} | {
        f"d{k}": g for k, g in zip(wanted, grads, strict=True) if g is not None
    }


def _assert_same(ours, theirs, tolerance):
    missing = theirs.keys() - ours.keys()
    assert not missing
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        error = relative_error(ours[name], tensor)
        assert error < tolerance, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("autocast", TOLERANCE, ids=str)
@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize(
    "case",
    [{}, {"first": True}, {"carried": False, "resets": 0}, {"L": 1}, {"L": 2}, {"B": 3, "L": 128, "resets": 0.5}],
    ids=str,
)
def test_matches_the_plain_block(case, recompute, autocast, device, poisoned_memory):
    block, reset, inputs = _inputs(**case, device=device)
    ours = _run(lambda *a: block(*a, recompute), block, reset, inputs, autocast)
    _assert_same(ours, _run(block.plain, block, reset, inputs, autocast), TOLERANCE[autocast])


@pytest.mark.parametrize("autocast", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", [{}, {"first": True}, {"carried": False, "resets": 0}, {"L": 1}], ids=str)
def test_without_gradients_the_numbers_are_the_same(case, autocast, device, poisoned_memory):
    block, reset, inputs = _inputs(**case, device=device)
    state = LayerState(inputs["conv"], inputs["ssm"]) if inputs["ssm"] is not None else None
    x = inputs["x"] if inputs["residual"] is None or autocast is None else inputs["x"].to(autocast)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), torch.autocast(device, autocast or torch.bfloat16, enabled=autocast is not None):
            assert is_planned(block, x, state)
            ours = block(x, inputs["residual"], state, reset)
            theirs = block.plain(x, inputs["residual"], state, reset)
        for a, b in zip(
            (*ours[:2], ours[2].conv, ours[2].ssm), (*theirs[:2], theirs[2].conv, theirs[2].ssm), strict=True
        ):
            assert a.dtype == b.dtype
            assert relative_error(a, b) < TOLERANCE[autocast]


@pytest.fixture
def small_pieces(monkeypatch):
    """The backward in pieces of one row and at most 64 steps."""
    monkeypatch.setattr(block_plan, "PIECE", 64 * 48)


@pytest.mark.parametrize("autocast", TOLERANCE, ids=str)
@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("case", [{"L": 150}, {"L": 130, "carried": False, "resets": 0}, {"B": 5, "L": 31}], ids=str)
def test_pieces_add_up_to_the_whole(case, recompute, autocast, device, small_pieces, poisoned_memory):
    block, reset, inputs = _inputs(**case, device=device)
    ours = _run(lambda *a: block(*a, recompute), block, reset, inputs, autocast)
    _assert_same(ours, _run(block.plain, block, reset, inputs, autocast), TOLERANCE[autocast])


@pytest.mark.parametrize("at", [61, 62, 63, 64, 65, 128, 129])
def test_resets_around_the_border_of_two_pieces(at, device, small_pieces):
    block, _, inputs = _inputs(B=1, L=130, device=device)
    reset = (torch.arange(130, device=device) == at)[None]
    ours = _run(lambda *a: block(*a, "cheap"), block, reset, inputs)
    _assert_same(ours, _run(block.plain, block, reset, inputs), 1e-5)


def test_triton_kernels_run_the_plan():
    pytest.importorskip("triton", reason="Triton is not installed: it exists for Linux only")
    errors = run_json(Path(__file__).parent / "triton_block_cases.py", interpret=True)
    assert set(errors) == set(RECOMPUTE)
    assert max(errors.values()) < 1e-5, errors


def test_pieces_are_few_and_whole():
    D = 256
    assert block_plan.split_length(2**20, D) == [slice(i * 2**18, (i + 1) * 2**18) for i in range(4)]
    assert block_plan.split_batch(1, 2**20, D) == [slice(0, 1)]
    assert block_plan.split_batch(10, 2**16, D) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert block_plan.split_length(1, D) == [slice(0, 1)]
    spans = block_plan.split_length(2**18 + 1, D)
    assert [span.start % 64 for span in spans] == [0, 0]
    assert spans[-1].stop == 2**18 + 1


@pytest.mark.parametrize("used", [("out",), ("stream",), ("ssm",), ("conv",), ("conv", "stream")], ids=str)
def test_any_output_may_go_unused(used, device):
    block, reset, inputs = _inputs(device=device)
    ours = _run(lambda *a: block(*a, "cheap"), block, reset, inputs, used=used)
    theirs = _run(block.plain, block, reset, inputs, used=used)
    some = {name: tensor for name, tensor in theirs.items() if tensor.any()}
    for name in ours.keys() - some.keys():  # zero, or one that autograd does not make at all
        assert not ours[name].any(), name
    assert some
    _assert_same(ours, some, 1e-5)


def test_modes_give_the_same_bits(device):
    block, reset, inputs = _inputs(device=device)
    runs = [_run(lambda *a, r=r: block(*a, r), block, reset, inputs, torch.bfloat16) for r in (*RECOMPUTE, "cheap")]
    for run in runs[1:]:
        assert all(torch.equal(run[name], tensor) for name, tensor in runs[0].items())


def _kept_bytes(model, recompute, B=1, L=256):
    """Bytes that the blocks' functions save, without weights."""
    model.recompute = recompute
    kept = {}

    def pack(t):
        if t.shape[:2] == (B, L):
            kept[t.data_ptr()] = t.untyped_storage().nbytes()
        elif t.shape[0] == B and t.ndim > 3:  # borders
            kept[t.data_ptr()] = t.nbytes
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        model.loss({"tokens": random_tokens(B, L), "targets": torch.zeros(B, L, dtype=torch.long)})
    return sum(kept.values()) / L


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that ops have made and nobody has let go of."""

    def __init__(self):
        super().__init__()
        self.seen, self.now, self.peak = set(), 0, 0

    def _gone(self, key, size):
        self.seen.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in self.seen:
                self.seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return results


def test_the_backward_holds_little_more_than_a_piece(monkeypatch):
    d, D, L = 32, 64, 2048
    model = random_model(d_model=d, n_layers=2)
    model.recompute = "cheap"

    def held(pieces):
        """Bytes a token at the peak of the backward, beside what was there before it."""
        monkeypatch.setattr(block_plan, "PIECE", L * D // pieces)
        with _LiveBytes() as live:
            with torch.autocast("cpu", torch.bfloat16):
                loss, _ = _loss(model, random_tokens(1, L))
            before = live.peak = live.now
            loss.backward()
        model.zero_grad()
        return (live.peak - before) / L

    outside = 12 * d  # gradients of output and stream, in and out
    assert held(8) < 1.1 * (outside + (held(1) - outside) / 8)


def test_what_a_block_keeps_is_what_the_plan_says():
    small, large = random_model(d_model=32, n_layers=1), random_model(d_model=32, n_layers=4)
    d, D, low, borders = 32, 64, 2 + 32, 4 * 16 * 64 / 64
    stream = 4 * d
    said = {
        "all": stream,
        "cheap": stream + 2 * D + borders + 2 * low,  # on a GPU without y, 2 D: its scan's backward makes it again
        "none": stream + 2 * D + borders + 2 * d + 2 * (2 * D + D + low + D),
    }
    for recompute, wanted in said.items():
        kept = (_kept_bytes(large, recompute) - _kept_bytes(small, recompute)) / 3
        assert kept == pytest.approx(wanted, rel=0.02), recompute


def _loss(model, tokens, state=None):
    loss, count, new = model.loss({"tokens": tokens, "targets": tokens.long()}, state)
    return loss / count, new


def test_the_model_trains_as_by_plain_blocks():
    model, tokens = random_model(), random_tokens(2, 50)
    state = ModelState.from_tensors([torch.randn_like(t) for t in ModelState.zeros(model.config, 2).tensors()])

    def gradients():
        loss, new = _loss(model, tokens, state)
        loss = loss + sum(t.square().mean() for t in new.tensors())
        return torch.autograd.grad(loss, list(model.parameters()))

    ours = gradients()
    for layer in model.backbone.layers:
        layer.forward = lambda *a, layer=layer: layer.plain(*a[:4])
    for name, a, b in zip(dict(model.named_parameters()), ours, gradients(), strict=True):
        assert relative_error(a, b) < 1e-5, name


def test_used_twice_the_gradients_add_up():
    model, tokens = random_model(), random_tokens(1, 40)
    model.recompute = "cheap"
    weights = list(model.parameters())
    whole = torch.autograd.grad(_loss(model, tokens)[0], weights)
    first, state = _loss(model, tokens[:, :17])
    second, _ = _loss(model, tokens[:, 17:], state)
    halves = torch.autograd.grad((17 * first + 23 * second) / 40, weights)
    for a, b in zip(whole, halves, strict=True):
        assert relative_error(b, a) < 1e-5


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_a_graph_that_is_kept_can_be_walked_twice(recompute):
    model, tokens = random_model(), random_tokens(1, 40)
    model.recompute = recompute
    loss, _ = _loss(model, tokens)
    weights = list(model.parameters())
    once = torch.autograd.grad(loss, weights, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(once, torch.autograd.grad(loss, weights), strict=True))


def test_works_inside_activation_checkpointing_and_autocast():
    block, reset, inputs = _inputs()
    plain = _run(lambda *a: block(*a, "cheap"), block, reset, inputs, torch.bfloat16)
    nested = _run(lambda *a: checkpoint(block, *a, "cheap", use_reentrant=False), block, reset, inputs, torch.bfloat16)
    assert all(torch.equal(nested[name], tensor) for name, tensor in plain.items())


def test_a_compiled_caller_gets_the_same_numbers():
    model, tokens = random_model(n_layers=1), random_tokens(1, 20)
    model.recompute = "cheap"
    weights = list(model.parameters())
    compiled = torch.compile(
        lambda tokens: model.loss({"tokens": tokens, "targets": tokens.long()})[0], backend="eager"
    )
    ours = torch.autograd.grad(compiled(tokens), weights)
    theirs = torch.autograd.grad(model.loss({"tokens": tokens, "targets": tokens.long()})[0], weights)
    assert all(relative_error(a, b) < 1e-5 for a, b in zip(ours, theirs, strict=True))


def test_frozen_weights_get_no_gradient_and_do_not_change_the_others():
    block, reset, inputs = _inputs()
    x = inputs["x"].requires_grad_()
    out, *_ = block(x, None, None, reset, "cheap")
    whole = torch.autograd.grad(out.sum(), [x, block.mixer.D])
    for parameter in block.parameters():
        parameter.requires_grad_(parameter is block.mixer.D)
    out, *_ = block(x, None, None, reset, "cheap")
    part = torch.autograd.grad(out.sum(), [x, block.mixer.D])
    assert all(torch.equal(a, b) for a, b in zip(whole, part, strict=True))


def test_what_the_plan_does_not_cover_runs_plain():
    block, reset, inputs = _inputs()
    x, residual = inputs["x"], inputs["residual"]
    state = LayerState(inputs["conv"], inputs["ssm"])
    assert is_planned(block, x, state)
    assert not is_planned(block, x.to("meta"), None)
    seen = []
    handle = block.mixer.x_proj.register_forward_hook(lambda *_: seen.append(1))
    block(x, residual, state, reset, "cheap")
    assert seen
    handle.remove()
    assert is_planned(block, x, state)

    class Adapter(torch.nn.Linear):
        def forward(self, u):
            return super().forward(u) + 1

    block.mixer.out_proj = Adapter(48, 24, bias=False)
    out, *_ = block(x, residual, state, reset, "all")
    assert torch.equal(out, block.plain(x, residual, state, reset)[0])
    double = random_model(dtype=torch.float64)
    assert not is_planned(double.backbone.layers[0], x.double(), None)


def test_recompute_names_its_choices():
    model = random_model()
    for given, kept in {False: "none", True: "all", "cheap": "cheap"}.items():
        model.recompute = given
        assert model.recompute == kept
    with pytest.raises(ValueError, match="recompute: want one of none, cheap, all, got 'some'"):
        model.recompute = "some"


@pytest.mark.parametrize("rows", [1, 3, 64, 320])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weight_gradient_is_the_sum_of_outer_products(rows, dtype, device):
    torch.manual_seed(0)
    grad = torch.randn(rows, 24, device=device).to(dtype)[:, :16]  # strided, as slices of a wider buffer are
    inputs = torch.randn(rows, 40, device=device).to(dtype)
    found = weight_gradient(grad, inputs)
    assert found.dtype == torch.float32
    assert relative_error(found, grad.double().T @ inputs.double()) < (1e-5 if dtype == torch.float32 else 1e-2)
