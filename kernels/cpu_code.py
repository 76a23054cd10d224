"""The compiled kernels' machine code: loaded from a cache in a few milliseconds, or made by numba once and kept there.

numba's own cache would do, but it needs numba: 0.5 s of imports before the first call of every process.
"""

import ctypes
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm


@cache
def _source_digest() -> str:
    """Of all that the machine code depends on: our sources (they inline one another), the compiler, the processor."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("cpu_*.py")):
        digest.update(path.read_bytes())
    features = llvm.get_host_cpu_features().flatten()
    processor = (
        os.environ.get("NUMBA_CPU_NAME", llvm.get_host_cpu_name()),
        os.environ.get("NUMBA_CPU_FEATURES", features),
    )
    digest.update(repr((version("numba"), version("llvmlite"), llvm.get_process_triple(), processor)).encode())
    return digest.hexdigest()[:16]


def _usable(folder: Path) -> bool:
    """Whether we may keep code there: writable, ours, and closed to others, since what is read there is executed."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH)


@cache
def cache_folder() -> Path | None:
    """Where compiled kernels are kept: $DNAMAMBA_CACHE_DIR, the user's cache folder or a private temporary one."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home folder is known
        home = Path(tempfile.gettempdir())
    candidates = [home / "dnamamba", Path(tempfile.gettempdir()) / f"dnamamba-{user}"]
    if wished := os.environ.get("DNAMAMBA_CACHE_DIR"):
        candidates.insert(0, Path(wished))
    return next((path for folder in candidates if _usable(path := folder / "kernels" / _source_digest())), None)


def _read(path: Path) -> tuple[str, bytes] | None:
    """Name and code from a file: digest of the rest, name, code. None when there is none or it is damaged."""
    try:
        digest, _, rest = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    name, _, code = rest.partition(b"\n")
    return name.decode(), code


def _write(path: Path, name: str, code: bytes) -> None:
    """All or nothing: a process that is killed, or another that writes the same, leaves no half file."""
    rest = name.encode() + b"\n" + code
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as out:
            out.write(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        os.replace(out.name, path)
    except OSError:  # a full or vanished disk: the next process compiles anew
        return


@cache
def _linker() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _flat(job: Iterable[Any]) -> Iterator[int]:
    for field in job:
        if isinstance(field, tuple):
            yield from _flat(field)
        else:
            yield field


class Kernel:
    """One compiled kernel, `kernel(job, task, scratch, *constants)`; its code is loaded or made at the first call."""

    _lock = threading.Lock()

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._function: Any = None

    def __call__(self, job: Any, task: int, scratch: int, *constants: float) -> None:
        function = self._function or self._load(job, constants)
        nothing, error = ctypes.c_void_p(), ctypes.c_void_p()
        status = function(ctypes.byref(nothing), ctypes.byref(error), *_flat(job), task, scratch, *constants)
        if status:
            raise RuntimeError(f"compiled kernel {self._name} stopped with status {status}")

    def _load(self, job: Any, constants: tuple[float, ...]) -> Any:
        with Kernel._lock:
            if self._function is not None:
                return self._function
            folder = cache_folder()
            path = None if folder is None else folder / self._name
            found = None if path is None else _read(path)
            if found is None:
                from dnamamba.kernels.cpu_compile import machine_code

                kernel = getattr(import_module(f"dnamamba.kernels.{self._module}"), self._name)
                found = machine_code(kernel, job, constants)
                if path is not None:
                    _write(path, *found)
            name, code = found
            linker = _linker()
            linker.add_object_file(llvm.ObjectFileRef.from_data(code))
            linker.finalize_object()
            integers = [ctypes.c_int64] * (len(list(_flat(job))) + 2)
            prototype = ctypes.CFUNCTYPE(
                ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *integers, *[ctypes.c_double] * len(constants)
            )
            self._function = prototype(linker.get_function_address(name))
            return self._function


def _renew_lock() -> None:
    Kernel._lock = threading.Lock()  # another thread may have held it at the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
