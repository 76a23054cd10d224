"""Carried-state training: windows in a row see what one long window sees, and a resumed run is the run itself."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from memory_genomes import random_genome
from pretrain_runs import digest_of, write_config
from random_models import random_model

from dnamamba.carried import CarriedStates
from dnamamba.corpus import build_corpus
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.data import TrainingData, cut_batch, make_batch
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import read_config
from dnamamba.report import read_log

CURRICULUM = CurriculumConfig(
    stages=(Stage(context=32, share=0.5), Stage(context=64, share=0.5)), tokens_per_step=128, total_tokens=128 * 40
)


@pytest.fixture(scope="module")
def data():
    genome = random_genome("g", {"chr1": 700, **{f"chr{i}": 40 + 23 * i for i in range(2, 9)}})
    corpus = build_corpus([("A", [genome], None)], SplitConfig(margin=16))
    return TrainingData(corpus, CURRICULUM, DNA, micro_batch={32: 3, 64: 2}, seed=3, carry_state=True)


@torch.no_grad()
def test_the_state_handed_on_is_that_of_one_long_window(data):
    """Three rows of a micro-batch over 18 steps, beyond an epoch, beside the same bases in one row each."""
    model, states = random_model(dtype=torch.float64), CarriedStates({})
    batches = [data[step, 0] for step in range(18)]
    assert any(batch.reset is not None and batch.reset[:, 1:].any() for batch in batches)
    logits = []
    for batch in batches:
        inputs = cut_batch(batch, DNA, 0, 32)
        each, after = model(inputs["tokens"], states.before(batch, batch.step == 0), inputs["reset"])
        states.keep(batch, after)
        logits.append(each)
    bases = torch.cat([batch.bases for batch in batches], 1)
    none = torch.zeros(3, 32, dtype=torch.bool)
    reset = torch.cat([none if batch.reset is None else batch.reset for batch in batches], 1)
    whole = make_batch(bases, reset, DNA)
    torch.testing.assert_close(torch.cat(logits, 1), model(whole["tokens"], None, whole["reset"])[0])


def test_a_start_token_stands_at_the_start_of_a_stretch_only(data):
    for step in range(30):
        batch = data[step, 0]
        tokens = cut_batch(batch, DNA, 0, batch.context)["tokens"]
        starts = torch.zeros_like(batch.bases, dtype=torch.bool) if batch.reset is None else batch.reset
        assert torch.equal(tokens == DNA.start, starts)


@pytest.mark.parametrize("borders", [[0, 32], [0, 1, 5, 31, 32]], ids=["whole", "slices"])
def test_slices_of_a_batch_are_its_columns(data, borders):
    seen = set()
    for step in range(20):
        batch = data[step, 0]
        whole = make_batch(batch.bases, batch.reset, DNA, batch.before)
        parts = [cut_batch(batch, DNA, start, end) for start, end in pairwise(borders)]
        for name in ("tokens", "targets", "reset"):
            if whole[name] is not None:
                assert torch.equal(torch.cat([part[name] for part in parts], 1), whole[name])
        seen.add(batch.reset is None)
    assert seen == {True, False}


def test_states_come_back_from_a_checkpoint(data):
    first, second = data[3, 0], data[3, 1]
    _, state = random_model()(first.bases)
    states = CarriedStates({})
    states.keep(first, state.detach())
    states.keep(second, state.index([0]).detach())
    tensors = states.tensors()
    back = CarriedStates({"model.x": torch.zeros(1), **{name: tensor.clone() for name, tensor in tensors.items()}})
    assert back.tensors().keys() == tensors.keys()
    assert back.before(second, False).batch == 1
    assert torch.equal(back.before(first, False).layers[2].ssm, state.layers[2].ssm)
    assert back.before(data[20, 0], True) is None  # the next stage
    assert not back.tensors()


def test_ranks_share_the_lanes(data):
    ranks = [
        TrainingData(data.corpus, CURRICULUM, DNA, seed=3, carry_state=True, rank=rank, world_size=2)
        for rank in range(2)
    ]
    alone = TrainingData(data.corpus, CURRICULUM, DNA, seed=3, carry_state=True)
    for step in (0, 7, 25):
        together = torch.cat([rank[step, 0].samples for rank in ranks])
        assert sorted(together.tolist()) == alone[step, 0].samples.tolist()


CHANGES = {"run": {"carry_state": True, "micro_batch_tokens": 192, "keep_checkpoints": 100}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of which every checkpoint is kept; its windows of 256 are trained in slices."""
    folder = tmp_path_factory.mktemp("carried")
    pretrain(read_config(str(write_config(folder, **CHANGES)), [], []), folder / "run")
    return folder / "run"


def _steps(run):
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("where", ["first stage", "stage border", "second stage"])
def test_a_resumed_run_goes_on_with_the_states(where, finished, tmp_path):
    """20 steps of each stage; the checkpoints after a step are thrown away, as if the run had been killed there."""
    wanted = {"first stage": range(1, 20), "stage border": range(20, 21), "second stage": range(21, 40)}[where]
    step = max(one for one in _steps(finished) if one in wanted)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "model.safetensors").unlink()
    for one in _steps(run):
        if one > step:
            shutil.rmtree(run / "checkpoints" / f"step-{one:09d}")
    config = read_config(str(run / "pretrain.yaml"), [], [])
    pretrain(config, run, resume=True)
    assert digest_of(run) == digest_of(finished)


def test_it_learns_other_things_than_windows_by_themselves(finished, tmp_path):
    rows = [row for row in read_log(finished / "logs") if "loss" in row]
    assert len(rows) == 40
    assert rows[-1]["loss"] < 1.42
    assert json.loads((finished / "metrics.json").read_text())["config"]["run"]["carry_state"] is True
    assert np.isfinite([row["gradient_norm"] for row in rows]).all()
