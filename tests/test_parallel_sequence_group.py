"""Context parallelism: pieces of a sequence in several processes give what one process gives, values and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from context_parallel_cases import CASES, is_quick
from several_processes import run_together

from dnamamba.kernels.relay import relayed_conv1d
from dnamamba.parallel import piece_of

SCRIPT = Path(__file__).parent / "context_parallel_cases.py"
LIMITS = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(scope="module", params=[2, 4], ids="{} processes".format)
def errors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = run_together(SCRIPT, request.param, tmp_path_factory.mktemp("processes"))
    return found | {"processes": request.param}


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_pieces_equal_the_whole(case, kind, errors):
    if is_quick(CASES[case], kind):
        assert errors[f"{case}, {kind}"] < LIMITS[kind]


@pytest.mark.parametrize("kind", LIMITS)
def test_a_mesh_of_rows_and_pieces_equals_the_whole(kind, errors):
    if errors["processes"] == 4:
        for case in ("uneven, packed", "carried state"):
            assert errors[f"2 x 2, {case}, {kind}"] < LIMITS[kind]


@pytest.mark.parametrize("length, size", [(12, 1), (12, 3), (13, 4), (4, 4)])
def test_pieces_of_a_batch_tile_it(length, size):
    row = torch.arange(length)[None]
    batch = {"tokens": row.to(torch.uint8), "targets": row + 1, "reset": row % 5 == 0}
    pieces = [piece_of(batch, rank, size) for rank in range(size)]
    for name, whole in batch.items():
        assert torch.equal(torch.cat([piece[name] for piece in pieces], 1), whole)
    lengths = [piece["tokens"].shape[1] for piece in pieces]
    assert max(lengths) - min(lengths) <= 1
    assert piece_of(batch | {"reset": None}, 0, size)["reset"] is None


def test_a_piece_too_short_for_the_convolution_is_refused():
    with pytest.raises(ValueError, match="a piece must hold at least W-1 = 3 steps, got 2"):
        relayed_conv1d(None, torch.zeros(1, 2, 4), torch.zeros(4, 4))
