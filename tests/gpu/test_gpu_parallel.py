"""Context parallelism over NCCL: pieces of a sequence on two GPUs give what one GPU gives, values and gradients."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from context_parallel_cases import CASES, is_quick
from several_processes import run_together

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs: nothing to share a sequence with"),
]
TESTS = Path(__file__).parent.parent
LIMITS = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_together(TESTS / "context_parallel_cases.py", 2, tmp_path_factory.mktemp("processes"), "cuda")


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_pieces_equal_the_whole(case: str, kind: str, errors: dict[str, Any]) -> None:
    if is_quick(CASES[case], kind):
        assert errors[f"{case}, {kind}"] < LIMITS[kind]


@pytest.mark.parametrize("kind, limit", [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_long_pieces_equal_the_whole(kind: str, limit: float, errors: dict[str, Any]) -> None:
    assert errors[f"large, {kind}"] < limit
