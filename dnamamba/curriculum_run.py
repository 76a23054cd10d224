"""One run through the curriculum under Lightning: model, memory plan, data, callbacks, and the weights it ends with."""

import json
import logging
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger

from dnamamba.checkpoints import Best, Checkpoint, checkpoint_of_step, save_checkpoint
from dnamamba.config import format_size, read_json
from dnamamba.corpus import Corpus
from dnamamba.data import TrainingData
from dnamamba.device import autocast_dtype
from dnamamba.errors import InputError
from dnamamba.files import write_whole
from dnamamba.letters import vocabulary_of
from dnamamba.loader import ReadAhead, training_loader
from dnamamba.loggers import make_loggers
from dnamamba.memory import MemoryPlan, describe, plan_by_tokens, plan_from_json, plan_memory, plan_to_json
from dnamamba.model import MambaLM
from dnamamba.model_directory import load, weights_digest
from dnamamba.outcome import Say
from dnamamba.parallel.plan import check_pieces, shared_plan
from dnamamba.parallel.processes import Processes
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pretrain_config import PretrainConfig
from dnamamba.progress import TrainingProgress
from dnamamba.saver import Saver
from dnamamba.trained_with import CURVE, PARTS, RECORD, check_curve, curve_of, trained_with
from dnamamba.training import Pretraining
from dnamamba.validation import Validation, validation_steps

PLAN_FILE = "memory_plan.json"


def train(
    config: PretrainConfig, corpus: Corpus, out: Path, processes: Processes, checkpoint: Checkpoint | None, say: Say
) -> Pretraining:
    """Run the curriculum, or the rest of it, under Lightning. Returns the module with the trained model."""
    alphabet, device = ALPHABETS[config.model.alphabet], processes.device
    torch.manual_seed(config.run.seed)
    model = _first_model(config, checkpoint, say)
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

    parts = corpus.splits.digest  # once: a split may have a million regions

    def keep(at: Pretraining) -> None:
        for logger in at.loggers:
            logger.save()  # a kill later loses no row that the checkpoint covers
        state = {
            "memory_plan": plan_to_json(plan),
            "data_ranks": processes.data_size,
            RECORD: trained_with(config),
            CURVE: curve_of(config),
            PARTS: parts,
        }
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
        if checkpoint:
            check_curve(config, checkpoint)
        loader = ReadAhead(training_loader(data, start_step=module.start_step, workers=config.run.workers), device)
        callbacks: list[pl.Callback] = [validation, saver]
        if processes.is_first:
            callbacks.insert(1, TrainingProgress(config.curriculum))
        loggers = make_loggers(config.run.loggers, out) if processes.is_first else []
        trainer = _trainer(loggers, processes, callbacks)
        try:
            trainer.fit(module, loader)
        except SystemExit as ended:  # which Lightning makes of a KeyboardInterrupt, without a word
            raise ended.__context__ or ended from None
        module.model = processes.whole_model(module.model)
    if saver.stopped_by is not None and module.status.step < total:
        raise InputError(
            f"stopped by {saver.stopped_by.name} after step {module.status.step:,} of {total:,}; go on with: "
            f"{resume_command(out)}"
        )
    module.model.to(device)
    if validation.best is not None:
        _choose_weights(config, out, module, validation.best, say)
    return module


def _first_model(config: PretrainConfig, checkpoint: Checkpoint | None, say: Say) -> MambaLM:
    """Fresh weights, or those of `run.start_from`; a checkpoint's come later, and need neither.

    Raises:
        InputError: `run.start_from` cannot be read, or has become another model than the run was started with.
    """
    if config.run.start_from is None or checkpoint:
        return MambaLM(config.model)
    model = load(config.run.start_from).float().train()
    if model.config != config.model:
        raise InputError(f"run.start_from: {config.run.start_from} is no longer the model that this run was set up for")
    say(f"starting with the weights of {config.run.start_from}, sha256 {weights_digest(model)[:12]}")
    return model


def resume_command(out: Path) -> str:
    """What goes on with a run that was stopped, for messages."""
    return f"dnamamba pretrain --resume --out {shlex.quote(str(out))}"


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
    per_step = config.curriculum.tokens_per_step // processes.data_size
    windows = {stage.context: per_step // stage.context for stage in config.curriculum.stages}
    if file.exists():  # the run was killed before its first checkpoint; other memory may be free by now
        plan = plan_from_json(read_json(file), str(file))
        if set(windows) <= set(plan):  # else its contexts were changed meanwhile
            return plan

    def make(windows: Mapping[int, int]) -> MemoryPlan:
        if config.run.micro_batch_tokens:
            return plan_by_tokens(windows, config.run.micro_batch_tokens)
        return plan_memory(model, windows, config.run.memory, autocast=autocast)

    plan = shared_plan(processes, windows, make)
    if processes.is_first:
        write_whole(file, json.dumps(plan_to_json(plan)) + "\n")
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
