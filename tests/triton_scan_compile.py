"""Compile every Triton kernel of the scan for GPUs that are not here, as a script: prints registers and stack."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dnamamba.kernels.triton_scan import CARRY_UNROLL, REGISTERS_SORTED
from dnamamba.kernels.triton_scan_backward import STAGES, SUMMED, gradient_kernel, sum_rows_kernel, sum_tiles_kernel
from dnamamba.kernels.triton_scan_chunks import UNROLL as CHUNK_UNROLL
from dnamamba.kernels.triton_scan_chunks import carry_kernel, chunk_kernel, order_kernel
from dnamamba.kernels.triton_scan_forward import STAGES as FORWARD_STAGES
from dnamamba.kernels.triton_scan_forward import output_kernel
from dnamamba.kernels.triton_scan_plan import BLOCK

INPUTS = {f"{name}_ptr" for name in ("x", "dt", "z", "B", "C", "y", "dy", "dx", "ddt", "dz", "dB", "dC")}
SIZES = {
    "SX": 1024, "SZ": 1024, "SD": 512, "SG": 512, "SB": 64, "SC": 64, "ODX": 512, "ODD": 512, "ODZ": 512,
    "D": 512, "N": 16, "NP": 16, "BD": 32,
    "BLOCK": BLOCK, "STAGES": STAGES, "NG": 4, "SORTED": 0, "WORDS": None, "SOFTPLUS": True, "EVEN": True, "SIZE": 1024,
    "SUMMED": SUMMED // 8,
}  # fmt: skip
OUTPUT = {"STAGES": FORWARD_STAGES, "WORDS": tl.bfloat16, "SB": 32, "SC": 32, "reset_ptr": None}
CHUNK = {"U": CHUNK_UNROLL, "PREFETCH": True, "reset_ptr": None, "WORDS": tl.bfloat16, "SB": 32}
UNSORTED = CHUNK | {"order_ptr": None}
KERNELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "output": (output_kernel, OUTPUT),
    "output, resets, odd": (output_kernel, {"STAGES": FORWARD_STAGES, "EVEN": False}),
    "narrow output": (output_kernel, OUTPUT | {"BD": 16}),
    "narrow output, resets, odd": (output_kernel, {"STAGES": FORWARD_STAGES, "BD": 16, "EVEN": False}),
    "chunk": (chunk_kernel, UNSORTED | {"ADJOINT": False, "z_ptr": None}),
    "chunk, one group": (chunk_kernel, UNSORTED | {"ADJOINT": False, "z_ptr": None, "NG": 1}),
    "chunk, sorted": (chunk_kernel, CHUNK | {"ADJOINT": False, "z_ptr": None, "SORTED": 128}),
    "chunk, sorted, adjoint": (chunk_kernel, CHUNK | {"ADJOINT": True, "SORTED": 128}),
    "order": (order_kernel, {"SORTED": 128}),
    "chunk, resets, odd": (
        chunk_kernel,
        {"order_ptr": None, "U": CHUNK_UNROLL, "PREFETCH": True, "ADJOINT": True, "EVEN": False},
    ),
    "chunk, adjoint": (chunk_kernel, UNSORTED | {"ADJOINT": True}),
    "carry": (carry_kernel, {"U": CARRY_UNROLL, "ADJOINT": True, "cut_ptr": None}),
    "gradient": (gradient_kernel, {"WORDS": tl.bfloat16, "SB": 32, "SC": 32, "reset_ptr": None, "y_ptr": None}),
    "gradient, resets, odd": (gradient_kernel, {"EVEN": False}),
    "sum tiles": (sum_tiles_kernel, {}),
    "sum rows": (sum_rows_kernel, {}),
}


def pointer_type(name: str, words: bool) -> str:
    if name in ("reset_ptr", "cut_ptr"):
        return "*u8"
    if name == "order_ptr" or (name in ("B_ptr", "C_ptr") and words):
        return "*i32"
    return "*bf16" if name in INPUTS else "*fp32"


def compile_for(fn: Any, given: dict[str, Any], arch: int) -> dict[str, int]:
    """Registers and bytes of spilled stack of one kernel."""
    constants = {n: v for n, v in (SIZES | given).items() if n in fn.arg_names}
    words = constants.get("WORDS") is not None
    hidden = fn.do_not_specialize_on_alignment or ()
    signature: dict[str, str] = {}
    attributes: dict[tuple[int, ...], list[list[Any]]] = {}
    for i, name in enumerate(fn.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        signature[name] = pointer_type(name, words) if name.endswith("_ptr") else "i32"
        if (name.endswith("_ptr") and name not in hidden) or re.fullmatch("(s[xdzbcg]|od[xdz])b", name):
            attributes[(i,)] = [["tt.divisibility", 16]]
    where = {(fn.arg_names.index(n),): v for n, v in constants.items()}
    source = ASTSource(fn=fn, signature=signature, constexprs=where, attrs=attributes)
    limit = {"maxnreg": REGISTERS_SORTED} if constants.get("SORTED") else {}
    kernel = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": 1, **limit})
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(tools / "cuobjdump"), "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found, usage
    return {"registers": int(found[1]), "stack": int(found[2])}


if __name__ == "__main__":
    print(json.dumps({f"{n} sm_{a}": compile_for(*k, a) for a in (80, 90) for n, k in KERNELS.items()}))
