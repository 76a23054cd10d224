"""The Triton scan on a GPU at real sizes: values, gradients, length 2^20, determinism, memory, offsets past 2^31."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from triton_scan_cases import NAMES, POISON, SPLIT, Case, error, errors, poison, run_triton, split_equals_whole

from dnamamba.kernels import triton_scan

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")]
# RMS error over RMS of the reference, as in tests/test_kernels_triton_scan.py.
LIMITS = {torch.float32: (1e-5, 1e-4), torch.float16: (1e-3, 1e-3), torch.bfloat16: (1e-2, 1e-2)}
CASES = {
    "bfloat16, strided, chunks": Case(B=2, L=256, D=96, T=64, dtype=torch.bfloat16, strided=True),
    "odd, resets": Case(B=2, L=203, D=70, T=64, reset=True),
    "float16, 33 states": Case(L=130, D=20, N=33, T=64, dtype=torch.float16, reset=True),
    "64 states": Case(L=65, D=9, N=64),
    "1 state, no softplus": Case(L=70, D=33, N=1, T=64, softplus=False, start=False),
    "tiny steps": Case(L=128, D=32, T=64, dt_raw=-13.8),
    "steps of 100": Case(L=128, D=32, T=64, dt_raw=100.0),
}


@pytest.mark.parametrize("name", CASES)
def test_matches_float64(name: str) -> None:
    forward, gradient = LIMITS[CASES[name].dtype]
    for output, value in errors(CASES[name], "cuda").items():
        assert value < (forward if output in ("y", "final_state") else gradient), f"{output}: {value:.1e}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_poison_stays_where_it_is(value: float) -> None:
    case = Case(**{**vars(POISON), "L": 256, "T": 64})
    assert all(poison(case, "cuda", value).values())


def test_split_equals_whole() -> None:
    for output, value in split_equals_whole(Case(**{**vars(SPLIT), "L": 200, "T": 64}), "cuda", 77).items():
        assert value < 1e-5, f"{output}: {value:.1e}"


def walk(
    A: torch.Tensor, step: torch.Tensor, added: torch.Tensor, start: torch.Tensor, size: int = 1024
) -> torch.Tensor:
    """Every h[t] = exp(A step[t]) h[t-1] + added[t] in float64 [L, D, N]: exact steps, many pieces side by side."""
    L, D = step.shape
    pieces = L // size
    step, added = step.view(pieces, size, D), added.view(pieces, size, D, -1)
    h = torch.empty_like(added)
    local = torch.zeros_like(added[:, 0])
    for t in range(size):
        local = torch.exp(step[:, t, :, None] * A) * local + added[:, t]
        h[:, t] = local
    since = step.cumsum(1)
    carried = start
    for piece in range(pieces):
        h[piece] += torch.exp(since[piece, :, :, None] * A) * carried
        carried = h[piece, -1]
    return h.view(L, D, -1)


def test_a_million_steps_against_float64() -> None:
    L, D, N = 2**20, 32, 4
    case = Case(L=L, D=D, N=N, fastest=2.0)
    t = {k: v if v is None else v.cuda() for k, v in case.inputs("cpu").items()}
    t["dt_bias"] = torch.logspace(-3, -1, D).expm1().log().cuda()  # steps of 1e-3 to 1e-1, as Mamba starts
    dy = torch.randn(1, L, D, generator=torch.Generator().manual_seed(1)).cuda()
    y, final, grads = run_triton(case, t, dy, None)
    x, dt, B, C, z = (t[k][0].double() for k in ("x", "dt", "B", "C", "z"))
    A, start = t["A"].double(), t["initial_state"][0].double()
    raw = dt + t["dt_bias"].double()
    step = torch.nn.functional.softplus(raw)
    h = walk(A, step, (step * x)[:, :, None] * B[:, None], start)
    inner = (h * C[:, None]).sum(-1) + t["D"].double() * x
    silu = torch.nn.functional.silu(z)
    assert error(y[0], inner * silu) < 1e-5
    assert error(final[0], h[-1]) < 1e-5

    # The adjoint is the same walk from the other end: gamma[t] = exp(A step[t]) (C dy[t] + gamma[t + 1]).
    gated = dy[0].double() * silu
    source = gated[:, :, None] * C[:, None]
    later = torch.cat([step.flip(0).new_zeros(1, D), step.flip(0)[:-1]])
    g = walk(A, later, source.flip(0), torch.zeros_like(start)).flip(0)
    before = torch.cat([start[None], h[:-1]])
    remembered = g * torch.exp(step[:, :, None] * A) * before
    gB = (g * B[:, None]).sum(-1)
    ddt = (gB * x + (remembered * A).sum(-1)) * raw.sigmoid()
    expected = {
        "x": t["D"].double() * gated + step * gB,
        "dt": ddt,
        "dt_bias": ddt.sum(0),
        "A": (remembered * step[:, :, None]).sum(0),
        "B": (g * (step * x)[:, :, None]).sum(1),
        "C": (h * gated[:, :, None]).sum(1),
        "D": (gated * x).sum(0),
    }
    for name, value in expected.items():
        ours = grads[name]
        assert error(ours[0] if ours.ndim == 3 else ours, value) < 1e-4, name


@pytest.mark.parametrize("shape", [(1, 2**18, 64), (64, 512, 96)], ids=["chunks", "one walk"])
def test_two_runs_give_the_same_bits(shape: tuple[int, int, int]) -> None:
    B, L, D = shape
    case = Case(B=B, L=L, D=D, dtype=torch.bfloat16)
    t = case.inputs("cuda")
    dy = torch.randn(B, L, D, device="cuda", dtype=torch.bfloat16)
    (y1, f1, g1), (y2, f2, g2) = (run_triton(case, t, dy, None) for _ in range(2))
    assert torch.equal(y1, y2)
    assert torch.equal(f1, f2)
    assert all(torch.equal(g1[n], g2[n]) for n in NAMES)


@pytest.mark.parametrize("D", [128, 256, 512])
def test_extra_memory_is_at_most_a_quarter(D: int) -> None:
    L, N = 2**20, 16
    x, dt, z, dy = (torch.randn(1, L, D, device="cuda", dtype=torch.bfloat16) for _ in range(4))
    B, C = (torch.randn(1, L, N, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    A = -torch.arange(1.0, N + 1, device="cuda").repeat(D, 1)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    y, final, borders = triton_scan.scan_forward(x, dt, A, B, C, None, z, None, None, None, True)
    grads = triton_scan.scan_backward(dy, None, x, dt, A, B, C, None, z, None, None, None, borders, True)
    held = sum(t.numel() * t.element_size() for t in (y, final, *grads) if t is not None)
    extra = torch.cuda.max_memory_allocated() - before - held
    assert extra <= x.numel() * x.element_size(), f"{extra / 2**20:.0f} MiB"


def test_offsets_past_2_to_the_31() -> None:
    L, D, N = 2**21, 1056, 1  # 2.2e9 elements; the last chunk must equal the same rows scanned alone
    if torch.cuda.get_device_properties(0).total_memory < 100 * 2**30:
        pytest.skip("needs 100 GB of GPU memory")
    x, dt, dy = (torch.randn(1, L, D, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    B, C = (torch.randn(1, L, N, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    A = -torch.ones(D, N, device="cuda") * 8
    y, final, borders = triton_scan.scan_forward(x, dt, A, B, C, None, None, None, None, None, True)
    grads = triton_scan.scan_backward(dy, None, x, dt, A, B, C, None, None, None, None, None, borders, True)
    tail = slice(L - 4096, L)
    ins = [x[:, tail], dt[:, tail], A, B[:, tail], C[:, tail], None, None, None, None, None]
    y2, final2, borders2 = triton_scan.scan_forward(*ins, True)
    grads2 = triton_scan.scan_backward(dy[:, tail], None, *ins, borders2, True)
    last = slice(-2048, None)  # the state before the tail is forgotten by then
    assert error(y[:, last].float(), y2[:, last].double()) < 1e-2
    assert error(final, final2.double()) < 1e-4
    for i in (0, 1, 3, 4):
        assert error(grads[i][:, last].float(), grads2[i][:, last].double()) < 1e-2, NAMES[i]
