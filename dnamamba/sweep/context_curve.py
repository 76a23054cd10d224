"""`dnamamba sweep context MODEL..`: the effective-context curve of finished models, measured and reported."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dnamamba.base_progress import BaseProgress
from dnamamba.corpus import Corpus
from dnamamba.device import Precision, autocast_dtype, choose_device
from dnamamba.errors import InputError, UsageError
from dnamamba.evaluate import open_held_out
from dnamamba.model import MambaLM
from dnamamba.model_directory import load, read_record
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.sweep.classes import ALL, target_classes
from dnamamba.sweep.context_report import ContextSweep, leave_report, summary
from dnamamba.sweep.curve import curve_of
from dnamamba.sweep.kept import claim_folder, keep_losses, kept_losses
from dnamamba.sweep.oracle import oracle_curve
from dnamamba.sweep.streams import Losses, context_losses
from dnamamba.sweep.targets import Context, Targets, choose_targets, context_name, parse_contexts, parse_targets

INPUTS = "sweep.json"


def context_command(
    paths: Sequence[Path],
    stores: Sequence[str],
    part: str,
    contexts_text: str,
    targets_text: str,
    assemblies: Sequence[str],
    seed: int,
    precision: Precision,
    out: Path,
) -> str:
    """Measure, report, and return the text that the command prints."""
    contexts, wanted = parse_contexts(contexts_text), parse_targets(targets_text)
    names = _names(paths)
    records = [read_record(path) for path in paths]
    device = choose_device("auto")
    models = {name: load(path, device=device) for name, path in zip(names, paths, strict=True)}
    corpus = open_held_out(stores, records[0].extra, part, paths[0])
    for path, record in zip(paths, records, strict=True):
        if record.alphabet != records[0].alphabet:
            raise InputError(f"{path}: has another alphabet than {paths[0]}, so that their bits cannot be compared")
        if part != "all" and record.extra.get("splits") != records[0].extra.get("splits"):
            raise InputError(
                f"{path}: was trained with another split than {paths[0]}: what is held out from one the other has seen"
            )
    where = "test" if part == "all" else part
    alphabet = ALPHABETS[records[0].model.alphabet]
    targets = choose_targets(
        corpus, contexts, alphabet, part=where, targets=wanted, seed=seed, assemblies=assemblies
    )  # fmt: skip
    autocast = autocast_dtype(precision, device)
    inputs = {
        "sweep": "context curve",
        "models": {name: record.weights_sha256 for name, record in zip(names, records, strict=True)},
        "stores": {name: corpus.splits.fingerprints[name] for name in (one.name for one in corpus.assemblies)},
        "split": part,
        "contexts": [context_name(context) for context in contexts],
        "targets": wanted,
        "assemblies": list(assemblies),
        "seed": seed,
        "precision": "bfloat16" if autocast else "float32",
    }
    went_on = claim_folder(out, INPUTS, inputs)
    with BaseProgress("sweep context") as progress:
        for line in targets.left_out:
            progress.note(line)
        if went_on:
            progress.note(f"{out}: going on; what it holds is not measured again")
        losses = measure(models, corpus, targets, out / "losses", progress, progress.note, autocast)
        progress.note("classes of the targets, intervals, report")
    classes: dict[str, NDArray[np.bool_] | None] = {ALL: None, **target_classes(corpus, targets)}
    curves = {
        name: {label: curve_of(losses[name], chosen, seed) for label, chosen in classes.items()} for name in models
    }
    names_there = ", ".join(sorted({corpus.assemblies[block.assembly].name for block in targets.blocks}))
    kind = "simulated genomes" if all(a.attributes.get("simulated") for a in corpus.assemblies) else "genomes"
    title = f"{'every base' if part == 'all' else f'the {part} part'} of {kind} {names_there}"
    found = ContextSweep(names, title, targets, losses, curves, oracle_curve(corpus, targets, seed), seed)
    leave_report(found, out, sys.argv)
    return summary(found, out)


def measure(
    models: Mapping[str, MambaLM],
    corpus: Corpus,
    targets: Targets,
    folder: Path,
    progress: Callable[[str, int, int | None], None],
    say: Callable[[str], None],
    autocast: torch.dtype | None = None,
) -> dict[str, dict[Context, Losses]]:
    """Losses of every model at every context, each kept in `folder` when it is done and read from there if it is.

    Args:
        models: by name.
        corpus, targets: what is read.
        folder: holds MODEL/CONTEXT.npy.
        progress: as of pipelines: what is done, bases done, bases in all.
        say: told in a line what it will cost.
        autocast: dtype of matrix products; None, float32, keeps apart what differs by 1e-6 bits a base.
    """
    shape = (len(targets.blocks), targets.size)
    costs = {context: targets.bases_read(context) for context in targets.contexts}
    found: dict[str, dict[Context, Losses]] = {}
    todo: list[tuple[str, Context]] = []
    for name in models:
        kept = {context: kept_losses(_file(folder, name, context), shape) for context in targets.contexts}
        found[name] = {context: losses for context, losses in kept.items() if losses is not None}
        todo += [(name, context) for context, losses in kept.items() if losses is None]
    total, done = sum(costs[context] for _, context in todo), 0
    if todo:
        each = ", ".join(f"{context_name(context)} {costs[context] / 1e6:,.1f}" for context in targets.contexts)
        say(
            f"{shape[0] * shape[1]:,} target bases in {shape[0]:,} blocks; M bases through a model "
            f"at each context: {each}; {total / 1e6:,.1f} in all"
        )
    for name, context in todo:
        work = f"{name}, context {context_name(context)}"

        def tick(bases: int, work: str = work) -> None:
            nonlocal done
            done += bases
            progress(work, done, total)

        losses = context_losses(models[name], corpus, targets, context, autocast=autocast, tick=tick)
        keep_losses(_file(folder, name, context), losses)
        found[name][context] = losses
    return {name: {context: found[name][context] for context in targets.contexts} for name in models}


def _file(folder: Path, name: str, context: Context) -> Path:
    return folder / name / f"{context_name(context)}.npy"


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names of the models that can be told apart, fit for a folder: the last parts of their paths."""
    whole = [path.resolve() for path in paths]
    if len(set(whole)) < len(whole):
        raise UsageError("a model is given twice")
    for parts in range(1, 1 + max((len(path.parts) for path in whole), default=0)):
        names = tuple("-".join(path.parts[-parts:]).strip("/") or "model" for path in whole)
        if len(set(names)) == len(names):
            break
    return names
