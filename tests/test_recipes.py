"""The paper's recipes: what each config says, what it costs by its own header, and that it runs where HG38 is."""

import json

import pytest
from memory_genomes import random_genome

from dnamamba.curriculum import CurriculumConfig, Doubling
from dnamamba.errors import InputError
from dnamamba.model import MambaLM
from dnamamba.optimiser import OptimiserConfig
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pretrain import pretrain
from dnamamba.pretrain_config import PretrainConfig, read_config
from dnamamba.recipes import MARK, Measured, cost_line, hours, read_measured, recipes, with_cost

SIZES = {"0.26M": 0.263, "0.68M": 0.684, "1.4M": 1.401, "3.5M": 3.527, "7M": 7.013, "19M": 19.29, "41M": 40.69}


def test_there_are_seven_sizes_and_two_growing_contexts():
    names = {path.stem for path in recipes()}
    assert names == {f"hg38-{size}" for size in SIZES} | {"hg38-1.4M-contexts", "hg38-7M-contexts"}


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_the_papers(size):
    config = read_config(f"hg38-{size}", [], [])
    parameters = sum(p.numel() for p in MambaLM(config.model).parameters())
    assert parameters / 1e6 == pytest.approx(SIZES[size], rel=2e-3)  # as the table rounds them
    curriculum = config.curriculum
    assert [(stage.context, stage.share) for stage in curriculum.stages] == [(2**10, 1.0)]
    assert (curriculum.tokens_per_step, curriculum.total_steps) == (2**20, 10_000)
    assert config.stores == ("hg38.zarr",)
    assert config.optimiser == OptimiserConfig(
        lr=8e-3, betas=(0.9, 0.95), weight_decay=0.1, warmup=0.1, clip=1.0, lr_end=0.1
    )


@pytest.mark.parametrize("size", ["1.4M", "7M"])
def test_contexts_double_for_two_epochs_each(size):
    config = read_config(f"hg38-{size}-contexts", [], [])
    assert config.model == read_config(f"hg38-{size}", [], []).model
    curriculum = config.curriculum
    assert [stage.context for stage in curriculum.stages] == [2**power for power in range(10, 21)]
    assert (curriculum.tokens_per_step, curriculum.total_steps) == (2**24, 20_000)
    epochs = [steps * 2**24 / (34_021 * 2**17) for steps in curriculum.stage_steps]
    assert epochs[:-1] == pytest.approx([2.0] * 10, abs=0.01)
    assert epochs[-1] > 50
    shorter = read_config(f"hg38-{size}-contexts", ["curriculum.doubling.last=4k"], [])
    assert [stage.context for stage in shorter.curriculum.stages] == [2**10, 2**11, 2**12]


@pytest.mark.parametrize("path", recipes(), ids=lambda path: path.stem)
def test_the_header_says_what_the_measured_table_gives(path):
    text = path.read_text()
    wanted = cost_line(read_config(str(path), [], []), read_measured())
    assert [line for line in text.splitlines() if line.startswith(MARK)] == [wanted], "run python -m dnamamba.recipes"
    assert with_cost(text.replace("Wants ", "Wants 9 "), wanted) == text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_hours_add_up_over_the_stages():
    measured = Measured(device="X", tokens_per_second={"64x8": {"1k": 1000.0, "4k": 250.0}})
    curriculum = CurriculumConfig(doubling=Doubling(last=2**13), tokens_per_step=2**13, total_tokens=2**13 * 4000)
    config = PretrainConfig(model=read_config("hg38-0.26M", [], []).model, curriculum=curriculum)
    rates = [1000, 500, 250, 250]  # 2k lies between the two in the logarithms; past 4k nothing was measured
    assert hours(config, measured) == pytest.approx(sum(1000 * 2**13 / rate for rate in rates) / 3600)
    line = cost_line(config, measured)
    assert line.startswith(f"{MARK}25 hours on one X for 0.0 G tokens; hours to 1k 9, 4k ")
    with pytest.raises(InputError, match="no tokens a second of 128x12; there are 64x8"):
        hours(read_config("hg38-1.4M", [], []), measured)


def test_a_recipe_runs_where_the_store_is(tmp_path, monkeypatch):
    genome = random_genome("hg38", {"chr1": 60_000, "chr2": 40_000})
    ingest_arrays(((n, "", bases) for n, bases in genome.contigs.items()), tmp_path / "hg38.zarr", assembly="hg38")
    monkeypatch.chdir(tmp_path)
    small = ["model.d_model=16", "model.n_layers=1", "curriculum.doubling.last=2k", "curriculum.tokens_per_step=4k"]
    few = ["curriculum.total_tokens=256k", "evaluation.contexts=[1k]", "evaluation.targets=1k", "evaluation.points=1"]
    pretrain(read_config("hg38-1.4M-contexts", [*small, *few], []), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [stage["context"] for stage in metrics["stages"]] == [1024, 2048]
    assert metrics["trained_on"] == "genomes hg38"
