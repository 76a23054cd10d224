"""One run of a sweep: trained, scored on the common targets, gone on with, and what its figures are made of."""

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from pretrain_runs import SMALL

import dnamamba
from dnamamba.cli import cli
from dnamamba.corpus import open_corpus
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import Splits
from dnamamba.sweep import worker
from dnamamba.sweep.plan import make_plan, settle
from dnamamba.sweep.results import read_results
from dnamamba.sweep.streams import context_losses
from dnamamba.sweep.targets import choose_targets
from dnamamba.sweep.worker import run_one

SHORT = {**SMALL, "curriculum": {**SMALL["curriculum"], "total_tokens": 8 * 1024}}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep of two runs, the first of which is done."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "small.yaml").write_text(yaml.safe_dump(SHORT))
    variants = {"one": [], "two": ["model.d_state=4"]}
    plan = make_plan("ablation", str(folder / "small.yaml"), variants, [], [], targets=8192, seed=3)
    plan = settle(plan, folder / "out", lambda text: None)
    run_one(folder / "out", "one")
    return plan, folder / "out"


def test_the_losses_are_the_model_s_on_the_common_targets(sweep):
    plan, out = sweep
    folder = out / "runs" / "one"
    corpus = open_corpus(
        [str(out / "genomes.zarr")], Splits.from_json(json.loads((folder / "splits.json").read_text()))
    )
    targets = choose_targets(corpus, plan.contexts, DNA, targets=8192, seed=3)
    model = dnamamba.load(folder)
    for context in (64, 256):
        kept = np.load(folder / "losses" / "one" / f"{context}.npy")
        np.testing.assert_allclose(kept, context_losses(model, corpus, targets, context), atol=1e-5)


def test_the_result_says_what_the_run_s_own_figures_say(sweep):
    plan, out = sweep
    (one,), left_out = read_results(plan, out)
    metrics = json.loads((out / "runs" / "one" / "metrics.json").read_text())
    assert left_out == ()
    assert one.figures["parameters"] == metrics["parameters"]
    assert one.figures["tokens"] == metrics["tokens"] == 8 * 1024
    assert one.figures["training_hours"] == pytest.approx(sum(s["seconds"] for s in metrics["stages"]) / 3600, abs=1e-6)
    assert one.figures["peak_memory"] == max(s["peak_memory"] for s in metrics["stages"])
    assert metrics["markov_perplexity"] == {}
    assert metrics["markov_order"] is None
    assert one.context == 256
    assert set(one.scores) == {64, 256}
    assert one.score.targets <= 8192
    assert one.difference == (0.0, 0.0, 0.0)


def test_a_finished_run_is_left_alone_and_a_trained_one_is_only_scored(sweep, monkeypatch):
    _, out = sweep
    folder = out / "runs" / "one"
    monkeypatch.setattr(worker, "pretrain", lambda *arguments, **options: pytest.fail("trains again"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run_one(out, "one")
    (folder / "result.json").unlink()
    (folder / "losses" / "one" / "64.npy").unlink()
    run_one(out, "one")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_that_was_stopped_is_resumed(sweep, monkeypatch):
    _, out = sweep
    calls = []

    def spy(config, folder, *, resume, say):
        calls.append(resume)
        (folder / "pretrain.yaml").touch()
        raise InputError("stopped by SIGTERM")

    monkeypatch.setattr(worker, "pretrain", spy)
    for _ in range(2):
        with pytest.raises(InputError, match="stopped by SIGTERM"):
            run_one(out, "two")
    assert calls == [False, True]


def test_from_the_command_to_the_report_although_a_run_fails(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SHORT))
    command = ["sweep", "ablation", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"), "--targets", "8k"]
    command += ["--variant", "good", "--variant", "bad optimiser.lr=1e30 optimiser.warmup=0 optimiser.clip=1e30"]
    result = CliRunner().invoke(cli, [*command, "--jobs", "2"])
    assert isinstance(result.exception, InputError)
    assert "1 of 2 runs failed, the report holds the others: bad: " in str(result.exception)
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Run bad failed and is not in the tables" in html
    assert "data:image/png;base64," in html
    assert "good" in result.stdout
    rows = (tmp_path / "out" / "runs.csv").read_text().splitlines()
    assert [row.split(",")[:4] for row in rows[1:]] == [["good", "", "256", "64"], ["good", "", "256", "256"]]


@pytest.mark.parametrize("option", [("--jobs", "0"), ("--seed", "-1")])
def test_what_cannot_be_leaves_nothing_behind(tmp_path, option):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SHORT))
    command = ["sweep", "ablation", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"), *option]
    assert CliRunner().invoke(cli, command).exit_code != 0
    assert not (tmp_path / "out").exists()


def test_contexts_that_are_left_out_are_in_the_report(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SHORT))
    command = ["sweep", "context", "--train", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, [*command, "--targets", "8k", "--contexts", "64,2k", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    note = "curriculum.tokens_per_step: 1024 is no multiple of all [2048]"
    assert "run 2k is left out: " in result.stdout
    assert "run 2k is left out: " in result.stderr  # before the runs begin
    assert note in result.stdout
    assert note in (tmp_path / "out" / "report.html").read_text()
