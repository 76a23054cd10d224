"""`dnamamba task`: several models on one task, run by run; what is finished is kept, what was killed goes on."""

import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from dnamamba.config import format_size, from_dict, read_json, to_dict
from dnamamba.device import Device, autocast_dtype, choose_device
from dnamamba.errors import InputError, UsageError, usage
from dnamamba.files import write_whole
from dnamamba.model import ModelConfig
from dnamamba.model.config import SELECTIVE, MixerName
from dnamamba.model.parameters import count_parameters, match_parameters
from dnamamba.model_directory import save
from dnamamba.say import say
from dnamamba.sweep.kept import claim_folder
from dnamamba.tasks.extrapolation import Measured, measure, test_lengths
from dnamamba.tasks.induction_heads import INDUCTION_HEADS
from dnamamba.tasks.report import Outcome, draw, figures, percent, terminal_text, write_html
from dnamamba.tasks.selective_copying import SELECTIVE_COPYING
from dnamamba.tasks.task import VOCABULARY, Task, TaskName, TaskSettings
from dnamamba.tasks.training import Look, TaskTraining

TASKS: dict[TaskName, Task] = {task.name: task for task in (SELECTIVE_COPYING, INDUCTION_HEADS)}
SETTINGS, RESULT = "settings.json", "result.json"
PLAIN_EVERY = 15.0
"""Seconds between two lines of progress."""


def run_task(
    name: TaskName,
    mixers: Sequence[MixerName],
    selective: Sequence[str],
    changes: dict[str, Any],
    out: Path,
    device: Device,
    as_json: bool,
) -> str:
    """Train and test every model that is asked for; what the command prints.

    Args:
        name: of the task.
        mixers: names of mixers, one model each.
        selective: parts that the mamba mixer selects ("dt,B", "none"), one more model each.
        changes: settings in place of the paper's; None is left out.
        out: folder, in which an earlier start of the same run goes on.
        device: where to train.
        as_json: the figures as JSON in place of a table.

    Raises:
        InputError: settings out of range, or a folder that holds another run or other things.
    """
    task = TASKS[name]
    settings = replace(task.settings, **{key: value for key, value in changes.items() if value is not None})
    _check(task, settings)
    with usage():
        models = _models(settings, mixers, selective)
    place = choose_device(device)
    _claim(out, {"task": name, "settings": to_dict(settings)})
    outcomes = [_one(task, settings, label, config, out / label, place) for label, config in models.items()]
    found = figures(task, settings, outcomes)
    write_whole(out / "metrics.json", json.dumps(found, indent=1) + "\n")
    draw(task, outcomes, settings.length, out / "accuracy.png")
    facts = {"device": _device_name(place), "torch": torch.__version__, "command": " ".join(sys.argv)}
    write_html(task, settings, outcomes, out / "accuracy.png", out / "report.html", facts)
    if as_json:
        return json.dumps(found)
    return terminal_text(task, settings, outcomes) + f"\n\n{out}: metrics.json, accuracy.png, report.html, models"


def _check(task: Task, settings: TaskSettings) -> None:
    least = {"length": task.shortest, "batch": 1, "steps": 1, "lr": 1e-12, "d_model": 1, "n_layers": 1}
    for key, smallest in least.items():
        if not getattr(settings, key) >= smallest:
            raise UsageError(f"--{key.replace('_', '-')}: want {smallest:g} or more, got {getattr(settings, key)}")
    for key in ("longest", "stop_length"):
        value = getattr(settings, key)
        if value and value < task.shortest:
            raise UsageError(f"--{key.replace('_', '-')}: want 0 or {task.shortest} or more, got {value}")


def _models(settings: TaskSettings, mixers: Sequence[MixerName], selective: Sequence[str]) -> dict[str, ModelConfig]:
    """Label -> configuration, in the order asked for, each as wide as gives it the parameters of the whole Mamba."""
    size: dict[str, Any] = {"d_model": settings.d_model, "n_layers": settings.n_layers, "vocab_size": VOCABULARY}
    models: dict[str, ModelConfig] = {mixer: ModelConfig(**size, mixer=mixer) for mixer in mixers}
    for text in selective:
        parts = () if text.strip() == "none" else tuple(part.strip() for part in text.split(","))
        config = ModelConfig(**size, selective=parts)
        whole = config.selective == SELECTIVE
        models["mamba" if whole else "mamba-" + ("-".join(config.selective) or "none")] = config
    wanted = count_parameters(ModelConfig(**size))
    return {label: match_parameters(config, wanted) for label, config in models.items()}


def _claim(out: Path, run: dict[str, Any]) -> None:
    """Say in the folder what is run there, or find that it is the same.

    Raises:
        InputError: the folder holds other things, or another run; or what it holds is damaged.
    """
    file = out / SETTINGS
    if not file.exists():
        claim_folder(out, SETTINGS, run)
        return
    there = read_json(file)
    if there.get("task") != run["task"]:
        raise InputError(f"{out}: holds a run of {there.get('task')}; choose another --out")
    settings = there.get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"{file}: want the settings of a run, got {settings!r}; choose another --out")
    differs = [key for key, value in run["settings"].items() if settings.get(key) != value]
    if differs:
        raise InputError(
            f"{out}: holds a run with {differs[0]} {settings.get(differs[0])!r}, not "
            f"{run['settings'][differs[0]]!r}; choose another --out"
        )


def _one(
    task: Task, settings: TaskSettings, label: str, config: ModelConfig, folder: Path, device: torch.device
) -> Outcome:
    """Train and test one model, or read what an earlier start found."""
    if (folder / RESULT).exists():
        say(f"{task.name}, {label}: done before, in {folder}")
        return _read(folder / RESULT, config)
    folder.mkdir(parents=True, exist_ok=True)
    training = TaskTraining(task, settings, config, device)
    parameters = count_parameters(config)
    shape = f"{config.d_model}x{config.n_layers}, {parameters:,} parameters"
    say(f"{task.name}, {label}: {shape}, at most {settings.steps:,} steps on {device}")
    training.run(folder, _Progress(f"{task.name}, {label}", settings))
    save(training.model, folder / "model", {"task": task.name, "settings": to_dict(settings)}, overwrite=True)

    def tell(one: Measured) -> None:
        say(f"{task.name}, {label}: length {format_size(one.length)}, {percent(one.accuracy)} of {one.samples:,}")

    autocast = autocast_dtype(settings.precision, device)
    measured = measure(task, training.model, settings, test_lengths(settings), autocast, tell)
    outcome = Outcome(
        label, config.d_model, parameters, training.is_solved, tuple(training.looks), tuple(measured),
        training.best.step if training.best else None,
    )  # fmt: skip
    write_whole(folder / RESULT, json.dumps(asdict(outcome), indent=1) + "\n")
    return outcome


def _read(path: Path, config: ModelConfig) -> Outcome:
    """What an earlier start found. Raises InputError when the file is damaged, or of a model of another size."""
    try:
        # Older results do not say d_model; it follows from the parameters.
        outcome = from_dict(Outcome, {"d_model": config.d_model, **read_json(path)}, str(path))
    except InputError as error:
        raise InputError(f"{error}; delete the file, and the same command tests the model again") from None
    parameters = count_parameters(config)
    if outcome.parameters != parameters:
        raise InputError(
            f"{path}: is of a model with {outcome.parameters:,} parameters, not {parameters:,}; choose another --out"
        )
    return outcome


class _Progress:
    """A line now and then on stderr: step, loss, accuracy, and how long it may still take."""

    def __init__(self, work: str, settings: TaskSettings) -> None:
        self._work, self._settings = work, settings
        self._last = 0.0
        self._first: Look | None = None

    def __call__(self, look: Look) -> None:
        self._first = self._first or look
        now, over = time.monotonic(), look.step >= self._settings.steps
        if not over and now - self._last < PLAIN_EVERY:
            return
        self._last = now
        pace = (look.seconds - self._first.seconds) / max(look.step - self._first.step, 1)
        left = f", {pace * (self._settings.steps - look.step):,.0f} s left at most" if pace and not over else ""
        at = format_size(self._settings.stop_length)
        far = "" if look.far is None else f", at length {at} {percent(look.far)}"
        say(
            f"{self._work}: step {look.step:,}/{self._settings.steps:,}, loss {look.loss:.4g}, on fresh samples "
            f"{look.check_loss:.4g}, accuracy {percent(look.accuracy)}{far}, {look.seconds:.0f} s{left}"
        )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}"
