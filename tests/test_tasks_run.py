"""`dnamamba task`: tables, files, what is kept between starts, and what is refused."""

import json
import shutil

import pytest
from click.testing import CliRunner

from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.model import ModelConfig
from dnamamba.model.parameters import count_parameters
from dnamamba.model_directory import load, read_record
from dnamamba.tasks import extrapolation, run, training
from dnamamba.tasks.induction_heads import INDUCTION_HEADS
from dnamamba.tasks.report import percent

OPTIONS = ["--length", "32", "--batch", "4", "--steps", "6", "--d-model", "16", "--longest", "64", "--device", "cpu"]


def start(out, *more, name="induction-heads"):
    answer = CliRunner().invoke(cli, ["task", name, *OPTIONS, "--out", str(out), *more])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.stdout


@pytest.fixture(scope="module", autouse=True)
def _short_tests():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(extrapolation.TOKENS, "cpu", 2**10)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("task") / "run"
    return out, start(out)


def test_the_table_says_what_was_run(finished):
    out, text = finished
    assert "Induction heads: trained at length 32, batch 4, constant learning rate 0.001, at most 6 steps" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["model"][:4] == ["model", "d_model", "parameters", "steps"]
    assert lines["mamba"][1:3] == ["16", "7,024"]
    assert lines["mamba"][3:7] == ["6", "last", "step", lines["mamba"][6]]
    assert lines["length"][1:] == ["mamba", "s4d", "samples"]
    assert {"32", "64"} <= set(lines)
    assert "Published (arXiv 2312.00752): Mamba 100% at every length" in text
    assert all((out / name).stat().st_size > 1000 for name in ("metrics.json", "accuracy.png", "report.html"))


def test_the_figures_are_kept(finished):
    out, _ = finished
    found = json.loads((out / "metrics.json").read_text())
    assert found["task"] == "induction-heads"
    assert list(found["models"]) == ["mamba", "s4d"]
    mamba = found["models"]["mamba"]
    assert [one["length"] for one in mamba["measured"]] == [32, 64]
    assert mamba["looks"][-1]["step"] == 6
    assert mamba["parameters"] == sum(p.numel() for p in load(out / "mamba" / "model").parameters())
    assert load(out / "s4d" / "model").config.mixer == "s4d"
    assert read_record(out / "s4d" / "model").extra["task"] == "induction-heads"


def test_what_is_finished_is_not_done_again(finished, monkeypatch):
    out, text = finished
    monkeypatch.setattr(training.TaskTraining, "run", lambda *_: pytest.fail("trained again"))
    assert start(out) == text
    assert json.loads(start(out, "--json"))["models"]["s4d"]["name"] == "s4d"


def test_selection_is_switched_off_by_parts(tmp_path):
    text = start(
        tmp_path / "run",
        "--selective",
        "none",
        "--selective",
        "C,dt",
        "--selective",
        "dt,B,C",
        name="selective-copying",
    )
    models = json.loads((tmp_path / "run" / "metrics.json").read_text())["models"]
    assert list(models) == ["mamba-none", "mamba-dt-C", "mamba"]
    assert [one["d_model"] for one in models.values()] == [20, 17, 16]
    assert [one["parameters"] for one in models.values()] == [7084, 6747, 7024]
    assert load(tmp_path / "run" / "mamba-none" / "model").config.d_model == 20
    assert "chance 7.1%" in text


def test_another_run_in_the_same_folder_is_refused(finished):
    out, _ = finished
    with pytest.raises(InputError, match="holds a run with steps 6, not 7; choose another --out"):
        start(out, "--steps", "7")
    with pytest.raises(InputError, match="holds a run of induction-heads; choose another --out"):
        start(out, name="selective-copying")


def test_the_folder_of_another_command_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "metrics.json").write_text("of a pretraining")
    with pytest.raises(InputError, match=r"is not empty and holds no settings\.json; choose another --out"):
        start(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "of a pretraining"


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("settings.json", '{"task": "induct', r"settings\.json: not a JSON file"),
        ("settings.json", "[]", r"settings\.json: want a JSON object, got a list"),
        ("settings.json", '{"task": "induction-heads"}', r"settings\.json: want the settings of a run, got None"),
        ("mamba/result.json", '{"name": ', r"result\.json: not a JSON file: .*; delete the file, and the same command"),
        ("mamba/result.json", '{"name": "mamba"}', r"result\.json\.\w+: missing; .*; delete the file"),
    ],
)
def test_a_damaged_file_is_one_line(finished, tmp_path, name, text, message):
    out = shutil.copytree(finished[0], tmp_path / "run")
    (out / name).write_text(text)
    with pytest.raises(InputError, match=message):
        start(out)
    if name.endswith("result.json"):
        (out / name).unlink()
        assert _results(start(out)) == _results(finished[1])


def test_the_twins_have_the_parameters_of_mamba_which_stays_as_it_is():
    settings = INDUCTION_HEADS.settings
    plain = ModelConfig(d_model=64, n_layers=2, vocab_size=16)
    models = run._models(settings, ["mamba", "s4d"], ["none", "dt", "B", "C", "dt,B", "dt,C", "B,C"])
    assert models["mamba"] == plain
    counts = {name: count_parameters(config) for name, config in models.items()}
    assert len(counts) == 9
    assert counts["mamba"] == 66_496
    assert all(abs(count / counts["mamba"] - 1) < 0.015 for count in counts.values()), counts
    assert run._models(settings, ["s4d"], [])["s4d"] == models["s4d"]  # with no Mamba beside it too


def test_a_model_of_another_size_that_is_there_is_refused(finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    file = out / "s4d" / "result.json"
    found = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in found.items() if key != "d_model"}))
    assert _results(start(out)) == _results(finished[1])  # of a version that did not keep the width
    file.write_text(json.dumps({**found, "parameters": 4000}))
    with pytest.raises(InputError, match=r"is of a model with 4,000 parameters, not 6,896; choose another --out"):
        start(out)


def _results(text):
    """What was printed, without the folder."""
    return text.rpartition("\n\n")[0]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--length", "3"], "--length: want 4 or more, got 3"),
        (["--length", "0"], "--length: want 4 or more, got 0"),
        (["--steps", "many"], "--steps: want a size such as"),
        (["--lr", "-1"], "lr: want 1e-12 or more, got -1"),
        (["--stop-length", "2"], "--stop-length: want 0 or 4 or more, got 2"),
        (["--longest", "2"], "longest: want 0 or 4 or more, got 2"),
        (["--selective", "A"], "selective: want some of dt, B, C"),
    ],
)
def test_bad_options_are_one_line(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        start(tmp_path / "run", *options)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_percentage_is_never_rounded_up_to_all():
    assert [percent(share) for share in (1.0, 0.99999, 0.5, 0.0)] == ["100.0%", "99.9%", "50.0%", "0.0%"]


def test_every_task_stands_under_its_name():
    assert {name: task.name for name, task in run.TASKS.items()} == {name: name for name in run.TASKS}
