"""Held-out perplexity and bits a base of a model, over A/C/G/T, the same targets at every context."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dnamamba.config import format_size, parse_size
from dnamamba.corpus import Corpus, build_corpus
from dnamamba.data import IGNORED
from dnamamba.device import autocast_dtype, choose_device
from dnamamba.errors import InputError, UsageError
from dnamamba.held_out import TargetBlock, evaluation_batches, evaluation_targets
from dnamamba.markov import fit_markov
from dnamamba.model import MambaLM
from dnamamba.model.autocasting import autocasting
from dnamamba.model_directory import load, read_record
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.pipelines.splits import PARTS, SplitRegion, Splits, refuse_twice
from dnamamba.pipelines.store import open_store

BOOTSTRAPS = 1000


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured when training is over, and now and then while it runs."""

    contexts: tuple[int, ...] = ()
    """Window lengths in bases; none: those of the curriculum."""
    targets: int = 2**18
    """Target bases of the final table, at most."""
    targets_while_training: int = 2**14
    """Target bases of each point of the curve."""
    points: int = 12
    """Points of the curve over the whole training, about evenly spread."""
    markov: bool = True
    """Fit the Markov baseline when the training is over and measure it beside; counting 300 Mb takes it a minute."""
    seed: int = 0
    """Which windows are drawn."""
    early_stop: int | None = None
    """Stop after this many points of the curve in a row without a better one, and take the best point's weights. None
    goes to the end and takes the last ones."""

    def __post_init__(self) -> None:
        if any(context < 2 for context in self.contexts):
            raise InputError(f"evaluation.contexts: want 2 bases or more each, got {list(self.contexts)}")
        for key in ("targets", "targets_while_training", "points", "early_stop"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise InputError(f"evaluation.{key}: want 1 or more, got {value}")


class Difference(NamedTuple):
    """One reader's bits a base minus another's on the same targets, with a 95% interval; below 0 the first wins."""

    bits: float
    low: float
    high: float


class Score(NamedTuple):
    """Mean over the counted targets, with a 95% interval from resampling blocks of targets."""

    perplexity: float
    bits: float
    """Bits a base."""
    low: float
    """Lower end of the interval of the perplexity."""
    high: float
    targets: int
    """Bases counted."""


def choose_blocks(
    corpus: Corpus, contexts: Sequence[int], model: MambaLM, part: str, targets: int, seed: int
) -> tuple[TargetBlock, ...]:
    """Blocks of target bases, about `targets` of them, that can be scored at every one of `contexts`."""
    size = max(1, min(contexts) // 2)
    return evaluation_targets(
        corpus, contexts, ALPHABETS[model.config.alphabet], part=part, blocks=max(1, targets // size), seed=seed
    )


@torch.no_grad()
def target_losses(
    model: MambaLM,
    corpus: Corpus,
    blocks: Sequence[TargetBlock],
    context: int,
    *,
    autocast: torch.dtype | None = None,
    batch_tokens: int = 2**16,
) -> NDArray[np.float64]:
    """Negative log-probability of every target at one context, in nats; NaN where the base is not counted.

    Returns:
        float64 [blocks, targets in a block]; the letters that count share all the probability.
    """
    alphabet = ALPHABETS[model.config.alphabet]
    weight = model.backbone.embedding.weight[: len(alphabet.targets)]
    was_training = model.training
    model.eval()
    losses = []
    for batch in evaluation_batches(corpus, blocks, context, alphabet, batch_tokens=batch_tokens):
        size = blocks[0].end - blocks[0].start
        tokens, wanted = batch["tokens"].to(model.device), batch["targets"][:, -size:].to(model.device)
        with autocasting(model.device, autocast):
            features = _last_features(model, tokens, size, batch_tokens)
        logits = F.linear(features.float(), weight.float())
        nll = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none", ignore_index=IGNORED)
        nll = nll.view_as(wanted).double().masked_fill(wanted == IGNORED, math.nan)
        losses.append(nll.cpu().numpy())
    model.train(was_training)
    return np.concatenate(losses)


def _last_features(model: MambaLM, tokens: torch.Tensor, size: int, piece: int) -> torch.Tensor:
    """Features of the last `size` tokens. Of windows longer than `piece` the rest goes by in pieces, for its state."""
    state, first = None, tokens.shape[1] - size
    if tokens.shape[1] > piece:
        for part in torch.split(tokens[:, :first], piece, 1):
            _, state = model.backbone(part, state)
        tokens = tokens[:, first:]
    features: torch.Tensor = model.backbone(tokens, state)[0]
    return features[:, -size:]


def summarise(losses: NDArray[np.float64], seed: int = 0) -> Score:
    """Perplexity, bits and interval of `target_losses`. Blocks are resampled, not bases: neighbours are alike."""
    counted = np.isfinite(losses)
    sums, counts = np.where(counted, losses, 0.0).sum(1), counted.sum(1)
    if not counts.sum():
        raise InputError("no target base to score: all of them are N or ambiguous")
    mean = sums.sum() / counts.sum()
    drawn = resamples(len(sums), seed)
    low, high = np.exp(np.quantile(drawn @ sums / np.maximum(drawn @ counts, 1), (0.025, 0.975)))
    return Score(math.exp(mean), mean / math.log(2), float(low), float(high), int(counts.sum()))


@lru_cache(maxsize=2)
def resamples(blocks: int, seed: int) -> NDArray[np.float64]:
    """How often each block is drawn in each bootstrap, [BOOTSTRAPS, blocks]: a product with it sums a resample."""
    drawn = np.random.default_rng(seed).integers(0, blocks, (BOOTSTRAPS, blocks))
    drawn += blocks * np.arange(BOOTSTRAPS)[:, None]
    return np.bincount(drawn.ravel(), minlength=BOOTSTRAPS * blocks).reshape(BOOTSTRAPS, blocks).astype(np.float64)


def compare(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int = 0) -> Difference:
    """How two readers of the same targets differ. Paired: what is hard for both drops out of the interval."""
    counted = np.isfinite(ours) & np.isfinite(theirs)
    sums, counts = np.where(counted, ours - theirs, 0.0).sum(1) / math.log(2), counted.sum(1)
    drawn = resamples(len(sums), seed)
    low, high = np.quantile(drawn @ sums / np.maximum(drawn @ counts, 1), (0.025, 0.975))
    return Difference(float(sums.sum() / max(counts.sum(), 1)), float(low), float(high))


def soft_masked(corpus: Corpus, blocks: Sequence[TargetBlock]) -> NDArray[np.bool_]:
    """Which targets are lower case in the store, that is, repeats: bool [blocks, targets in a block]."""
    rows = [corpus.assemblies[block.assembly][block.contig, block.start : block.end] for block in blocks]
    return np.stack([(row >= ord("a")) & (row <= ord("z")) for row in rows])


def table(rows: Mapping[int, Mapping[str, Score]]) -> str:
    """Scores as text: a line a context, a column a model or class of bases, perplexity and bits a base."""
    names = list(next(iter(rows.values())))
    lines = [f"{'context':>9}" + "".join(f"  {name:>29}" for name in names)]
    for context, scores in rows.items():
        cells = [f"{s.perplexity:.4f} ({s.low:.4f}-{s.high:.4f}) {s.bits:.4f}" for s in scores.values()]
        lines.append(f"{format_size(context):>9}" + "".join(f"  {cell:>29}" for cell in cells))
    targets = next(iter(next(iter(rows.values())).values())).targets
    return "\n".join([*lines, f"perplexity (95% interval) and bits a base over A, C, G, T; {targets:,} target bases"])


def evaluate_command(
    path: Path,
    stores: Sequence[str],
    part: str,
    contexts_text: str,
    targets: str,
    seed: int,
    with_markov: bool,
    as_json: bool,
) -> str:
    """`dnamamba evaluate`: the text it prints."""
    contexts = sorted({parse_size(text, "--context") for text in contexts_text.split(",") if text})
    if contexts and contexts[0] < 2:
        raise UsageError(f"--context: want 2 bases or more, got {contexts[0]}")
    most = parse_size(targets, "--targets")
    if most < 1:
        raise UsageError(f"--targets: want 1 or more, got {most}")
    device = choose_device("auto")
    model = load(path, device=device)
    extra = read_record(path).extra
    corpus = open_held_out(stores, extra, part, path)
    contexts = contexts or sorted(extra.get("contexts") or [2**10])
    used = "test" if part == "all" else part
    blocks = choose_blocks(corpus, contexts, model, used, most, seed)
    masked = soft_masked(corpus, blocks)
    rows: dict[int, dict[str, Score]] = {}
    markov = fit_markov(corpus, both_strands=True) if with_markov else None
    for context in contexts:
        losses = target_losses(model, corpus, blocks, context, autocast=autocast_dtype("auto", device))
        rows[context] = {"all": summarise(losses)}
        counted = ~np.isnan(losses)
        for name, chosen in (("soft-masked", masked), ("unique", ~masked)):
            if counted.any() and 0.001 < chosen[counted].mean() < 0.999:
                rows[context][name] = summarise(np.where(chosen, losses, math.nan))
        if markov is not None:
            rows[context][f"Markov order {markov.order}"] = summarise(markov.losses(corpus, blocks, context))
    if as_json:
        plain = {str(context): {name: score._asdict() for name, score in row.items()} for context, row in rows.items()}
        return json.dumps({"model": str(path), "stores": list(stores), "split": part, "contexts": plain}, indent=1)
    return table(rows)


def open_held_out(stores: Sequence[str], extra: Mapping[str, Any], part: str, path: Path) -> Corpus:
    """Open stores with the split that a model was trained with, or with everything in the test part.

    Args:
        stores: folders or URLs.
        extra: of the model's record.
        part: "all" is everything; otherwise it only has to be there.
        path: of the model, for messages.

    Raises:
        InputError: a store that cannot be opened, a model without its split, or other sequence than it was made for.
    """
    opened = [open_store(store) for store in stores]
    genomes = [(str(store), [one[name] for name in one.assemblies]) for store, one in zip(stores, opened, strict=True)]
    assemblies = [assembly for _, members in genomes for assembly in members]
    refuse_twice(assemblies, "its bases would count twice")
    if part == "all":
        regions = [SplitRegion(a.name, contig, 0, size) for a in assemblies for contig, size in a.sizes.items()]
        parts: dict[str, Sequence[SplitRegion]] = {"test": regions}
        fingerprints = {assembly.name: assembly.fingerprint for assembly in assemblies}
    elif "splits" in extra:
        splits = Splits.from_json(extra["splits"], f"{path}: splits")
        parts, fingerprints = dict(splits.parts), splits.fingerprints
        for assembly in assemblies:
            if assembly.name not in fingerprints:
                raise InputError(
                    f"{path}: its split knows no assembly {assembly.name!r} ({', '.join(fingerprints)}); "
                    "--split all takes every base of the stores"
                )
    else:
        raise InputError(f"{path}: its config.json holds no split; --split all takes every base of the stores")
    names = {assembly.name for assembly in assemblies}  # a model may be asked about one of its stores only
    kept: dict[str, tuple[SplitRegion, ...]] = {}
    for one in PARTS:
        kept[one] = tuple(region for region in parts.get(one, ()) if region.assembly in names)
    return build_corpus([(name, members, None) for name, members in genomes], Splits(kept, fingerprints))
