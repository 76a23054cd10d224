"""Writing a store behind a URL: an assembly is made in a folder of this machine, then uploaded, its zarr.json last.

An object store knows no rename and no lock: what is uploaded lies in its final place, and nobody sees it as an assembly
while its zarr.json is missing.
"""

import hashlib
import os
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from dnamamba.errors import InputError
from dnamamba.pipelines.store_files import StoreFiles
from dnamamba.pipelines.store_format import ASIDE, FORMAT, VERSION, group_document, to_json
from dnamamba.pipelines.store_lock import assembly_lock
from dnamamba.pipelines.store_metadata import check_attributes, parse_document

_AT_ONCE = 2  # shards in memory and under way
_VARIABLE = "DNAMAMBA_STAGING"


@contextmanager
def staged(remote: StoreFiles, assembly: str, *, overwrite: bool, resume: bool) -> Iterator[Path]:
    """A local store to write the assembly into; when the block ends well, it is uploaded and removed here.

    Args:
        remote: the store behind a URL; it is made when there is none.
        assembly: its name.
        overwrite: replace one that is there. It goes before the new one comes.
        resume: go on with what an interrupted run left here and there.

    Raises:
        InputError: another one writes it, it is there already, or the address cannot be written. What was made waits
            here for `resume` when the upload fails.
    """
    folder = _folder(f"{remote}/{assembly}")
    # This lock is of this machine: of two processes that share the folder, one stops here.
    with assembly_lock(folder / "writing", assembly):
        _check_root(remote)
        made = folder / "store" / assembly
        if not resume:
            shutil.rmtree(folder / "store", ignore_errors=True)
        if not overwrite and _there(remote, assembly) and not _same(remote, assembly, made):
            raise _already(remote, assembly)
        with _claim(remote, assembly, folder / "token"):
            yield folder / "store"
            if overwrite and not _same(remote, assembly, made):
                remote.remove(f"{assembly}/zarr.json")
            _upload(remote, assembly, made)
        shutil.rmtree(folder / "store", ignore_errors=True)
        (folder / "token").unlink(missing_ok=True)
    with suppress(OSError):
        (folder / "writing").rmdir()
    with suppress(OSError):
        folder.rmdir()


def _folder(address: str) -> Path:
    """Where an assembly on its way to this address lies, always the same. Only its owner can enter."""
    chosen = os.environ.get(_VARIABLE)
    root = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"dnamamba-staging-{os.getuid()}"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()
        if not chosen and (not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077):
            raise InputError(f"{root}: belongs to others or is open to them; name another folder in {_VARIABLE}")
        folder = root / hashlib.sha256(address.encode()).hexdigest()[:24]
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be made ({error.strerror}); name a folder in {_VARIABLE}") from None
    return folder


def _check_root(remote: StoreFiles) -> None:
    """A place for a store: nothing yet, or a store of ours."""
    try:
        root = remote.read("zarr.json")
    except FileNotFoundError:
        others = [name for name in remote.names() if not name.startswith(f"{ASIDE}/")]
        if others:
            what = f"holds other things ({others[0]} ..) and is no genome store"
            raise InputError(f"{remote}: {what}; choose another") from None
        return
    check_attributes(parse_document(root, f"{remote}/zarr.json"), f"{remote}/zarr.json")


def _there(remote: StoreFiles, assembly: str) -> bool:
    try:
        remote.read(f"{assembly}/zarr.json")
    except FileNotFoundError:
        return False
    return True


def _same(remote: StoreFiles, assembly: str, made: Path) -> bool:
    """Whether the last step was done already when a kill came."""
    try:
        return remote.read(f"{assembly}/zarr.json") == (made / "zarr.json").read_bytes()
    except FileNotFoundError:
        return False


def _already(remote: StoreFiles, assembly: str) -> InputError:
    return InputError(f"{remote}: assembly {assembly!r} is there already; --overwrite replaces it")


@contextmanager
def _claim(remote: StoreFiles, assembly: str, token: Path) -> Iterator[None]:
    """Hold the object that says who writes. One that this folder's token is in was left by a run that was killed."""
    lock = f"{ASIDE}/{assembly}/lock"
    if not token.exists():
        token.write_text(f"process {os.getpid()} on {socket.gethostname()}, claim {secrets.token_hex(16)}")
    mine = token.read_bytes()
    with suppress(FileExistsError):
        remote.put(lock, mine, create=True)
    try:
        holder = remote.read(lock)  # read back: a service without conditional writes lets the last one win
    except FileNotFoundError:
        holder = b"another process"
    if holder != mine:
        who = "".join(c for c in holder[:200].decode("utf-8", "replace") if c.isprintable()).split(", claim")[0]
        raise InputError(
            f"{remote}: assembly {assembly!r} is being written by {who}; wait for it, or, if it is dead,"
            f" remove {remote}/{lock}"
        )
    try:
        yield
    finally:
        with suppress(InputError):
            remote.remove(lock)


def _upload(remote: StoreFiles, assembly: str, made: Path) -> None:
    """Bring all files there, those that are there already left out, the assembly's zarr.json last."""
    files = [path for path in sorted(made.rglob("*")) if path.is_file() and path != made / "zarr.json"]
    names = [f"{assembly}/{path.relative_to(made).as_posix()}" for path in files]

    def bring(path: Path, name: str) -> None:
        data = path.read_bytes()  # a shard: 64 MiB at most
        if not remote.holds(name, data):
            remote.put(name, data)

    try:
        with suppress(FileExistsError):
            remote.put("zarr.json", to_json(group_document({"format": FORMAT, "version": VERSION})), create=True)
        with ThreadPoolExecutor(_AT_ONCE, "upload") as pool:
            futures = [pool.submit(bring, *one) for one in zip(files, names, strict=True)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for name in set(remote.names(assembly)) - {*names, f"{assembly}/zarr.json"}:
            remote.remove(name)  # of a longer assembly that was there before, or of an interrupted upload
        if not _same(remote, assembly, made):
            remote.put(f"{assembly}/zarr.json", (made / "zarr.json").read_bytes(), create=True)
    except FileExistsError:
        raise _already(remote, assembly) from None
    except InputError as error:
        raise InputError(f"{error}; what was made waits in {made.parent}, --resume goes on") from None
