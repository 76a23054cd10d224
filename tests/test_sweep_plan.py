"""Plans of sweeps over runs: which configurations they are, that they can be compared, and what bad input says."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from pretrain_runs import SMALL

from dnamamba.config import to_dict
from dnamamba.errors import InputError
from dnamamba.model import ModelConfig
from dnamamba.model.parameters import count_parameters
from dnamamba.pipelines.store import open_store
from dnamamba.pretrain_config import read_config
from dnamamba.sweep import published
from dnamamba.sweep.ablation import VARIANTS, ablation_plan, parse_variants
from dnamamba.sweep.carry_out import carry_out
from dnamamba.sweep.kept import claim_folder
from dnamamba.sweep.plan import PLAN, make_plan, read_plan, settle, training_flops
from dnamamba.sweep.served import served_plan
from dnamamba.sweep.sizes import parse_sizes, size_plan
from dnamamba.sweep.train_contexts import context_plan


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return str(path)


def test_the_sizes_are_the_recipes():
    plan = size_plan(None, [], ["s.zarr"], "", None, None, "1M", 0)
    assert list(plan.runs) == list(published.SIZES)
    for name, config in plan.runs.items():
        recipe = read_config(f"hg38-{name}", ["evaluation.markov=false"], ["s.zarr"])
        assert config == recipe
    millions = [count_parameters(config.model) for config in plan.runs.values()]
    assert millions == pytest.approx(published.SIZE_PARAMETERS, rel=0.002)
    assert plan.contexts == (1024,)


def test_sizes_as_the_line_has_them_run_smallest_first():
    assert parse_sizes("48x6,0.26M") == {"48x6": (48, 6), "0.26M": (64, 8)}
    plan = size_plan(None, ["optimiser.lr=1e-3"], ["s.zarr"], "0.68M,32x4", "300M", "2k", "1M", 7)
    assert list(plan.runs) == ["32x4", "0.68M"]
    for config in plan.runs.values():
        assert config.curriculum.total_tokens == 300 * 2**20
        assert [(stage.context, stage.share) for stage in config.curriculum.stages] == [(2048, 1.0)]
        assert config.contexts == (2048,) == plan.contexts
        assert config.optimiser.lr == 1e-3
    with pytest.raises(
        InputError, match=r"--sizes: want some of 0.26M, .* 41M, or WIDTHxBLOCKS such as 48x6; got '2M'"
    ):
        parse_sizes("1.4M,2M")


def test_training_flops_by_hand():
    config = ModelConfig(d_model=32, n_layers=2)  # d_inner 64, dt_rank 2, 16 states
    block = 32 * 128 + 64 * 4 + 64 * (2 + 32) + 2 * 64 + 64 * 32
    assert training_flops(config) == 3 * (2 * (2 * block + 16 * 32) + 9 * 2 * 64 * 16)
    assert training_flops(replace(config, mixer="s4d")) < training_flops(config)


def test_contexts_follow_the_config_s_curriculum(base):
    plan, left_out = context_plan(None, [], ["s.zarr"], "1k,16k,1M", None, "64k", 0)
    assert left_out == ()
    assert [len(config.curriculum.stages) for config in plan.runs.values()] == [1, 5, 11]
    assert [config.contexts for config in plan.runs.values()] == [(1024,), (16384,), (2**20,)]
    assert plan.contexts == (1024, 16384, 2**20)
    assert [plan.context_of(name) for name in plan.runs] == [1024, 16384, 2**20]
    assert len({config.curriculum.total_tokens for config in plan.runs.values()}) == 1
    alone, _ = context_plan(base, [], [], "64,256", "1k", "64k", 0)  # one step: too few for the config's own two stages
    assert [[stage.context for stage in config.curriculum.stages] for config in alone.runs.values()] == [[64], [256]]
    for text in ("", "full", "1k,full"):
        with pytest.raises(InputError, match="want --contexts such as 1k,4k,16k"):
            context_plan(None, [], ["s.zarr"], text, None, "64k", 0)
    with pytest.raises(InputError, match=r"run 3k: .*curriculum.tokens_per_step: 1024 is no multiple"):
        context_plan(base, [], [], "3k", None, "64k", 0)


def test_contexts_that_cannot_be_trained_are_left_out_and_said(base):
    plan, left_out = context_plan(base, [], [], "64,100,256,2k", None, "64k", 0)
    assert list(plan.runs) == ["64", "256"]
    assert plan.contexts == (64, 256)
    assert [line.partition(": ")[0] for line in left_out] == ["run 100 is left out", "run 2k is left out"]
    assert left_out[1].endswith("curriculum.tokens_per_step: 1024 is no multiple of all [2048]")
    with pytest.raises(InputError, match=r"run 64: .*curriculum.total_tokens: 1 leaves no step"):
        context_plan(base, [], [], "64,2k", "1", "64k", 0)
    with pytest.raises(InputError, match=r"run 64: .*model.d_modle: unknown key"):
        context_plan(base, ["model.d_modle=1"], [], "64,256", None, "64k", 0)


def test_variants_by_name_with_their_own_overrides(base):
    assert parse_variants(["a", "b model.d_state=4 'model.selective=[dt, B]'"]) == {
        "a": [],
        "b": ["model.d_state=4", "model.selective=[dt, B]"],
    }
    assert len(parse_variants([])) == len(VARIANTS)
    plan = ablation_plan(base, [], [], ["a", "one model.d_state=1", "s4d model.mixer=s4d"], None, "256", "64k", 0, True)
    counts = {name: count_parameters(config.model) for name, config in plan.runs.items()}
    assert plan.overrides["a"] == ()
    assert plan.overrides["one"][0] == "model.d_state=1"
    assert plan.overrides["one"][1].startswith("model.d_model=")
    assert all(abs(count / counts["a"] - 1) < 0.05 for count in counts.values())
    same = ablation_plan(base, [], [], ["a", "one model.d_state=1"], None, "256", "64k", 0, False)
    assert {config.model.d_model for config in same.runs.values()} == {16}
    for text, message in (
        ("", "want a name and then key.path=value, got ''"),
        ("model.d_state=1", "want a name and then"),
        ("b d_state", "got 'd_state'"),
        ("b 'x", "No closing quotation"),
    ):
        with pytest.raises(InputError, match=message):
            parse_variants([text])
    with pytest.raises(InputError, match="there is a run 'a' already"):
        parse_variants(["a", "a model.d_state=1"])


@pytest.mark.parametrize(
    "variants, message",
    [
        ({}, "no run is wanted"),
        ({"a/b": []}, "run 'a/b': want a name of letters"),
        ({"..": []}, r"run '\.\.': want a name"),
        ({"a": ["model.d_modle=1"]}, "run a: .*model.d_modle: unknown key; is model.d_model meant"),
        ({"a": [], "b": ["simulate.seed=2"]}, "run b: has another simulate than run a"),
        ({"a": [], "b": ["split.method=fraction"]}, "run b: has another split than run a"),
        ({"a": [], "b": ["model.alphabet=bytes", "model.vocab_size=256"]}, "run b: has another alphabet"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(base, variants, message):
    with pytest.raises(InputError, match=message):
        make_plan("ablation", base, variants, [], [], targets=1, seed=0)


def test_genomes_are_simulated_once_for_all_runs_and_the_plan_is_kept(base, tmp_path):
    plan = make_plan("ablation", base, {"a": [], "b": ["model.d_state=4"]}, [], [], targets=4096, seed=0)
    out, told = tmp_path / "out", []
    settled = settle(plan, out, told.append)
    assert {config.stores for config in settled.runs.values()} == {(str(out / "genomes.zarr"),)}
    assert all(config.split_in_force == plan.runs["a"].split_in_force for config in settled.runs.values())
    assert read_plan(out) == settled
    assert not any(config.evaluation.markov for config in settled.runs.values())
    made = (out / "genomes.zarr" / "sim_human" / "zarr.json").stat().st_mtime_ns
    assert settle(plan, out, told.append) == settled
    assert (out / "genomes.zarr" / "sim_human" / "zarr.json").stat().st_mtime_ns == made
    assert any("going on" in line for line in told)
    other = make_plan("ablation", base, {"a": []}, [], [], targets=4096, seed=0)
    with pytest.raises(InputError, match="holds a sweep with another runs"):
        settle(other, out, told.append)
    assert json.loads((out / PLAN).read_text()) == json.loads(json.dumps(to_dict(settled)))


def test_runs_whose_context_the_data_cannot_serve_are_left_out_before_anything_is_trained(base, tmp_path):
    keys = ["curriculum.tokens_per_step=256k", "curriculum.total_tokens=1M"]
    plan = settle(context_plan(base, keys, [], "256,16k,128k", None, "4k", 0)[0], tmp_path / "out", lambda text: None)
    served, left_out = served_plan(plan)
    assert list(served.runs) == ["256", "16k"]  # contigs of 30 to 50 kb, the last of them the test
    piece = f"the longest piece of the valid part has {_longest(plan, 'chr2'):,} bases"
    assert left_out == (f"run 128k is left out: {piece}, the context is 128k",)
    with pytest.raises(InputError, match="run 128k is left out"):
        served_plan(replace(plan, runs={"128k": plan.runs["128k"]}))


def test_a_sweep_that_cannot_be_claims_no_folder(base, tmp_path):
    keys = ["curriculum.tokens_per_step=256k", "curriculum.total_tokens=1M"]
    out = tmp_path / "out"

    def begin(stores, contexts):
        plan, _ = context_plan(base, keys, stores, contexts, None, "4k", 0)
        carry_out(plan, out, None, lambda results, figures: pytest.fail("ran"), print)

    with pytest.raises(InputError, match=r"nothere\.zarr"):
        begin([str(tmp_path / "nothere.zarr")], "256")
    assert not out.exists()
    with pytest.raises(InputError, match="run 128k is left out"):
        begin([], "128k")
    assert not list(out.iterdir())
    settle(context_plan(base, keys, [], "256", None, "4k", 0)[0], tmp_path / "other", lambda text: None)
    with pytest.raises(InputError, match="run 128k is left out"):
        begin([str(tmp_path / "other" / "genomes.zarr")], "128k")
    assert not list(out.iterdir())


def test_the_genomes_of_a_sweep_that_is_there_stay(base, tmp_path):
    keys = ["curriculum.tokens_per_step=256k", "curriculum.total_tokens=1M"]
    (plan, _), out = context_plan(base, keys, [], "128k", None, "4k", 0), tmp_path / "out"
    settle(plan, out, lambda text: None)
    with pytest.raises(InputError, match="run 128k is left out"):
        carry_out(plan, out, None, lambda results, figures: pytest.fail("ran"), print)
    assert {path.name for path in out.iterdir()} == {PLAN, "genomes.zarr"}


def test_another_sweep_is_told_by_the_innermost_key(base, tmp_path):
    def plan(name, stores, *keys):
        return to_dict(make_plan("size", base, {name: []}, keys, stores, targets=1, seed=0))

    long = "/a/folder/whose/name/is/long/enough/that/nothing/after/it/would/be/shown/"
    first = plan("a", [f"{long}one.zarr"])
    claim_folder(tmp_path / "out", PLAN, first)
    assert claim_folder(tmp_path / "out", PLAN, first)
    for other, message in (
        (plan("a", [f"{long}one.zarr"], "curriculum.total_tokens=80k"),
         "another runs.a.curriculum.total_tokens: 40960 there, 81920 now; choose another --out or delete"),
        (plan("a", [f"{long}two.zarr"]), f'another runs.a.stores[0]: "{long}one.zarr" there, "{long}two.zarr" now;'),
        (plan("a", [f"{long}one.zarr", "b.zarr"]), 'another runs.a.stores[1]: nothing there, "b.zarr" now;'),
        (plan("b", [f"{long}one.zarr"]), "... there, nothing now;"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=re.escape(message)):
            claim_folder(tmp_path / "out", PLAN, other)


def _longest(plan, contig):
    store = open_store(next(iter(plan.runs.values())).stores[0])
    return max(store[name].sizes[contig] for name in store.assemblies)
