"""Where a run leaves what it makes: the folder asked for, or the next free one under runs/."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dnamamba.config import from_dict, read_yaml
from dnamamba.errors import InputError, UsageError

T = TypeVar("T")


def new_run_folder(out: Path | None, kind: str, *, left_by_start: Callable[[Path], bool] = lambda path: False) -> Path:
    """The folder of a new run; it is not made.

    Args:
        out: the one asked for; None takes runs/KIND, or runs/KIND-2 and so on where that is taken.
        kind: of run.
        left_by_start: whether a file or folder is one that a start which failed has left, and a new run writes anew.

    Raises:
        InputError: the folder holds other files already. Hidden ones do not count.
    """
    out = out or _free_folder(kind)
    if out.exists() and not all(path.name.startswith(".") or left_by_start(path) for path in out.iterdir()):
        raise InputError(f"{out}: is not empty; --resume goes on with a run, another --out starts a new one")
    return out


def config_of_run(cls: type[T], out: Path | None, file: str) -> tuple[T, Path]:
    """The configuration that a run to be resumed began with, and the run's folder.

    Args:
        cls: what it is read as.
        out: the folder; None is an error.
        file: its name in there.

    Raises:
        InputError: no folder, or one that holds no such run.
    """
    if out is None:
        raise UsageError("--resume: say which run with --out RUN")
    if not (out / file).exists():
        raise InputError(f"{out}: holds no {file}, so there is no run to resume")
    return from_dict(cls, read_yaml(out / file)), out


def _free_folder(kind: str) -> Path:
    number = 1
    while (folder := Path("runs") / (kind if number == 1 else f"{kind}-{number}")).exists():
        number += 1
    return folder


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Within, the run of this configuration is this process's alone, and `is_held` says so to others. A kill lets go.

    Raises:
        InputError: another process has it.
    """
    with open(file, "rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{file.parent}: another process is at work on this run; wait, or stop it") from None
        except OSError:  # a file system without locks, or one that gives them to writers only: `is_held` is always true
            pass
        yield


def is_held(file: Path) -> bool:
    """Whether a run may be at work on the file."""
    try:
        with open(file, "r+b") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
