"""Fine-tuning from end to end: classes that can be told are told, a resumed run is the same to the bit."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from species_cases import LETTERS, composed_dna, labelled_files, tiny_model, write_fasta

import dnamamba
from dnamamba.cli import cli
from dnamamba.config import from_dict, to_dict
from dnamamba.errors import InputError
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.species import head_fitting
from dnamamba.species.finetune import finetune
from dnamamba.species.finetune_config import FinetuneConfig, read_config
from dnamamba.species.training import Trainer


def _config(folder, **changes):
    data = {
        "model": str(tiny_model(folder)),
        "data": {
            "fasta": list(labelled_files(folder)),
            "split": {"method": "contig", "valid": ["chr3"], "test": ["chr4"]},
        },
        "stages": [{"length": 64, "steps": 12, "windows": 12}, {"length": 128, "steps": 4, "windows": 6}],
        "loss": {"first": 16},
        "optimiser": {"lr": 2e-2},
        "measure": {
            "lengths": [32, 128],
            "windows": 20,
            "valid_windows": 10,
            "ks": [2],
            "kmer_windows": 30,
            "points": 4,
        },
        "run": {"device": "cpu"},
    }
    return from_dict(FinetuneConfig, {**data, **changes})


def test_what_can_be_told_is_told(tmp_path):
    stages = [{"length": 64, "steps": 24, "windows": 12}, {"length": 128, "steps": 12, "windows": 12}]
    outcome = finetune(_config(tmp_path, stages=stages, head={"lr_factor": 3, "probe": None}), tmp_path / "run")
    assert outcome.log[0]["accuracy_128"] < 0.5  # a head that says nothing
    assert [row.length for row in outcome.rows] == [32, 128]
    assert outcome.rows[1].ours.value > 0.9
    assert outcome.rows[1].kmers.value > 0.9
    assert outcome.rows[1].ours.windows == 60
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["classes"] == ["red", "green", "blue"]
    assert metrics["lengths"]["128"]["accuracy"] == outcome.rows[1].ours.value
    assert sum(map(sum, metrics["lengths"]["128"]["confusion"])) == 60
    assert set(metrics["lengths"]["32"]["unlike_auroc"]) == {"random", "shuffled"}
    assert any("case folded" in control for control in metrics["controls"])
    report = (tmp_path / "run" / "report.html").read_text()
    assert report.count("data:image/png") == 4
    classifier = dnamamba.load_classifier(tmp_path / "run")
    assert classifier.config.temperature_lengths == (32, 128)
    assert classifier.config.unlike_lengths == (32, 128)
    assert classifier.config.lengths == (16, 32, 64, 128)
    assert classifier.extra["finetune"]["stages"][1]["length"] == 128


def test_the_result_says_how_many_windows_lie_over_insertions(tmp_path, monkeypatch):
    monkeypatch.setattr("dnamamba.species.finetune.FEWEST_INSERTIONS", 8)  # 10 a class are planted
    rng = np.random.default_rng(0)
    ancestor = {f"chr{c}": composed_dna(4000, 0.4, c) for c in range(1, 5)}
    files = []
    for label, name in enumerate("XY"):
        made = {}
        for contig, bases in ancestor.items():
            at = np.arange(5) * 800 + 100 + 300 * label  # each class has five of its own in a contig
            made[contig] = np.insert(bases, np.repeat(at, 60), np.tile(rng.choice(LETTERS, 60), 5))
        files.append(f"{name}={write_fasta(tmp_path / f'{name}.fa', made)}")
    base = to_dict(_config(tmp_path))
    few = {"stages": [{"length": 64, "steps": 1, "windows": 6}], "measure": {**base["measure"], "lengths": [64]}}
    data = {**base["data"], "fasta": files}
    config = from_dict(FinetuneConfig, {**base, **few, "data": data, "insertions": 0.25})
    assert any(
        note == "25% of the training windows lie over insertions, of which there are: X 10, Y 10"
        for note in finetune(config, tmp_path / "run").notes
    )
    # Genomes that share nothing have none.
    assert any(
        note == "too few insertions to lay training windows over (red 0, green 0, blue 0): all lie as sampling=paired"
        for note in finetune(from_dict(FinetuneConfig, {**base, **few}), tmp_path / "unlike").notes
    )


def test_the_head_is_fitted_once_more_and_kept_where_it_is_better(tmp_path):
    """After one step at a learning rate of nothing the head says nothing: any fitted one is better."""
    base = to_dict(_config(tmp_path))
    still = {**base, "stages": [{"length": 64, "steps": 1, "windows": 6}], "optimiser": {"lr": 1e-9}}
    head = {"probe": None, "refit": 128, "probe_windows": 40}
    outcome = finetune(from_dict(FinetuneConfig, {**still, "head": head}), tmp_path / "run")
    assert any(note.startswith("the head fitted once more") and note.endswith("nats, kept") for note in outcome.notes)
    assert outcome.rows[1].ours.value > 0.9
    # Nothing is kept that is worse: a head that says the opposite.
    head["probe"] = 64
    good = finetune(from_dict(FinetuneConfig, {**still, "head": {**head, "refit": None}}), tmp_path / "good")
    with pytest.MonkeyPatch.context() as patch:
        fitting = head_fitting.probe_head

        def spoilt(model, *args, **kwargs):
            found = fitting(model, *args, **kwargs)
            if args[0].length == 128:
                model.evidence.weight.data.neg_()
            return found

        patch.setattr(head_fitting, "probe_head", spoilt)
        kept = finetune(from_dict(FinetuneConfig, {**still, "head": head}), tmp_path / "kept")
    assert any(note.endswith("nats, not kept") for note in kept.notes)
    assert [row.ours for row in kept.rows] == [row.ours for row in good.rows]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_the_same_to_the_bit(tmp_path, monkeypatch, workers):
    config = _config(tmp_path, run={"device": "cpu", "workers": workers})
    finetune(config, tmp_path / "whole")
    step = Trainer._one_step

    def stopping(self, rows):
        if self.step == 9:
            signal.raise_signal(signal.SIGTERM)
        return step(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", stopping)
        with pytest.raises(InputError, match="stopped by SIGTERM after step 10"):
            finetune(config, tmp_path / "cut")
    finetune(config, tmp_path / "cut", resume=True)
    for name in ("model.safetensors", "config.json", "logs.csv", "splits.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("train", ["frozen", "lora"])
def test_frozen_and_adapted(tmp_path, train):
    config = _config(tmp_path, head={"train": train, "rank": 2, "pool": "mean", "probe": None})
    finetune(config, tmp_path / "run")
    before = dnamamba.load(config.model).state_dict()
    after = dnamamba.load_classifier(tmp_path / "run").model.lm.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(any(part in name for part in ("in_proj", "x_proj", "out_proj")) for name in changed)
    assert bool(changed) == (train == "lora")


def test_the_paper_s_loss_stands_at_the_end(tmp_path):
    config = _config(
        tmp_path, head={"pool": "last"}, loss={"at": "end", "lm_weight": 0}, sampling="chromosome",
        stages=[{"length": 64, "steps": 2, "windows": 6}],
    )  # fmt: skip
    finetune(config, tmp_path / "run")
    assert dnamamba.load_classifier(tmp_path / "run").config.lengths == (64,)


def test_a_first_head_is_worth_something_before_any_step(tmp_path):
    outcome = finetune(_config(tmp_path, stages=[{"length": 128, "steps": 1, "windows": 6}]), tmp_path / "run")
    assert outcome.log[0]["step"] == 0
    assert outcome.log[0]["accuracy_128"] > 0.8


def test_it_stops_early_with_the_best_weights(tmp_path):
    config = _config(tmp_path, optimiser={"lr": 1e-7})
    config = replace(config, measure=replace(config.measure, early_stop=1, points=8))
    outcome = finetune(config, tmp_path / "run")
    assert outcome.log[-1]["step"] < 16 or outcome.steps == 16
    losses = {row["step"]: row["valid_loss"] for row in outcome.log}
    assert losses[outcome.steps] == min(losses.values())


def test_a_split_that_leaves_a_class_nothing_to_measure(tmp_path):
    config = _config(tmp_path)
    data = replace(config.data, split=SplitConfig(method="contig", valid=("chr3",), test=("chr4",)))
    long = replace(config, data=data, measure=replace(config.measure, lengths=(2**14,)))
    with pytest.raises(InputError, match="the valid part holds no window"):
        finetune(long, tmp_path / "run")


def test_the_command(tmp_path, monkeypatch):
    files = [part for text in labelled_files(tmp_path, contigs=3) for part in ("--fasta", text)]
    line = [
        "finetune", "species", "species-quick", "--model", str(tiny_model(tmp_path)), *files,
        "--out", str(tmp_path / "run"),
        "stages=[{length: 64, steps: 2, windows: 6}]", "loss.first=32", "measure.lengths=[64]", "measure.windows=4",
        "measure.ks=[]", "measure.valid_windows=4", "run.device=cpu", "data.split.margin=16",
    ]  # fmt: skip
    for wrong in (("--fasta", f"z={tmp_path / 'none.fa'}"), (f"measure.unlike=[{tmp_path / 'none.fa'}]",)):
        with pytest.raises(InputError, match=r"none\.fa"):
            CliRunner().invoke(cli, [*line, *wrong], catch_exceptions=False)
        assert not (tmp_path / "run").exists()  # a start that fails leaves the folder free

    def stopped(*_):
        raise KeyboardInterrupt

    resume = ["finetune", "species", "--resume", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patched:
        patched.setattr("dnamamba.species.finetune.measure", stopped)
        with pytest.raises(
            InputError, match=f"stopped by SIGINT before it was done; go on with: dnamamba {' '.join(resume)}"
        ):
            CliRunner().invoke(cli, line, catch_exceptions=False)
    done = CliRunner().invoke(cli, resume, catch_exceptions=False)
    assert done.exit_code == 0
    assert "no k-mer baseline was measured" in done.output
    assert "right calls" in done.output
    with pytest.raises(InputError, match="is not empty"):
        CliRunner().invoke(cli, line, catch_exceptions=False)


@pytest.mark.parametrize("name", ["species-quick", "species-paper"])
def test_configs_of_the_package(name):
    config = read_config(name, [], "m", ("s",), ())
    assert config.furthest >= 2**12
    assert (config.insertions == 0) == (name == "species-paper")  # the paper lays no windows over them
    with pytest.raises(InputError, match=r"head\.pool"):
        read_config(name, ["head.pool=max"], "m", ("s",), ())
    with pytest.raises(InputError, match="no model to fine-tune"):
        read_config(name, [], None, ("s",), ())


def test_nothing_to_train_on():
    with pytest.raises(InputError, match="names nothing to train on"):
        read_config("species-paper", [], "m", (), ())
    with pytest.raises(InputError, match="there are species-paper, species-quick"):
        read_config("species-none", [], "m", ("s",), ())
