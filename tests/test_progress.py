"""Progress: a plain line elsewhere, a bar a stage on a terminal, and the time that is left."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from dnamamba import progress
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.progress import TrainingProgress

CURRICULUM = CurriculumConfig(
    stages=(Stage(context=1024, share=0.5), Stage(context=4096, share=0.5)), tokens_per_step=4096, total_tokens=4096 * 8
)


class _Module:
    def __init__(self, start_step=0):
        self.start_step, self.step_done, self.within_step = start_step, True, []
        self.status = SimpleNamespace(
            step=start_step, loss=1.25, perplexity=3.5, tokens_per_second=2.5e6, data_share=0.013, peak_memory=7.21e9
        )


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def _run(shown, clock, start=0, seconds=10):
    module = _Module(start)
    shown.on_train_start(None, module)
    for step in range(start + 1, 9):
        clock[0] += seconds
        module.status.step = step
        shown.on_train_batch_end(None, module)
    shown.on_train_end(None, module)


def test_plain_lines_come_now_and_then_and_at_the_end_of_a_stage(clock, capsys):
    _run(TrainingProgress(CURRICULUM), clock)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["2/8", "4/8", "6/8", "8/8"]  # every 20 of 10 seconds' steps
    assert lines[0] == (
        "step 2/8  stage 1/2, context 1k  loss 1.2500  perplexity 3.500  2.50M tokens/s  data 1.3%  memory 7.2 GB  "
        "left 0:20, in all 1:00"
    )
    assert "stage 2/2, context 4k" in lines[2]
    assert lines[3].endswith("left 0:00, in all 0:00")


def test_a_resumed_run_counts_its_own_steps_for_the_time_left(clock, capsys):
    _run(TrainingProgress(CURRICULUM), clock, start=5, seconds=20)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("step 6/8  stage 2/2")
    assert first.endswith("left 0:40, in all 0:40")


def test_a_long_step_says_how_far_it_is_but_its_end_has_a_line_of_its_own(clock, capsys):
    shown, module = TrainingProgress(CURRICULUM), _Module()
    shown.on_train_start(None, module)
    for share in (0.5, 1.0):
        clock[0] += 20
        module.within_step[0](share)
    module.status.step = 1
    shown.on_train_batch_end(None, module)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "step 1/8  50% of it done"
    assert second.startswith("step 1/8  stage 1/2, context 1k  loss 1.2500")


def test_a_terminal_gets_a_bar_for_each_stage(clock):
    shown = TrainingProgress(CURRICULUM)
    shown._console = Console(file=io.StringIO(), force_terminal=True, width=200, get_time=lambda: clock[0])
    module = _Module()
    shown.on_train_start(None, module)
    module.within_step[0](0.5)
    assert [task.completed for task in shown._bar.tasks] == [0.5]
    for step in range(1, 7):
        clock[0] += 10
        module.status.step = step
        shown.on_train_batch_end(None, module)
    assert [(task.completed, task.total) for task in shown._bar.tasks] == [(4, 4), (2, 4)]
    assert "stage 1/2, context 1k" in shown._bar.tasks[0].description
    shown.on_train_end(None, module)
    assert shown._bar is None
