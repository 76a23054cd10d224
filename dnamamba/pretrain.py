"""Pretraining from stores to a model directory: open, split, train stage by stage, measure beside a baseline."""

import json
import logging
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
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from dnamamba.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from dnamamba.config import format_size, from_dict, read_yaml, to_dict
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.data import TrainingData
from dnamamba.device import autocast_dtype, choose_device, sensible_workers
from dnamamba.errors import InputError
from dnamamba.evaluate import Difference, Score, choose_targets, compare, summarise, table, target_losses
from dnamamba.letters import vocabulary_of
from dnamamba.loader import ReadAhead, training_loader
from dnamamba.markov import fit_markov
from dnamamba.memory import MemoryPlan, describe, plan_by_tokens, plan_from_json, plan_memory, plan_to_json
from dnamamba.model import MambaLM
from dnamamba.model_directory import save
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pipelines.splits import Splits
from dnamamba.pretrain_config import PretrainConfig, read_config
from dnamamba.progress import TrainingProgress
from dnamamba.report import draw_contexts, draw_training, read_log
from dnamamba.saver import Saver
from dnamamba.training import Pretraining
from dnamamba.validation import Validation, validation_steps

CONFIG_FILE, SPLITS_FILE = "pretrain.yaml", "splits.json"

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
        out = out or _free_folder()
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out}: is not empty; --resume goes on with a run, another --out starts a new one")
    outcome = pretrain(config, out, resume=resume, say=lambda text: print(text, file=sys.stderr, flush=True))
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


def pretrain(config: PretrainConfig, out: Path, *, resume: bool = False, say: Say = lambda text: None) -> Outcome:
    """Train a model and measure it. The same config and seed give the same weights, interrupted or not.

    Args:
        config: everything about the run.
        out: its folder; made when it is not there.
        resume: go on from the last checkpoint in `out`.
        say: told in a line what happens.

    Raises:
        InputError: bad stores, a split without data, a loss that is no number, or a stop by SIGTERM or Ctrl-C (which
            leaves a checkpoint to resume from).
    """
    began = time.monotonic()
    device = choose_device(config.run.device)
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        _write(out / CONFIG_FILE, yaml.safe_dump(to_dict(config), sort_keys=False))
    stores = config.stores or (_simulate(config, out / "genomes.zarr", say),)
    corpus = _open(config, stores, out)
    title = _title(corpus)
    say(f"{title}: " + ", ".join(f"{part} {corpus.splits.bases(part):,} bases" for part in corpus.splits.parts))
    checkpoint = _checkpoint(out, say) if resume else None
    module = train(config, corpus, out, device, checkpoint, say)
    scores, differences = _measure(config, corpus, module, say)
    outcome = Outcome(out, title, scores, differences, time.monotonic() - began)
    _leave(config, corpus, module.model, outcome)
    return outcome


def train(
    config: PretrainConfig, corpus: Corpus, out: Path, device: torch.device, checkpoint: Checkpoint | None, say: Say
) -> Pretraining:
    """Run the curriculum, or the rest of it, under Lightning. Returns the module with the trained model."""
    alphabet = ALPHABETS[config.model.alphabet]
    torch.manual_seed(config.run.seed)
    model = MambaLM(config.model)
    model.vocabulary = vocabulary_of(alphabet)
    model.to(device)
    autocast = autocast_dtype(config.run.precision, device)
    plan = _plan(config, model, autocast, checkpoint)
    data = TrainingData(
        corpus, config.curriculum, alphabet, micro_batch={context: one.rows for context, one in plan.items()},
        seed=config.run.seed, reverse_complement=config.run.reverse_complement, carry_state=config.run.carry_state,
    )  # fmt: skip
    module = Pretraining(
        model, alphabet, config.optimiser, config.curriculum, plan, autocast, checkpoint, out / "stopped",
        config.run.carry_state,
    )  # fmt: skip
    total = config.curriculum.total_steps
    parameters = sum(p.numel() for p in model.parameters())
    say(
        f"{config.model.d_model}x{config.model.n_layers}, {parameters:,} parameters, on {device}, "
        f"{'bfloat16' if autocast else 'float32'}; {total:,} steps of {config.curriculum.tokens_per_step:,} tokens, "
        "contexts " + ", ".join(format_size(stage.context) for stage in config.curriculum.stages)
    )

    def keep(at: Pretraining) -> None:
        state = {"memory_plan": plan_to_json(plan)}  # the genomes are checked against the run's splits.json
        save_checkpoint(
            out / "checkpoints", at.status.step, at.checkpoint_tensors(), state, config.run.keep_checkpoints
        )
        for logger in at.loggers:
            logger.save()  # a kill later loses no row that the checkpoint covers

    for row in data.layout():
        packed = f", {row.packed:.0%} of it in packed windows" if row.packed > 0.01 else ""
        at_a_time = describe(row.context, plan[row.context])
        say(f"context {format_size(row.context)}: {row.epochs:.2f} epochs of {row.bases:,} bases{packed}; {at_a_time}")
    saver = Saver(keep, config.run.checkpoint_minutes, set(config.curriculum.borders))
    steps = validation_steps(config.curriculum, config.evaluation.points)
    validation = Validation(corpus, config.contexts, config.evaluation, steps)
    if module.start_step < total:
        workers = sensible_workers(device) if config.run.workers is None else config.run.workers
        loader = ReadAhead(training_loader(data, start_step=module.start_step, workers=workers), device)
        trainer = _trainer(out, device, [validation, TrainingProgress(total), saver])
        trainer.fit(module, loader)
    if saver.stopped_by is not None and module.status.step < total:
        raise InputError(
            f"stopped by {saver.stopped_by.name} after step {module.status.step:,} of {total:,}; go on with: "
            f"dnamamba pretrain --resume --out {out}"
        )
    module.model.to(device)
    return module


def _plan(
    config: PretrainConfig, model: MambaLM, autocast: torch.dtype | None, checkpoint: Checkpoint | None
) -> MemoryPlan:
    """What goes through the model at a time, and what its backward computes again."""
    recompute = config.run.recompute
    if recompute == "auto":
        recompute = "cheap" if model.device.type == "cuda" else "none"
    model.recompute = recompute
    if checkpoint:
        return plan_from_json(checkpoint.state["memory_plan"])  # another cut would round otherwise
    windows = {stage.context: config.curriculum.tokens_per_step // stage.context for stage in config.curriculum.stages}
    if config.run.micro_batch_tokens:
        return plan_by_tokens(windows, config.run.micro_batch_tokens)
    return plan_memory(model, windows, config.run.memory, autocast=autocast)


def _trainer(out: Path, device: torch.device, callbacks: list[pl.Callback]) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    part = f"part-{len(list((out / 'logs').glob('part-*')))}"  # one a start: a resumed run leaves the earlier log alone
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        logger=[
            CSVLogger(out, name="logs", version=part, flush_logs_every_n_steps=10),
            TensorBoardLogger(out, name="logs", version=part, default_hp_metric=False),
        ],
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


def _leave(config: PretrainConfig, corpus: Corpus, model: MambaLM, outcome: Outcome) -> None:
    """Write model directory, metrics and pictures."""
    out, scores = outcome.folder, outcome.scores
    ours, theirs = next(iter(scores.values()))
    curves = {name: {context: row[name].perplexity for context, row in scores.items()} for name in (ours, theirs)}
    tokens = config.curriculum.total_steps * config.curriculum.tokens_per_step
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
    draw_training(read_log(out / "logs"), stages, out / "figures" / "training.png", outcome.title)
    draw_contexts(curves, out / "figures" / "contexts.png", outcome.title)


def _simulate(config: PretrainConfig, path: Path, say: Say) -> str:
    from dnamamba.pipelines.simulate.apes import simulate_store

    assert config.simulate is not None
    if not path.exists():
        say(f"simulating five great apes of {config.simulate.bases:,} bases into {path}")
        simulate_store(path, config.simulate)
    return str(path)


def _open(config: PretrainConfig, stores: Sequence[str], out: Path) -> Corpus:
    """Open the stores with the run's split; a resumed run takes the one it began with."""
    file = out / SPLITS_FILE
    if file.exists():
        return open_corpus(stores, Splits.from_json(json.loads(file.read_text()), str(file)))
    corpus = open_corpus(stores, config.split_in_force)
    _write(file, json.dumps(corpus.splits.to_json()) + "\n")
    return corpus


def _title(corpus: Corpus) -> str:
    simulated = [a for a in corpus.assemblies if getattr(a, "attributes", {}).get("simulated")]
    names = ", ".join(assembly.name for assembly in corpus.assemblies[:6])
    more = f" and {len(corpus.assemblies) - 6} more" if len(corpus.assemblies) > 6 else ""
    return f"{'simulated genomes' if simulated else 'genomes'} {names}{more}"


def _checkpoint(out: Path, say: Say) -> Checkpoint | None:
    if not (out / "checkpoints").exists():
        say("no checkpoint was written before the run stopped: it starts at step 0")
        return None
    checkpoint = latest_checkpoint(out / "checkpoints")
    say(f"going on after step {checkpoint.step:,}")
    return checkpoint


def _free_folder() -> Path:
    number = 1
    while (folder := Path("runs") / ("pretrain" if number == 1 else f"pretrain-{number}")).exists():
        number += 1
    return folder


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
