"""What a finished run is worth and what it leaves: scores beside the baseline, model directory, metrics, pictures."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnamamba.checkpoints import BEST_FILE
from dnamamba.config import to_dict
from dnamamba.corpus import Corpus
from dnamamba.evaluate import Difference, Score, choose_blocks, compare, summarise, target_losses
from dnamamba.files import write_whole
from dnamamba.markov import fit_markov
from dnamamba.model_directory import save
from dnamamba.pretrain_config import PretrainConfig
from dnamamba.report import draw_contexts, draw_training, read_log, stage_figures
from dnamamba.training import Pretraining

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a finished run leaves."""

    folder: Path
    title: str
    """What was trained on; says so when it is simulated."""
    scores: Mapping[int, Mapping[str, Score]]
    """Context -> {"model", "Markov order k"} -> score on the test part; without a baseline the model alone."""
    differences: Mapping[int, Difference]
    """Context -> the model's bits a base minus the baseline's; none without one."""
    seconds: float


def measure(
    config: PretrainConfig, corpus: Corpus, module: Pretraining, say: Say
) -> tuple[dict[int, dict[str, Score]], dict[int, Difference]]:
    """Score model and baseline, where one is wanted, on the same targets of the test part."""
    evaluation, markov = config.evaluation, None
    if evaluation.markov:
        say("fitting the Markov baseline on the training part")
        markov = fit_markov(corpus, both_strands=config.run.reverse_complement)
        say(f"Markov order {markov.order} is the best on the validation part")
    say("scoring the test part")
    blocks = choose_blocks(corpus, config.contexts, module.model, "test", evaluation.targets, evaluation.seed)
    scores, differences = {}, {}
    for context in config.contexts:
        ours = target_losses(module.model, corpus, blocks, context, autocast=module.autocast)
        scores[context] = {"model": summarise(ours)}
        if markov is not None:
            theirs = markov.losses(corpus, blocks, context)
            scores[context][f"Markov order {markov.order}"] = summarise(theirs)
            differences[context] = compare(ours, theirs)
    return scores, differences


def leave_model(config: PretrainConfig, corpus: Corpus, module: Pretraining, out: Path, title: str) -> None:
    """Write the model directory: before anything is measured, so that nothing that fails there loses the training."""
    extra = {
        "contexts": list(config.contexts),
        "tokens": _tokens(config, module),
        "trained_on": title,
        "pretrain": to_dict(config),
        "splits": corpus.splits.to_json(),
    }
    save(module.model, out, extra, overwrite=True)


def leave(config: PretrainConfig, corpus: Corpus, module: Pretraining, outcome: Outcome) -> None:
    """Write metrics and pictures."""
    out, scores = outcome.folder, outcome.scores
    ours, *baseline = next(iter(scores.values()))
    curves = {name: {context: row[name].perplexity for context, row in scores.items()} for name in (ours, *baseline)}
    markov = {context: row[baseline[0]] for context, row in scores.items()} if baseline else {}
    rows, best = read_log(out / "logs"), out / "checkpoints" / BEST_FILE
    metrics: dict[str, Any] = {
        "perplexity": curves[ours],
        "markov_perplexity": {context: score.perplexity for context, score in markov.items()},
        "markov_order": int(baseline[0].rsplit(" ", 1)[1]) if baseline else None,
        "bits_per_base": {context: row[ours].bits for context, row in scores.items()},
        "markov_bits_per_base": {context: score.bits for context, score in markov.items()},
        "interval": {context: [row[ours].low, row[ours].high] for context, row in scores.items()},
        "bits_minus_markov": {context: list(difference) for context, difference in outcome.differences.items()},
        "targets": next(iter(scores.values()))[ours].targets,
        "tokens": _tokens(config, module),
        "seconds": round(outcome.seconds, 1),
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "stages": stage_figures(rows, config.curriculum),
        "best": json.loads(best.read_text()) if best.exists() else None,
        "trained_on": outcome.title,
        "store": corpus.splits.fingerprints,
        "config": to_dict(config),
    }
    write_whole(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    borders = [0, *config.curriculum.borders]
    stages = [
        (first * config.curriculum.tokens_per_step, stage.context)
        for first, stage in zip(borders, config.curriculum.stages, strict=False)
    ]
    draw_training(rows, stages, out / "figures" / "training.png", outcome.title)
    draw_contexts(curves, out / "figures" / "contexts.png", outcome.title)


def _tokens(config: PretrainConfig, module: Pretraining) -> int:
    """Tokens that the model's weights have seen."""
    return module.weights_step * config.curriculum.tokens_per_step
