"""The training step: slices of a window change nothing but rounding, and say how far the step is."""

import contextlib
import io
import json

import pytest
from pretrain_runs import SMALL, write_config

from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.report import read_log
from dnamamba.training import Pretraining

STEPS = 8  # four of each stage
CURRICULUM = {**SMALL["curriculum"], "total_tokens": STEPS * 1024}


def _run(folder, tokens, stores=()):
    """A run and what it said on stderr."""
    folder.mkdir()
    split = {"method": "contig", "valid": ["chr2"], "test": ["chr3"]}
    changes = {"run": {"micro_batch_tokens": tokens}, "curriculum": CURRICULUM, "split": split}
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        pretrain(read_config(str(write_config(folder, **changes)), [], stores), folder / "run")
    return folder / "run", said.getvalue().splitlines()


@pytest.fixture(scope="module")
def sliced(tmp_path_factory):
    """A run whose windows of 256 go through the model 100 tokens at a time; its lines; the shares told, by step."""
    told = {}

    def listen(self, batch, share):
        told.setdefault(batch.step, []).append((batch.micro + share) / batch.micros)
        original(self, batch, share)

    original = Pretraining._tell
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretraining, "_tell", listen)
        patch.setattr("dnamamba.progress.PLAIN_EVERY", 0.0)
        return *_run(tmp_path_factory.mktemp("training") / "sliced", 100), told


def test_a_run_in_slices_learns_what_a_run_in_whole_windows_does(sliced, tmp_path):
    run, _, _ = sliced
    plan = json.loads(next((run / "checkpoints").glob("step-*/state.json")).read_text())["memory_plan"]
    assert plan == {"64": [1, 64], "256": [1, 100]}
    whole, _ = _run(tmp_path / "whole", 1024, [str(run / "genomes.zarr")])
    ours, theirs = ([row for row in read_log(folder / "logs") if "loss" in row] for folder in (run, whole))
    assert len(ours) == STEPS
    for name in ("loss", "gradient_norm"):
        assert [row[name] for row in ours] == pytest.approx([row[name] for row in theirs], rel=1e-3)


def test_a_step_says_how_far_it_is(sliced):
    _, _, told = sliced
    assert set(told) == set(range(STEPS))
    for shares in told.values():
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)
    assert len(told[0]) == 16  # windows
    assert len(told[STEPS - 1]) == 4 * 5  # 4 windows in 3 slices, 2 of them taken twice


def test_a_long_step_is_shown_before_it_ends(sliced):
    _, said, _ = sliced
    lines = [line for line in said if line.startswith(f"step {STEPS}/{STEPS}")]
    shares = [int(line.split()[2].rstrip("%")) for line in lines[:-1]]
    assert len(shares) == 4 * 5 - 1  # the last piece ends the step, which has a line of its own
    assert shares == sorted(shares)
    assert shares[-1] < 100
    assert all(line.endswith("% of it done") for line in lines[:-1])
    assert "loss" in lines[-1]
