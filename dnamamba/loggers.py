"""Where a run's figures go: CSV always, TensorBoard, or any other logger that Lightning brings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch.loggers as lightning_loggers
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from dnamamba.errors import InputError

_FLUSH_EVERY = 10  # steps


def make_loggers(wanted: Sequence[str | Mapping[str, Any]], folder: Path) -> list[Logger]:
    """Make the loggers of one start of a run.

    Args:
        wanted: "csv", "tensorboard", or {class: WandbLogger, project: apes, ...}: a class of lightning.pytorch.loggers
            and its arguments. The CSV log is written in any case: the run's own figures are drawn from it.
        folder: of the run; the logs of this start go to `logs/part-<number>`, so that a resumed run leaves the earlier
            ones alone.

    Raises:
        InputError: no such logger, one whose package is not installed, or arguments that it refuses.
    """
    part = f"part-{len(list((folder / 'logs').glob('part-*')))}"
    loggers: list[Logger] = [CSVLogger(folder, name="logs", version=part, flush_logs_every_n_steps=_FLUSH_EVERY)]
    for one in wanted:
        if one == "tensorboard":
            loggers.append(TensorBoardLogger(folder, name="logs", version=part, default_hp_metric=False))
        elif isinstance(one, Mapping):
            loggers.append(_other(one))
        elif one != "csv":
            raise InputError(f"run.loggers: want csv, tensorboard or {{class: NAME, ...}}, got {one!r}")
    return loggers


def _other(wanted: Mapping[str, Any]) -> Logger:
    arguments = dict(wanted)
    name = arguments.pop("class", None)
    known = {one: getattr(lightning_loggers, one) for one in lightning_loggers.__all__ if one != "Logger"}
    if name not in known:
        raise InputError(f"run.loggers: want class: one of {', '.join(sorted(known))}, got {name!r}")
    try:
        logger: Logger = known[name](**arguments)
    except ModuleNotFoundError as error:
        raise InputError(f"run.loggers: {name} needs a package that is not installed: {error}") from None
    except (TypeError, ValueError, OSError) as error:
        raise InputError(f"run.loggers: {name}: {error}") from None
    return logger
