"""Where a run leaves what it makes: the folder asked for, or the next free one under runs/."""

from pathlib import Path

from dnamamba.errors import InputError


def new_run_folder(out: Path | None, kind: str) -> Path:
    """The folder of a new run; it is not made.

    Args:
        out: the one asked for; None takes runs/KIND, or runs/KIND-2 and so on where that is taken.
        kind: of run.

    Raises:
        InputError: the folder holds files already. Hidden ones do not count.
    """
    out = out or _free_folder(kind)
    if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise InputError(f"{out}: is not empty; --resume goes on with a run, another --out starts a new one")
    return out


def _free_folder(kind: str) -> Path:
    number = 1
    while (folder := Path("runs") / (kind if number == 1 else f"{kind}-{number}")).exists():
        number += 1
    return folder
