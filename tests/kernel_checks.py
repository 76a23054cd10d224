"""Fresh inputs of the ops and the measure of error that every kernel test uses."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# RMS error over RMS of the float64 reference. float32: rounding; bfloat16: 8 bits of mantissa in the inputs' own grid.
FORWARD = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
GRADIENT = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """RMS of the difference over RMS of the reference."""
    assert ours.shape == reference.shape
    return float((ours.double() - reference.double()).norm() / reference.double().norm().clamp_min(1e-12))


def draw_scan(
    B: int, L: int, D: int, N: int, *, device: str = "cpu", dtype: torch.dtype = torch.float32, resets: float = 0.0
) -> dict[str, Tensor | None]:
    """Inputs as Mamba's initialisation gives them: steps log-uniform in 1e-3 .. 1e-1, A about -1 .. -N."""
    x, z, dt = torch.randn(3, B, L, D)
    rows_B, rows_C = torch.randn(2, B, L, N)
    step = torch.exp(torch.empty(D).uniform_(-6.9, -2.3))
    floats = {"x": x, "dt": dt * 0.5, "B": rows_B, "C": rows_C, "z": z}
    inputs = {name: tensor.to(dtype) for name, tensor in floats.items()} | {
        "A": -torch.arange(1.0, N + 1).repeat(D, 1) * (1 + 0.1 * torch.rand(D, 1)),
        "D": torch.randn(D),
        "dt_bias": torch.log(torch.expm1(step)),
        "initial_state": torch.randn(B, D, N),
    }
    moved: dict[str, Tensor | None] = {name: tensor.to(device) for name, tensor in inputs.items()}
    moved["reset"] = (torch.rand(B, L) < resets).to(device) if resets else None
    return moved


def double(tensors: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """The same numbers in float64."""
    return {k: t.double() if t is not None and t.is_floating_point() else t for k, t in tensors.items()}


def run(op: Callable[..., Tensor | Sequence[Tensor]], inputs: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Values and gradients of `op(**inputs)`: out0, out1, .. and d<name> for every float input, from seeded dy."""
    leaves = {
        k: t.detach().requires_grad_() if t is not None and t.is_floating_point() else t for k, t in inputs.items()
    }
    outputs = op(**leaves)
    outputs = [outputs] if isinstance(outputs, Tensor) else [t for t in outputs if t.is_floating_point()]
    draw = torch.Generator().manual_seed(1)
    grads = [torch.randn(t.shape, generator=draw).to(t.device, t.dtype) for t in outputs]
    wanted = {k: t for k, t in leaves.items() if t is not None and t.requires_grad}
    found = torch.autograd.grad(outputs, list(wanted.values()), grads)
    return {f"out{i}": t.detach() for i, t in enumerate(outputs)} | {
        f"d{name}": grad for name, grad in zip(wanted, found, strict=True)
    }


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> None:
    """Every value and gradient within the tolerance of `dtype`."""
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        error = relative_error(tensor, theirs[name])
        limit = (FORWARD if name.startswith("out") else GRADIENT)[dtype]
        assert error < limit, f"{name}: relative error {error:.1e}, at most {limit:.0e}"
