"""Pretraining from stores to a model directory: open, split, train stage by stage, measure beside a baseline."""

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import yaml

from dnamamba.checkpoints import Checkpoint, checkpoint_to_resume
from dnamamba.config import format_size, from_dict, read_json, read_yaml, to_dict
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.curriculum_run import PLAN_FILE, resume_command, train
from dnamamba.device import choose_device
from dnamamba.errors import InputError
from dnamamba.evaluate import table
from dnamamba.files import write_whole
from dnamamba.held_out import served_contexts
from dnamamba.interrupts import stop_told
from dnamamba.outcome import Outcome, Say, leave, leave_model, measure
from dnamamba.parallel.launch import check_launch, errors_by_name, find_launch, meet
from dnamamba.parallel.processes import Processes
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pipelines.splits import Splits
from dnamamba.pretrain_config import PretrainConfig, read_config
from dnamamba.run_folder import config_of_run, held, is_held, new_run_folder
from dnamamba.say import say
from dnamamba.simulated import GENOMES, simulate_genomes
from dnamamba.trained_with import check_parts, check_unchanged

CONFIG_FILE, SPLITS_FILE = "pretrain.yaml", "splits.json"


@errors_by_name()
def pretrain_command(
    path: str | None,
    overrides: Sequence[str],
    stores: Sequence[str],
    out: Path | None,
    resume: bool,
    start_from: str | None = None,
) -> str:
    """`dnamamba pretrain`: run and return the text it prints."""
    if resume:
        config, out = config_of_run(PretrainConfig, out, CONFIG_FILE)
    else:
        config = read_config(path, overrides, stores, start_from)
    processes = join(config)
    if not resume:
        out = processes.from_first(lambda: new_run_folder(out, "pretrain", left_by_start=left_by_start))
    assert out is not None
    outcome = pretrain(config, out, resume=resume, say=say, processes=processes)
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
        InputError: bad stores, a split without data, no context that can be evaluated, a loss that is no number, or a
            stop by SIGTERM or Ctrl-C (which leaves a checkpoint to resume from).
    """
    began = time.monotonic()
    processes = processes or join(config)
    say = say if processes.is_first else lambda text: None
    told = partial(stop_told, out / CONFIG_FILE, resume=resume_command(out))
    with ExitStack() as at_work, told("before the training was done"):
        stores, contexts = processes.from_first(lambda: _prepare(config, out, resume, say, at_work))
        if contexts != config.contexts:
            config = replace(config, evaluation=replace(config.evaluation, contexts=contexts))
        corpus = _open(stores, out)
        title = _title(corpus)
        say(f"{title}: " + ", ".join(f"{part} {corpus.splits.bases(part):,} bases" for part in corpus.splits.parts))
        checkpoint = _checkpoint(config, corpus.splits, out, processes, say) if resume else None
        module = train(config, corpus, out, processes, checkpoint, say)
        processes.close()
        if not processes.is_first:
            return Outcome(out, title, {}, {}, time.monotonic() - began)
        with told("while measuring, the training is done"):
            leave_model(config, corpus, module, out, title)
            scores, differences = measure(config, corpus, module, say)
            outcome = Outcome(out, title, scores, differences, time.monotonic() - began)
            leave(config, corpus, module, outcome)
        return outcome


def _prepare(
    config: PretrainConfig, out: Path, resume: bool, say: Say, at_work: ExitStack
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Name the stores and the contexts to evaluate; put into the run's folder what every process reads from it.

    What cannot be read or evaluated is told before anything is written. `at_work` is held until the run ends.
    """
    begun, file = resume and (out / CONFIG_FILE).exists(), out / SPLITS_FILE
    if not begun and not config.stores:  # the genomes go there too, and a kill meanwhile leaves a run to resume
        _begin(config, out)
        begun = True
    if begun:
        at_work.enter_context(held(out / CONFIG_FILE))
    stores = config.stores or (simulate_genomes(config.simulate, out / GENOMES, say),)
    parted = begun and file.exists()
    corpus = _open(stores, out) if parted else open_corpus(stores, config.split_in_force)
    contexts, notes = served_contexts(corpus, config.contexts, ALPHABETS[config.model.alphabet])
    for note in notes:
        say(note)
    if not begun:
        _begin(config, out)
        at_work.enter_context(held(out / CONFIG_FILE))
    if not parted:
        write_whole(file, json.dumps(corpus.splits.to_json()) + "\n")
    return stores, contexts


def _begin(config: PretrainConfig, out: Path) -> None:
    """Write down a new run's configuration, and take away what a start that failed has left of another's."""
    out.mkdir(parents=True, exist_ok=True)
    before = _config_of_start(out)
    if before and not (config.stores or before.stores) and before.simulate != config.simulate:
        shutil.rmtree(out / GENOMES, ignore_errors=True)
    for name in (SPLITS_FILE, PLAN_FILE):
        (out / name).unlink(missing_ok=True)
    write_whole(out / CONFIG_FILE, _as_text(config))


def left_by_start(path: Path) -> bool:
    """Whether something in a run's folder was left by a start that ended before its first step."""
    before = _config_of_start(path.parent)
    if before is None:
        return False
    if path.name == "logs":  # before the first rows
        return not list(path.glob("part-*/metrics.csv"))
    return path.name in (CONFIG_FILE, SPLITS_FILE, PLAN_FILE) or (path.name == GENOMES and not before.stores)


def _config_of_start(out: Path) -> PretrainConfig | None:
    """The configuration that a start wrote into a folder and no run is at work with. None too where the file has other
    words than ours: somebody wrote it himself, and would not have it replaced."""
    file = out / CONFIG_FILE
    try:
        config = from_dict(PretrainConfig, read_yaml(file))
    except (FileNotFoundError, InputError):
        return None
    return config if file.read_text() == _as_text(config) and not is_held(file) else None


def _as_text(config: PretrainConfig) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def _open(stores: Sequence[str], out: Path) -> Corpus:
    """Open the stores with the run's split; a resumed run takes the one it began with."""
    file = out / SPLITS_FILE
    return open_corpus(stores, Splits.from_json(read_json(file), str(file)))


def _title(corpus: Corpus) -> str:
    simulated = [a for a in corpus.assemblies if getattr(a, "attributes", {}).get("simulated")]
    names = ", ".join(assembly.name for assembly in corpus.assemblies[:6])
    more = f" and {len(corpus.assemblies) - 6} more" if len(corpus.assemblies) > 6 else ""
    return f"{'simulated genomes' if simulated else 'genomes'} {names}{more}"


def _checkpoint(config: PretrainConfig, splits: Splits, out: Path, processes: Processes, say: Say) -> Checkpoint | None:
    checkpoint = checkpoint_to_resume(out / "checkpoints", say)
    if checkpoint is not None:
        processes.from_first(lambda: check_unchanged(config, checkpoint, out / CONFIG_FILE))
        check_parts(splits, checkpoint, out / SPLITS_FILE)
        say(f"going on after step {checkpoint.step:,}")
    return checkpoint
