"""The Triton kernels around the scan without a GPU: run in the interpreter, compiled for sm_80 and sm_90."""

from pathlib import Path

import pytest
import torch
from kernel_checks import FORWARD, GRADIENT
from triton_process import run_json

HERE = Path(__file__).parent

pytest.importorskip("triton", reason="Triton is not installed: it exists for Linux only")


def test_interpreted_kernels_match_the_reference():
    found = run_json(HERE / "triton_ops_cases.py", interpret=True)
    assert len(found) > 30
    for case, (dtype_name, errors) in found.items():
        dtype = getattr(torch, dtype_name.removeprefix("torch."))
        for name, error in errors.items():
            limit = (FORWARD if name.startswith("out") else GRADIENT)[dtype]
            assert error < limit, f"{case}: {name} has relative error {error:.1e}, at most {limit:.0e}"


def test_kernels_compile_for_both_architectures():
    sizes = run_json(HERE / "triton_ops_compile.py", interpret=False)
    assert {name.split()[0] for name in sizes} == {"sm_80", "sm_90"}
    assert all(size > 1000 for size in sizes.values()), sizes
