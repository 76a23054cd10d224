"""Pretraining from stores to a model directory: open, split, train stage by stage, measure beside a baseline."""

import json
import logging
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.loggers import Logger

from dnamamba.checkpoints import BEST_FILE, Best, Checkpoint, checkpoint_of_step, latest_checkpoint, save_checkpoint
from dnamamba.config import format_size, from_dict, read_yaml, to_dict
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.data import TrainingData
from dnamamba.device import autocast_dtype, choose_device
from dnamamba.errors import InputError
from dnamamba.evaluate import Difference, Score, choose_targets, compare, summarise, table, target_losses
from dnamamba.letters import vocabulary_of
from dnamamba.loader import ReadAhead, training_loader
from dnamamba.loggers import make_loggers
from dnamamba.markov import fit_markov
from dnamamba.memory import MemoryPlan, describe, plan_by_tokens, plan_from_json, plan_memory, plan_to_json
from dnamamba.model import MambaLM
from dnamamba.model_directory import save
from dnamamba.parallel.launch import check_launch, errors_by_name, find_launch, meet
from dnamamba.parallel.plan import check_pieces, shared_plan
from dnamamba.parallel.processes import Processes
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pipelines.splits import Splits
from dnamamba.pretrain_config import PretrainConfig, read_config
from dnamamba.progress import TrainingProgress
from dnamamba.report import draw_contexts, draw_training, read_log, stage_figures
from dnamamba.saver import Saver
from dnamamba.training import Pretraining
from dnamamba.validation import Validation, validation_steps

CONFIG_FILE, SPLITS_FILE, PLAN_FILE = "pretrain.yaml", "splits.json", "memory_plan.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a finished run leaves."""

    folder: Path
    title: str
    """What was trained on; says so when it is simulated."""
    scores: Mapping[int, Mapping[str, Score]]
    """Context -> {"model", "Markov order k"} -> score on the test part."""
    differences: Mapping[int, Difference]
    """Context -> the model's bits a base minus the baseline's."""
    seconds: float


@errors_by_name()
def pretrain_command(
    path: str | None, overrides: Sequence[str], stores: Sequence[str], out: Path | None, resume: bool
) -> str:
    """`dnamamba pretrain`: run and return the text it prints."""
    if resume:
        if out is None:
            raise InputError("--resume: say which run with --out RUN")
        if not (out / CONFIG_FILE).exists():
            raise InputError(f"{out}: holds no {CONFIG_FILE}, so there is no run to resume")
        config = from_dict(PretrainConfig, read_yaml(out / CONFIG_FILE))
    else:
        config = read_config(path, overrides, stores)
    processes = join(config)
    if not resume:
        out = processes.from_first(lambda: _empty_folder(out))
    assert out is not None
    outcome = pretrain(config, out, resume=resume, say=_say, processes=processes)
    if not processes.is_first:
        return ""
    made = {
        "config.json, model.safetensors": "the model, for dnamamba.load and dnamamba evaluate",
        "metrics.json": "the figures of the table and how they were made",
        "figures/": "training.png, contexts.png",
        "logs/": "CSV and TensorBoard",
    }
    paths = "\n".join(f"  {outcome.folder / name!s:<50} {what}" for name, what in made.items())
    title = f"Held-out perplexity, {outcome.title}"
    verdict = "\n".join(
        f"context {format_size(context)}: {abs(d.bits):.4f} bits a base {'below' if d.bits < 0 else 'above'} the "
        f"baseline (95% interval of the difference {d.low:+.4f} to {d.high:+.4f})"
        for context, d in outcome.differences.items()
    )
    return f"\n{title}\n{table(outcome.scores)}\n{verdict}\n\nMade in {outcome.seconds:.0f} s:\n{paths}"


def join(config: PretrainConfig) -> Processes:
    """Find the processes that were started together, and meet them.

    Raises:
        InputError: not what the configuration wants, or no device.
    """
    launch, run = find_launch(), config.run
    check_launch(launch, run.devices, run.nodes, run.context_parallel)
    device = meet(launch, choose_device(run.device))
    return Processes(launch, device, context=run.context_parallel, strategy=run.strategy)


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    resume: bool = False,
    say: Say = lambda text: None,
    processes: Processes | None = None,
) -> Outcome:
    """Train a model and measure it. The same config and seed give the same weights, interrupted or not.

    Args:
        config: everything about the run.
        out: its folder; made when it is not there.
        resume: go on from the last checkpoint in `out`.
        say: told in a line what happens.
        processes: this one and those it trains with; None: those that torchrun or SLURM started with it.

    Returns:
        What the run leaves; without scores on all processes but the first, which alone measures and writes.

    Raises:
        InputError: bad stores, a split without data, a loss that is no number, or a stop by SIGTERM or Ctrl-C (which
            leaves a checkpoint to resume from).
    """
    began = time.monotonic()
    processes = processes or join(config)
    say = say if processes.is_first else lambda text: None
    stores = processes.from_first(lambda: _prepare(config, out, resume, say))
    corpus = _open(stores, out)
    title = _title(corpus)
    say(f"{title}: " + ", ".join(f"{part} {corpus.splits.bases(part):,} bases" for part in corpus.splits.parts))
    checkpoint = _checkpoint(out, say) if resume else None
    module = train(config, corpus, out, processes, checkpoint, say)
    processes.close()
    if not processes.is_first:
        return Outcome(out, title, {}, {}, time.monotonic() - began)
    scores, differences = _measure(config, corpus, module, say)
    outcome = Outcome(out, title, scores, differences, time.monotonic() - began)
    _leave(config, corpus, module, outcome)
    return outcome


def train(
    config: PretrainConfig, corpus: Corpus, out: Path, processes: Processes, checkpoint: Checkpoint | None, say: Say
) -> Pretraining:
    """Run the curriculum, or the rest of it, under Lightning. Returns the module with the trained model."""
    alphabet, device = ALPHABETS[config.model.alphabet], processes.device
    torch.manual_seed(config.run.seed)
    model = MambaLM(config.model)
    model.vocabulary = vocabulary_of(alphabet)
    model.to(device)
    autocast = autocast_dtype(config.run.precision, device)
    plan = _plan(config, model, autocast, checkpoint, out / PLAN_FILE, processes)
    check_pieces(plan, processes, config.model)
    if config.run.carry_state and checkpoint and checkpoint.state["data_ranks"] != processes.data_size:
        raise InputError(
            f"run.carry_state: {checkpoint.state['data_ranks']} data ranks handed the states of their windows on; the "
            f"run cannot go on with {processes.data_size}"
        )
    data = TrainingData(
        corpus, config.curriculum, alphabet, micro_batch={context: one.rows for context, one in plan.items()},
        seed=config.run.seed, reverse_complement=config.run.reverse_complement, carry_state=config.run.carry_state,
        rank=processes.data_rank, world_size=processes.data_size,
    )  # fmt: skip
    module = Pretraining(
        model, alphabet, config.optimiser, config.curriculum, plan, autocast, checkpoint,
        (out if processes.is_first else out / f"process-{processes.launch.rank}") / "stopped", config.run.carry_state,
        processes,
    )  # fmt: skip
    total = config.curriculum.total_steps
    parameters = sum(p.numel() for p in model.parameters())
    say(
        f"{config.model.d_model}x{config.model.n_layers}, {parameters:,} parameters, on {device}, "
        f"{'bfloat16' if autocast else 'float32'}; {total:,} steps of {config.curriculum.tokens_per_step:,} tokens, "
        "contexts " + ", ".join(format_size(stage.context) for stage in config.curriculum.stages)
    )

    def keep(at: Pretraining) -> None:
        for logger in at.loggers:
            logger.save()  # a kill later loses no row that the checkpoint covers
        # The genomes are checked against the run's splits.json.
        state = {"memory_plan": plan_to_json(plan), "data_ranks": processes.data_size}
        tensors = at.checkpoint_tensors()
        if not processes.is_first:
            return
        save_checkpoint(
            out / "checkpoints", at.status.step, tensors, state, config.run.keep_checkpoints,
            validation.best,
        )  # fmt: skip

    def wanted(step: int) -> bool:
        new = validation.best is not None and validation.best.step == step
        return new or step in config.curriculum.borders or validation.gains_no_more(step)

    for row in data.layout():
        packed = f", {row.packed:.0%} of it in packed windows" if row.packed > 0.01 else ""
        at_a_time = describe(row.context, plan[row.context])
        say(f"context {format_size(row.context)}: {row.epochs:.2f} epochs of {row.bases:,} bases{packed}; {at_a_time}")
    saver = Saver(keep, config.run.checkpoint_minutes, wanted)
    steps = validation_steps(config.curriculum, config.evaluation.points)
    validation = Validation(
        corpus, config.contexts, config.evaluation, steps, checkpoint.best if checkpoint else None
    )  # fmt: skip
    if module.start_step < total and not validation.gains_no_more(module.start_step):
        loader = ReadAhead(training_loader(data, start_step=module.start_step, workers=config.run.workers), device)
        callbacks: list[pl.Callback] = [validation, saver]
        if processes.is_first:
            callbacks.insert(1, TrainingProgress(config.curriculum))
        loggers = make_loggers(config.run.loggers, out) if processes.is_first else []
        trainer = _trainer(loggers, processes, callbacks)
        trainer.fit(module, loader)
        module.model = processes.whole_model(module.model)
    if saver.stopped_by is not None and module.status.step < total:
        raise InputError(
            f"stopped by {saver.stopped_by.name} after step {module.status.step:,} of {total:,}; go on with: "
            f"dnamamba pretrain --resume --out {out}"
        )
    module.model.to(device)
    if validation.best is not None:
        _choose_weights(config, out, module, validation.best, say)
    return module


def _choose_weights(config: PretrainConfig, out: Path, module: Pretraining, best: Best, say: Say) -> None:
    """Say which point was the best; where the run stops early, put its weights into the model."""
    at = f"step {best.step:,} of {module.status.step:,}"
    curve = ", ".join(f"{format_size(int(context))} {value:.4f}" for context, value in best.perplexity.items())
    say(f"best on the validation part: {at}, perplexity {curve}")
    if config.evaluation.early_stop is None or best.step == module.status.step:
        return
    try:
        checkpoint = checkpoint_of_step(out / "checkpoints", best.step)
    except InputError as error:
        say(f"{error}; the model is that of the last step instead")
        return
    module.put_weights(checkpoint)
    say(f"the model is that of step {best.step:,}")


def _plan(
    config: PretrainConfig,
    model: MambaLM,
    autocast: torch.dtype | None,
    checkpoint: Checkpoint | None,
    file: Path,
    processes: Processes,
) -> MemoryPlan:
    """What goes through the model at a time, and what its backward computes again; written down once a run."""
    recompute = config.run.recompute
    if recompute == "auto":
        recompute = "cheap" if model.device.type == "cuda" else "none"
    model.recompute = recompute
    if checkpoint:
        return plan_from_json(checkpoint.state["memory_plan"])  # another cut would round otherwise
    if file.exists():  # the run was killed before its first checkpoint; other memory may be free by now
        return plan_from_json(json.loads(file.read_text()))
    per_step = config.curriculum.tokens_per_step // processes.data_size
    windows = {stage.context: per_step // stage.context for stage in config.curriculum.stages}

    def make(windows: Mapping[int, int]) -> MemoryPlan:
        if config.run.micro_batch_tokens:
            return plan_by_tokens(windows, config.run.micro_batch_tokens)
        return plan_memory(model, windows, config.run.memory, autocast=autocast)

    plan = shared_plan(processes, windows, make)
    if processes.is_first:
        _write(file, json.dumps(plan_to_json(plan)) + "\n")
    return plan


def _trainer(loggers: list[Logger], processes: Processes, callbacks: list[pl.Callback]) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    return pl.Trainer(
        **processes.trainer_arguments,
        max_epochs=1,
        logger=loggers,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _measure(
    config: PretrainConfig, corpus: Corpus, module: Pretraining, say: Say
) -> tuple[dict[int, dict[str, Score]], dict[int, Difference]]:
    """Score model and baseline on the same targets of the test part."""
    say("fitting the Markov baseline on the training part")
    markov = fit_markov(corpus, both_strands=config.run.reverse_complement)
    say(f"Markov order {markov.order} is the best on the validation part; scoring the test part")
    evaluation = config.evaluation
    blocks = choose_targets(corpus, config.contexts, module.model, "test", evaluation.targets, evaluation.seed)
    scores, differences = {}, {}
    for context in config.contexts:
        ours = target_losses(module.model, corpus, blocks, context, autocast=module.autocast)
        theirs = markov.losses(corpus, blocks, context)
        scores[context] = {"model": summarise(ours), f"Markov order {markov.order}": summarise(theirs)}
        differences[context] = compare(ours, theirs)
    return scores, differences


def _leave(config: PretrainConfig, corpus: Corpus, module: Pretraining, outcome: Outcome) -> None:
    """Write model directory, metrics and pictures."""
    out, scores, model = outcome.folder, outcome.scores, module.model
    ours, theirs = next(iter(scores.values()))
    curves = {name: {context: row[name].perplexity for context, row in scores.items()} for name in (ours, theirs)}
    tokens, rows = module.weights_step * config.curriculum.tokens_per_step, read_log(out / "logs")
    best = out / "checkpoints" / BEST_FILE
    extra = {
        "contexts": list(config.contexts),
        "tokens": tokens,
        "trained_on": outcome.title,
        "pretrain": to_dict(config),
        "splits": corpus.splits.to_json(),
    }
    save(model, out, extra, overwrite=True)
    metrics: dict[str, Any] = {
        "perplexity": curves[ours],
        "markov_perplexity": curves[theirs],
        "markov_order": int(theirs.rsplit(" ", 1)[1]),
        "bits_per_base": {context: row[ours].bits for context, row in scores.items()},
        "markov_bits_per_base": {context: row[theirs].bits for context, row in scores.items()},
        "interval": {context: [row[ours].low, row[ours].high] for context, row in scores.items()},
        "bits_minus_markov": {context: list(difference) for context, difference in outcome.differences.items()},
        "targets": next(iter(scores.values()))[ours].targets,
        "tokens": tokens,
        "seconds": round(outcome.seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "stages": stage_figures(rows, config.curriculum),
        "best": json.loads(best.read_text()) if best.exists() else None,
        "trained_on": outcome.title,
        "store": corpus.splits.fingerprints,
        "config": to_dict(config),
    }
    _write(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    borders = [0, *config.curriculum.borders]
    stages = [
        (first * config.curriculum.tokens_per_step, stage.context)
        for first, stage in zip(borders, config.curriculum.stages, strict=False)
    ]
    draw_training(rows, stages, out / "figures" / "training.png", outcome.title)
    draw_contexts(curves, out / "figures" / "contexts.png", outcome.title)


def _prepare(config: PretrainConfig, out: Path, resume: bool, say: Say) -> tuple[str, ...]:
    """Put into the run's folder what every process reads from it, and name the stores."""
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        _write(out / CONFIG_FILE, yaml.safe_dump(to_dict(config), sort_keys=False))
    stores = config.stores or (_simulate(config, out / "genomes.zarr", say),)
    if not (out / SPLITS_FILE).exists():
        corpus = open_corpus(stores, config.split_in_force)
        _write(out / SPLITS_FILE, json.dumps(corpus.splits.to_json()) + "\n")
    return stores


def _simulate(config: PretrainConfig, path: Path, say: Say) -> str:
    from dnamamba.pipelines.simulate.apes import simulate_store

    assert config.simulate is not None
    if not path.exists():
        say(f"simulating five great apes of {config.simulate.bases:,} bases into {path}")
        aside = path.with_name(f".{path.name}.writing")
        shutil.rmtree(aside, ignore_errors=True)
        simulate_store(aside, config.simulate)
        aside.replace(path)  # a kill leaves no store with some of the species
    return str(path)


def _open(stores: Sequence[str], out: Path) -> Corpus:
    """Open the stores with the run's split; a resumed run takes the one it began with."""
    file = out / SPLITS_FILE
    return open_corpus(stores, Splits.from_json(json.loads(file.read_text()), str(file)))


def _title(corpus: Corpus) -> str:
    simulated = [a for a in corpus.assemblies if getattr(a, "attributes", {}).get("simulated")]
    names = ", ".join(assembly.name for assembly in corpus.assemblies[:6])
    more = f" and {len(corpus.assemblies) - 6} more" if len(corpus.assemblies) > 6 else ""
    return f"{'simulated genomes' if simulated else 'genomes'} {names}{more}"


def _checkpoint(out: Path, say: Say) -> Checkpoint | None:
    if not (out / "checkpoints").exists():
        say("no checkpoint was written before the run stopped: it starts at step 0")
        return None
    checkpoint = latest_checkpoint(out / "checkpoints", say)
    say(f"going on after step {checkpoint.step:,}")
    return checkpoint


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _empty_folder(out: Path | None) -> Path:
    out = out or _free_folder()
    if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise InputError(f"{out}: is not empty; --resume goes on with a run, another --out starts a new one")
    return out


def _free_folder() -> Path:
    number = 1
    while (folder := Path("runs") / ("pretrain" if number == 1 else f"pretrain-{number}")).exists():
        number += 1
    return folder


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
