"""A script: compile the Triton kernels around the scan for sm_80 and sm_90 without a GPU; prints PTX sizes as JSON."""

import json
from collections.abc import Iterator
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dnamamba.bench.triton_exponentials import exponential_kernel
from dnamamba.kernels import triton_conv, triton_cross_entropy, triton_embedding, triton_norm, triton_step

POINTERS = {"reset_ptr": "*u8", "target_ptr": "*i64", "tail_ptr": "*bf16", "token_ptr": "*u8", "dtail_ptr": "*bf16"}
FLOATS = {
    "dw_ptr",
    "total_ptr",
    "dtotal_ptr",
    "residual_ptr",
    "dweight_ptr",
    "loss_ptr",
    "scale_ptr",
}
FLOATS |= {"A_ptr", "D_ptr", "bias_ptr", "weight_ptr", "w_ptr", "state_ptr", "new_ptr"}


def _source(kernel: Any, constants: dict[str, Any], absent: tuple[str, ...] = ()) -> ASTSource:
    """bf16 activations, float32 weights; `absent` pointers are None."""
    signature, values = {}, {}
    for name in kernel.arg_names:
        if name in constants or name in absent:
            signature[name], values[name] = "constexpr", constants.get(name)
        elif name.endswith("_ptr"):
            signature[name] = POINTERS.get(name, "*fp32" if name in FLOATS else "*bf16")
        else:
            signature[name] = {"L": "i32", "rows": "i32", "eps": "fp32", "ignore_index": "i32"}.get(name, "i64")
    return ASTSource(
        fn=kernel, signature=signature, constexprs={(kernel.arg_names.index(k),): v for k, v in values.items()}
    )


def _cases() -> Iterator[tuple[str, ASTSource, int]]:
    conv = {"D": 512, "SILU": True, "PIECE": 256, "BLOCK_D": triton_conv.BLOCK_D, "ROWS": triton_conv.ROWS}
    for width in (1, 2, 3, 4):
        yield f"conv W={width}", _source(triton_conv.conv_kernel, conv | {"W": width}), 1
        yield f"conv backward W={width}", _source(triton_conv.conv_backward_kernel, conv | {"W": width}), 1
    bare = ("bias_ptr", "tail_ptr", "reset_ptr")
    yield "conv bare", _source(triton_conv.conv_kernel, conv | {"W": 4}, bare), 1
    yield "conv backward bare", _source(triton_conv.conv_backward_kernel, conv | {"W": 4}, (*bare, "dtail_ptr")), 1
    norm = {"D": 200, "ROWS": 16, "BLOCK_D": 256}
    for absent in ((), ("residual_ptr", "total_ptr")):
        yield f"norm {absent}", _source(triton_norm.norm_kernel, norm, absent), 4
    for absent in ((), ("dtotal_ptr", "copy_ptr")):
        yield f"norm backward {absent}", _source(triton_norm.norm_backward_kernel, norm | {"PART": 256}, absent), 4
    loss = {"D": 200, "ROWS": 64, "BLOCK_D": 64, "PRECISION": "tf32x3"}
    for letters, block, backward in (
        (16, 16, False),
        (16, 16, True),
        (4, 16, False),
        (256, 256, False),
        (256, 256, True),
    ):
        tile = {"ROWS": 32, "BLOCK_D": 32} if block > 64 else {}
        constants = loss | tile | {"V": letters, "BLOCK_V": block, "BACKWARD": backward}
        absent = ("loss_ptr",) if backward else ("dlogits_ptr", "scale_ptr")
        yield f"loss {letters} {backward}", _source(triton_cross_entropy.loss_kernel, constants, absent), 4
    tile = {"D": 200, "ROWS": triton_embedding.ROWS, "BLOCK_D": 128}
    yield "embedding", _source(triton_embedding.lookup_kernel, tile), 4
    for letters, block_v, block_d, warps in ((16, 16, 128, 4), (256, 256, 32, 8)):
        table = tile | {"V": letters, "PART": 1024, "BLOCK_V": block_v, "BLOCK_D": block_d, "PRECISION": "tf32x3"}
        yield (
            f"embedding backward {letters}",
            _source(triton_embedding.lookup_backward_kernel, table),
            warps,
        )
    step = {"D": 200, "N": 16, "NP": 16, "SOFTPLUS": True, "BLOCK_D": triton_step.BLOCK_D}
    yield "step", _source(triton_step.step_kernel, step), 1
    yield "step bare", _source(triton_step.step_kernel, step | {"SOFTPLUS": False}, ("D_ptr", "z_ptr", "bias_ptr")), 1
    conv_step = {"D": 200, "W": 4, "SILU": True, "BLOCK_D": triton_step.BLOCK_D}
    yield "conv step", _source(triton_step.conv_step_kernel, conv_step), 1
    yield "exponentials alone", _source(exponential_kernel, {"BLOCK": 1024}), 4


if __name__ == "__main__":
    sizes = {}
    for architecture in (80, 90):
        for name, source, warps in _cases():
            built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})
            sizes[f"sm_{architecture} {name}"] = len(built.asm["ptx"]) if built.asm["cubin"] else 0
    print(json.dumps(sizes))
