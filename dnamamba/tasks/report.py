"""What a task run leaves for people: a table of text, a picture, one HTML file; and its figures as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dnamamba.config import format_size
from dnamamba.html_report import Picture, Section, Table, Text, write_report
from dnamamba.pictures import pyplot, save_picture
from dnamamba.pipelines.text_table import aligned
from dnamamba.tasks.extrapolation import Measured
from dnamamba.tasks.task import Task, TaskSettings
from dnamamba.tasks.training import Look

_WIDTH = "the key is that of Mamba; the others are as wide as gives them as many parameters"


@dataclass(frozen=True)
class Outcome:
    """One model's training and test."""

    name: str
    d_model: int
    """That of the twins of Mamba is the one at which they have as many parameters."""
    parameters: int
    solved: bool
    """Whether it stopped early; else it ran to the last step."""
    looks: tuple[Look, ...]
    measured: tuple[Measured, ...]
    best_step: int | None = None
    """The look whose model was tested; None: the last one, of before this was kept."""

    @property
    def tested(self) -> Look:
        """The look whose model was tested."""
        return next((look for look in self.looks if look.step == self.best_step), self.looks[-1])


def figures(task: Task, settings: TaskSettings, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What metrics.json holds."""
    return {
        "task": task.name,
        "chance": task.chance,
        "settings": asdict(settings),
        "published": dict(task.published),
        "models": {outcome.name: asdict(outcome) for outcome in outcomes},
    }


def training_rows(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table about training."""
    header = ["model", "d_model", "parameters", "steps", "ended", "best at", "loss", "accuracy", "all right", "seconds"]
    rows = []
    for outcome in outcomes:
        last, best = outcome.looks[-1], outcome.tested
        rows.append(
            [
                outcome.name, str(outcome.d_model), f"{outcome.parameters:,}", f"{last.step:,}",
                "solved" if outcome.solved else "last step", f"{best.step:,}", f"{best.check_loss:.2g}",
                percent(best.accuracy), percent(best.whole), f"{last.seconds:.0f}",
            ]
        )  # fmt: skip
    return header, rows


def test_rows(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table about the test: a length a row, a model a column."""
    lengths = sorted({one.length for outcome in outcomes for one in outcome.measured})
    rows = []
    for length in lengths:
        row, samples = [format_size(length)], ""
        for outcome in outcomes:
            one = next((one for one in outcome.measured if one.length == length), None)
            row.append("" if one is None else f"{percent(one.accuracy)} ({100 * one.low:.1f}-{100 * one.high:.1f})")
            samples = f"{one.samples:,}" if one else samples
        rows.append([*row, samples])
    return ["length", *(outcome.name for outcome in outcomes), "samples"], rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(aligned([header, *rows]))


def terminal_text(task: Task, settings: TaskSettings, outcomes: Sequence[Outcome]) -> str:
    """What the command prints."""
    return "\n".join(
        [
            f"{task.title}: trained at length {settings.length:,}, batch {settings.batch}, constant learning rate "
            f"{settings.lr:g}, at most {settings.steps:,} steps; Mamba {settings.d_model}x{settings.n_layers}, "
            f"the others as wide as gives them its parameters; chance {percent(task.chance)}",
            f"A model stops when it is solved: {_solved(settings)}",
            f"Tested is the model of the best look: {_best(settings)}",
            "",
            _table(*training_rows(outcomes)),
            "",
            "Accuracy on fresh samples (95% interval)",
            _table(*test_rows(outcomes)),
            "",
            "Published (arXiv 2312.00752): " + "; ".join(f"{name} {value}" for name, value in task.published.items()),
        ]
    )


def _solved(settings: TaskSettings) -> str:
    also = f" and at {format_size(settings.stop_length)}" if settings.stop_length else ""
    return (
        f"all answers right at length {settings.length:,}{also}, the loss below {settings.stop_loss:g} nats, at "
        f"{settings.stop_checks} looks in a row, {settings.check_every:,} steps apart"
    )


def _best(settings: TaskSettings) -> str:
    far = f"by accuracy at {format_size(settings.stop_length)}, then " if settings.stop_length else "by accuracy "
    return f"{far}at length {settings.length:,}, then by loss, on samples of the looks alone"


def draw(task: Task, outcomes: Sequence[Outcome], trained: int, path: Path) -> None:
    """Draw accuracy over training steps and, where several lengths were tested, over length, into a PNG."""
    plt = pyplot()
    by_length = any(len(outcome.measured) > 1 for outcome in outcomes)
    figure, axes = plt.subplots(1, 1 + by_length, figsize=(11 if by_length else 6, 4), layout="constrained")
    panels = list(axes) if by_length else [axes]
    for outcome in outcomes:
        looks = outcome.looks
        panels[0].plot([one.step for one in looks], [100 * one.accuracy for one in looks], label=outcome.name)
        if by_length:
            tested = outcome.measured
            panels[1].plot([m.length for m in tested], [100 * m.accuracy for m in tested], "o-", label=outcome.name)
            low, high = ([100 * getattr(m, end) for m in tested] for end in ("low", "high"))
            panels[1].fill_between([m.length for m in tested], low, high, alpha=0.2)
    panels[0].set(xlabel="training steps", title=f"{task.title}, length {trained:,}", xscale="log")
    if by_length:
        panels[1].set(xlabel="length (tokens)", title="tested by streaming")
        panels[1].set_xscale("log", base=2)
        panels[1].axvline(trained, color="0.6", lw=0.8, ls=":")
    for panel in panels:
        panel.set(ylabel="accuracy (%)", ylim=(-2, 104))
        panel.axhline(100 * task.chance, color="0.6", lw=0.8, ls="--", label="chance")
        panel.legend(fontsize=8)
    save_picture(figure, path)


def write_html(
    task: Task, settings: TaskSettings, outcomes: Sequence[Outcome], picture: Path, path: Path, facts: Mapping[str, str]
) -> None:
    """Write the report: tables, picture and settings in one HTML file."""
    published = Table(["model", "published"], [list(item) for item in task.published.items()], "arXiv 2312.00752")
    setting_rows = [[key, str(value)] for key, value in (asdict(settings) | dict(facts)).items()]
    write_report(
        path,
        task.title,
        [
            Section("Result", [Table(*test_rows(outcomes), "accuracy, 95% interval"), Picture(picture, "accuracy")]),
            Section("Training", [Table(*training_rows(outcomes), "on samples never trained on"), published]),
            Section(
                "Settings",
                [
                    Text(f"Equal for every model, but for d_model: {_WIDTH}. Solved: {_solved(settings)}."),
                    Text(f"Tested is the model of the best look: {_best(settings)}."),
                    Table(["key", "value"], setting_rows),
                ],
            ),
        ],
    )


def percent(share: float) -> str:
    """A share in percent, one digit; 100.0% is said of no less than all."""
    return "100.0%" if share == 1 else f"{min(100 * share, 99.9):.1f}%"
