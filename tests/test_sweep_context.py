"""`dnamamba sweep context`: models and a store to a report; goes on where it stopped; what it says of bad input."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from random_models import random_model

from dnamamba.cli import cli
from dnamamba.commands.sweep.context import context
from dnamamba.corpus import open_corpus
from dnamamba.errors import InputError
from dnamamba.model_directory import save
from dnamamba.pipelines.simulate.apes import SimulateConfig, simulate_store
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.sweep.context_report import ContextSweep, summary
from dnamamba.sweep.curve import curve_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models and the simulated genomes that their split is of."""
    folder = tmp_path_factory.mktemp("sweep")
    simulate_store(folder / "apes.zarr", SimulateConfig(bases=90_000, contigs=3, far_share=0.4, repeats=0.2))
    split = SplitConfig(method="contig", valid=("chr2",), test=("chr3",))
    splits = open_corpus([str(folder / "apes.zarr")], split).splits.to_json()
    for name, seed in (("one", 0), ("two", 1)):
        save(random_model(seed, d_model=16, n_layers=1), folder / name, {"splits": splits})
    save(random_model(0, d_model=16, n_layers=1), folder / "other", {"splits": {**splits, "format": "x"}})
    return folder


def _run(folder, *arguments, models=("one", "two"), out="out"):
    command = ["sweep", "context", *(str(folder / name) for name in models), "--store", str(folder / "apes.zarr")]
    result = CliRunner().invoke(cli, [*command, "--out", str(folder / out), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def finished(folder):
    result = _run(folder, "--contexts", "64,1k,1M,full", "--targets", "16k")
    return result, folder / "out"


def test_the_report_holds_everything_and_nothing_from_outside(finished):
    result, out = finished
    html = (out / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 2
    assert not re.search(r"https?://|<script|<link", html)
    for text in ("one", "two", "oracle: step", "soft-masked", "no copy", "context 1M is left out"):
        assert text in html
    assert "context 1M is left out" in result.stderr
    assert "16,384 target bases in 64 blocks; M bases through a model at each context: 64 " in result.stderr


def test_the_csv_says_what_the_losses_say(finished):
    result, out = finished
    rows = list(csv.DictReader((out / "curve.csv").open()))
    assert {(row["model"], row["context"]) for row in rows} == {
        (m, c) for m in ("one", "two") for c in ("64", "1k", "full")
    }
    for row in rows:
        if row["class"] == "all":
            losses = np.load(out / "losses" / row["model"] / f"{row['context']}.npy")
            assert float(row["bits"]) == pytest.approx(np.nanmean(losses.astype(float)) / np.log(2), abs=1e-5)
            assert float(row["low"]) < float(row["perplexity"]) < float(row["high"])
            assert f"{float(row['perplexity']):.4f}" in result.stdout
    oracle = [float(row["oracle_total"]) for row in rows if row["model"] == "one" and row["class"] == "all"]
    assert oracle[0] == 0 < oracle[1] < oracle[2] < 0.4 * 1.8


def test_the_same_command_goes_on_and_ends_with_the_same_bytes(folder, finished):
    _, out = finished
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "losses" / "one" / "1k.npy").unlink()
    (out / "losses" / "two" / "64.npy").write_bytes(b"cut short")
    (out / "report.html").unlink()
    kept = (out / "losses" / "one" / "64.npy").stat().st_mtime_ns
    result = _run(folder, "--contexts", "64,1k,1M,full", "--targets", "16k")
    assert "going on" in result.stderr
    assert (out / "losses" / "one" / "64.npy").stat().st_mtime_ns == kept
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_other_inputs_want_another_folder(folder, finished):
    with pytest.raises(InputError, match="holds a sweep with another targets: 16384 there, 8192 now; choose another"):
        _run(folder, "--contexts", "64,1k,1M,full", "--targets", "8k")
    with pytest.raises(InputError, match=r"is not empty and holds no sweep.json"):
        _run(folder, "--contexts", "64", out="one")


@pytest.mark.parametrize(
    "models, arguments, message",
    [
        (("one",), ["--contexts", "0"], "--contexts: want 1 base or more, got 0"),
        (("one",), ["--contexts", "long"], "--contexts: want a size such as .* got 'long'"),
        (("one",), ["--contexts", "1M"], "context 1M is left out: the test part has 0 bases with so much upstream"),
        (("one",), ["--targets", "few"], "--targets: want a size"),
        (("one",), ["--targets", "1k"], "--targets: want 4,096 bases or more, 16 blocks of 256 to resample, got 1k"),
        (("none",), [], "none: no such model directory"),
        (("damaged",), [], "model.safetensors: not the weights|damaged"),
        (("one", "one"), [], "a model is given twice"),
        (("one", "other"), [], "other: was trained with another split than .*one"),
    ],
)
def test_bad_input_is_one_line(folder, models, arguments, message):
    if "damaged" in models and not (folder / "damaged").exists():
        shutil.copytree(folder / "one", folder / "damaged")
        data = bytearray((folder / "damaged" / "model.safetensors").read_bytes())
        data[-3] ^= 1
        (folder / "damaged" / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(InputError, match=message) as caught:
        _run(folder, *arguments, models=models, out="bad")
    assert "\n" not in str(caught.value)
    assert not (folder / "bad").exists()


def test_the_inputs_are_written_down(finished):
    inputs = json.loads((finished[1] / "sweep.json").read_text())
    assert inputs["contexts"] == ["64", "1k", "1M", "full"]
    assert set(inputs["stores"]) == {f"sim_{s}" for s in ("human", "chimpanzee", "bonobo", "gorilla", "orangutan")}


def test_curves_are_of_float32_unless_asked_otherwise(folder, finished):
    assert json.loads((finished[1] / "sweep.json").read_text())["precision"] == "float32"
    # On a CPU "auto" would be float32 too.
    assert next(option for option in context.params if option.name == "precision").default == "float32"
    command = ("--contexts", "64,1k,1M,full", "--targets", "16k", "--precision", "bfloat16")
    assert _run(folder, *command, out="rounded").exit_code == 0
    whole, rounded = (np.load(folder / out / "losses" / "one" / "1k.npy") for out in ("out", "rounded"))
    assert 0 < np.nanmax(np.abs(whole - rounded)) < 0.1
    refused = _run(folder, "--train", "--precision", "bfloat16", models=(), out="trained")
    assert refused.exit_code == 2
    assert "--precision are for finished models" in refused.output


def test_a_gain_that_counts_as_significant_is_not_printed_as_zero(tmp_path):
    losses = np.random.default_rng(0).normal(1.3, 0.2, (64, 32))
    gained = {64: 0.0, 128: 2e-6, 256: 2e-5, 512: 3e-3, 1024: 0.0}  # bits, of each step
    totals = np.cumsum(list(gained.values()))
    points = curve_of({c: losses - total * np.log(2) for c, total in zip(gained, totals, strict=True)})
    text = summary(ContextSweep(("one",), "a title", None, {}, {"one": {"all": points}}, None, 0), tmp_path)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["128"].endswith(" +2.0e-06 (+2.0e-06 to +2.0e-06)")
    assert lines["256"].endswith(" +2.0e-05 (+2.0e-05 to +2.0e-05)")
    assert lines["512"].endswith(" +0.00300 (+0.00300 to +0.00300)")
    assert lines["1k"].endswith(" +0.00000 (+0.00000 to +0.00000)")
    assert "every step up to 512 gains significantly" in text
