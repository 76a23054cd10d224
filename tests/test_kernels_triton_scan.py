"""The Triton scan without a GPU: interpreted against float64 at small odd sizes, and compiled for sm_80 and sm_90."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from triton_process import run_json
from triton_scan_cases import IN_PLACE, NARROW, SMALL, SORTED, WHOLE, Case, Result, run_reference

from dnamamba.kernels import triton_scan
from dnamamba.kernels.triton_scan import borders_shape
from dnamamba.kernels.triton_scan_plan import BACKWARD, FLOAT32, FORWARD, Sizes, pick_chunk_length, plan_forward

# RMS error over RMS of the reference: float32 rounding; 11 and 8 bits of mantissa.
FORWARD_TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
GRADIENT_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-3, torch.bfloat16: 1e-2}
pytestmark = pytest.mark.timeout(600)  # the interpreter is slow, and slower beside other work
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return run_json(HERE / "triton_scan_cases.py", interpret=True)


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    return run_json(HERE / "triton_scan_compile.py", interpret=False)


@pytest.mark.parametrize(
    "name",
    [
        *SMALL,
        *SORTED,
        *(f"{name}, walked whole" for name in WHOLE),
        *(f"{name}, narrow tiles" for name in NARROW),
    ],
)
def test_matches_float64(name: str, interpreted: dict[str, Any]) -> None:
    case = re.sub(", (walked whole|narrow tiles)$", "", name)
    dtype = (SMALL | SORTED)[case].dtype
    for output, error in interpreted[name].items():
        limit = (FORWARD_TOLERANCE if output in ("y", "final_state") else GRADIENT_TOLERANCE)[dtype]
        assert error < limit, f"{output}: relative error {error:.1e}"


def test_tiles_of_equally_fast_channels_stop_where_one_slow_channel_kept_its_neighbours_awake(
    interpreted: dict[str, Any],
) -> None:
    stopped = interpreted["sorted, stopped"]
    assert stopped["equally fast"] > stopped["neighbours"]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_poisoned_input_stays_in_its_channel_and_behind_a_reset(value: str, interpreted: dict[str, Any]) -> None:
    wrong = [check for check, fine in interpreted[value].items() if not fine]
    assert not wrong


def test_a_split_sequence_with_handed_over_state_equals_the_whole(interpreted: dict[str, Any]) -> None:
    for output, error in interpreted["split"].items():
        assert error < 1e-6, f"{output}: relative error {error:.1e}"


@pytest.mark.parametrize("name", IN_PLACE)
def test_gradients_in_place_are_those_apart(name: str, interpreted: dict[str, Any]) -> None:
    assert interpreted["in place"][name] == {"same": True, "there": True, "y": True}


def test_compiles_for_ampere_and_hopper(compiled: dict[str, Any]) -> None:
    assert {name.rsplit(" ", 1)[1] for name in compiled} == {"sm_80", "sm_90"}
    for name in ("output", "chunk", "chunk, one group", "chunk, sorted", "chunk, adjoint", "gradient", "narrow output"):
        assert compiled[f"{name} sm_90"]["stack"] == 0, f"{name} spills registers"


def test_the_reference_the_cases_compare_with_is_the_published_formula() -> None:
    # One channel, one state, by hand: h = exp(dt A) h + dt B x, y = (C h + D x) silu(z).
    case = Case(L=2, D=1, N=1, softplus=False, start=False, bias=False)
    t = case.inputs("cpu")
    y, final, _ = run(case, t)
    x, dt, A, B, C, D, z = (t[name].flatten().tolist() for name in ("x", "dt", "A", "B", "C", "D", "z"))
    h1 = dt[0] * B[0] * x[0]
    h2 = torch.tensor(dt[1] * A[0]).exp().item() * h1 + dt[1] * B[1] * x[1]
    silu = torch.nn.functional.silu(torch.tensor(z)).tolist()
    assert y.flatten().tolist() == pytest.approx(
        [(C[0] * h1 + D[0] * x[0]) * silu[0], (C[1] * h2 + D[0] * x[1]) * silu[1]], rel=1e-5
    )
    assert final.item() == pytest.approx(h2, rel=1e-5)


def run(case: Case, t: dict[str, torch.Tensor | None]) -> Result:
    return run_reference(case, t, torch.ones(case.B, case.L, case.D), None)


def test_borders_hold_one_state_each_64_steps() -> None:
    assert borders_shape(2, 129, 5, 16) == (2, 3, 16, 5)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 512, 2**20), (8, 1536, 2048), (1024, 256, 1024), (3, 7, 1000)], ids=str
)
def test_a_plan_covers_the_length_in_whole_blocks(shape: tuple[int, int, int]) -> None:
    B, D, L = shape
    size = Sizes.of(torch.empty(B, L, D, device="meta"), torch.empty(D, 16, device="meta"))
    for settings in (FORWARD, BACKWARD):
        T = pick_chunk_length(size, 132, settings)
        assert T % 64 == 0
        assert T - 64 < L
        assert pick_chunk_length(size, 132, settings, longest=64) <= T


def test_float32_is_walked_in_short_chunks_where_it_is_cut() -> None:
    """A walk of slow states in float32 drifts; the way from chunk to chunk does not."""
    size = Sizes(2, 2**17, 128, 16)
    assert plan_forward(size, 4, 132) <= FLOAT32 < plan_forward(size, 2, 132)
    assert plan_forward(Sizes(1024, 1024, 256, 16), 4, 132) == 1024  # the machine is full without a cut


class _NoKernel:
    """In place of a kernel: any grid, any arguments, nothing done."""

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args, **kwargs: None


@pytest.mark.parametrize("channels", [128, 256, 512, 1024])
def test_extra_memory_is_at_most_a_quarter_of_the_inputs(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "gradient_kernel",
        "sum_tiles_kernel",
        "sum_rows_kernel",
        "order_kernel",
        "chunk_kernel",
        "carry_kernel",
    ):
        monkeypatch.setattr(triton_scan, name, _NoKernel())
    asked: list[int] = []
    empty = torch.empty

    def counted(*shape: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*shape, **kwargs)
        asked.append(tensor.numel() * tensor.element_size())
        return tensor

    L, N = 2**20, 16
    x = torch.empty(1, L, channels, dtype=torch.bfloat16, device="meta")
    rows = torch.empty(1, L, N, dtype=torch.bfloat16, device="meta")
    A, D = torch.empty(channels, N, device="meta"), torch.empty(channels, device="meta")
    borders = torch.empty(borders_shape(1, L, channels, N), device="meta")
    monkeypatch.setattr(torch, "empty", counted)
    triton_scan.scan_backward(x, None, x, x, A, rows, rows, D, x, D, None, None, borders, True)
    outputs = 2 * (3 * x.numel() + 2 * rows.numel())
    extra = borders.numel() * 4 + sum(asked) - outputs
    assert extra <= x.numel() * 2, f"{extra / 2**20:.0f} MiB of {x.numel() * 2 / 2**20:.0f}"


def test_one_walk_where_batch_and_channels_fill_the_machine_and_chunks_where_not() -> None:
    def chunks(B: int, D: int, L: int) -> int:
        size = Sizes.of(torch.empty(B, L, D, device="meta"), torch.empty(D, 16, device="meta"))
        return -(-L // pick_chunk_length(size, 132, FORWARD))

    assert chunks(1024, 256, 1024) == 1
    assert chunks(64, 512, 1024) == 1
    places = 132 * FORWARD.most
    programs = chunks(1, 512, 2**20) * (512 // 32)
    assert any(0.97 * wave * places <= programs <= wave * places for wave in range(1, FORWARD.waves + 1)), programs
