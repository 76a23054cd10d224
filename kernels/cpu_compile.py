"""Where the compiled kernels meet numba: their decorators, and the machine code of one kernel for one kind of job."""

from collections.abc import Callable
from typing import Any

import numba


def inlined(function: Callable[..., Any]) -> Any:
    """A part of compiled kernels."""
    return numba.njit(nogil=True)(function)  # no fast-math: it would cancel the rounding trick in exp2


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel: without numba's wrappers for Python its code refers to nothing outside itself, so it can be kept."""
    return numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def machine_code(kernel: Any, job: Any, constants: tuple[float, ...]) -> tuple[str, bytes]:
    """Name and object code of `kernel(job, task, scratch, *constants)`.

    The function follows numba's convention: int32 status, then the addresses of a result and of an error to be
    filled in, then the arguments, the fields of tuples one by one.
    """
    signature = (numba.typeof(job), numba.int64, numba.int64, *[numba.float64] * len(constants))
    kernel.compile(signature)
    result = kernel.overloads[signature]
    _, _, (code, _) = result.library.serialize_using_object_code()
    return result.fndesc.llvm_func_name, code
