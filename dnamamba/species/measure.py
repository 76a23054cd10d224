"""What a classifier is worth: at each length calibrated on the validation part, then measured on the test part beside
k-mers and a majority call."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamamba.config import format_size
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.splits import Part
from dnamamba.species.calibration import (
    Bin,
    area_under_roc,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    reliability,
)
from dnamamba.species.classifier import with_config
from dnamamba.species.figures_of_merit import Accuracy, accuracy_of, confusion, precision_recall
from dnamamba.species.finetune_config import FinetuneConfig
from dnamamba.species.genomes import Genomes
from dnamamba.species.held_windows import HeldWindows, held_windows
from dnamamba.species.kmers import fit_kmers
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.negatives import UnlikeFiles, random_bases, shuffled
from dnamamba.species.parts import Parts
from dnamamba.species.predict import predict
from dnamamba.species.training import Point

LONGEST_SHUFFLED, SHUFFLED_BASES = 2**14, 2**20
"""Longest windows that are shuffled for the flag's measurement, and bases in all: a shuffle is a walk in Python."""
UNLIKE_WINDOWS = 200
"""Windows of each kind of negative, at most."""


@dataclass(frozen=True)
class AtLength:
    """What was measured with windows of one length."""

    length: int
    ours: Accuracy
    temperature: float
    ece: float
    """Expected calibration error on the test part, with the temperature."""
    ece_before: float
    """Without it."""
    bins: list[Bin]
    nats: float
    """Cross-entropy of the calibrated calls, test part."""
    confusion: NDArray[np.int64]
    precision_recall: list[tuple[float | None, float | None]]
    kmers: Accuracy | None
    kmer_k: int | None
    difference: tuple[float, float] | None
    """95% interval of our accuracy minus the k-mers', on the same windows."""
    majority: float
    auroc: dict[str, float]
    """Kind of unlike sequence -> area under the curve of the flag."""
    flagged: float
    """Share of test windows of the classes that the flag calls unlike."""


class Measuring:
    """The windows of a run that are measured on."""

    def __init__(self, genomes: Genomes, parts: Parts, config: FinetuneConfig, alphabet: Alphabet) -> None:
        self.genomes, self.parts, self.config, self.alphabet = genomes, parts, config, alphabet
        self._curve = self._curve_windows()

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.genomes.classes)

    def windows(self, part: Part, length: int, *, windows: int, bases: int | None = None) -> HeldWindows | None:
        """Windows of one length from a part; None where a class has none."""
        config = self.config
        return held_windows(
            self.parts.regions[part],
            self.genomes.assemblies,
            self.classes,
            length,
            self.alphabet,
            windows=windows,
            bases=bases or config.measure.bases,
            most_n=config.data.most_n,
            seed=config.run.seed,
            both_strands=config.reverse_complement,
            overlap=config.measure.overlap,
        )

    def _curve_windows(self) -> list[HeldWindows]:
        """Windows of the validation curve, one set a length: all lengths that the part can serve."""
        measure = self.config.measure
        found = [
            self.windows("valid", length, windows=measure.valid_windows, bases=measure.bases // 16)
            for length in self.config.lengths
            if length <= self.config.furthest
        ]
        kept = [one for one in found if one is not None]
        if not kept:
            shortest = min(self.config.lengths)
            raise InputError(f"split: the valid part holds no window of {shortest:,} bases in every class")
        return kept

    def point(self, model: SpeciesClassifier, autocast: torch.dtype | None) -> Point:
        """A point of the validation curve."""
        losses, accuracy = [], {}
        for one in self._curve:
            loss, accuracy[one.length] = _told(model, one, autocast)
            losses.append(loss)
        return Point(float(np.mean(losses)), accuracy)

    def valid_loss(self, model: SpeciesClassifier, lengths: Sequence[int], autocast: torch.dtype | None) -> float:
        """As `Point.loss`, over all the validation windows of some lengths; infinite where there are none."""
        found = [self.windows("valid", length, windows=self.config.measure.windows) for length in lengths]
        losses = [_told(model, one, autocast)[0] for one in found if one is not None]
        return float(np.mean(losses)) if losses else float("inf")


def _told(model: SpeciesClassifier, windows: HeldWindows, autocast: torch.dtype | None) -> tuple[float, float]:
    """Cross-entropy at the best temperature, nats, and share of right calls."""
    logits = predict(model, windows.tokens, autocast=autocast).logits[:, 0]
    loss = cross_entropy(logits, windows.labels, fit_temperature(logits, windows.labels))
    return loss, float((logits.argmax(1) == windows.labels).mean())


def calibrate(model: SpeciesClassifier, measuring: Measuring, autocast: torch.dtype | None) -> None:
    """Fit temperature and threshold at every length on the validation part, and put them into the model's config."""
    lengths, temperature, unlike = [], [], []
    for length in measuring.config.lengths:
        windows = measuring.windows("valid", length, windows=measuring.config.measure.windows)
        if windows is None:
            continue
        found = predict(model, windows.tokens, autocast=autocast)
        lengths.append(length)
        temperature.append(fit_temperature(found.logits[:, 0], windows.labels))
        unlike.append(float(np.quantile(found.nats[:, 0], model.config.unlike_quantile)))
    with_config(
        model,
        temperature_lengths=tuple(lengths),
        temperature=tuple(temperature),
        unlike_lengths=tuple(lengths),
        unlike_nats=tuple(unlike),
    )


def measure(
    model: SpeciesClassifier, measuring: Measuring, unlike: UnlikeFiles, autocast: torch.dtype | None
) -> list[AtLength]:
    """Measure a calibrated model on the test part at every length that it serves."""
    rows = []
    for length in measuring.config.lengths:
        windows = measuring.windows("test", length, windows=measuring.config.measure.windows)
        if windows is not None:
            print(f"measuring at {format_size(length)}: {len(windows.labels):,} windows", file=sys.stderr, flush=True)
            rows.append(_at_length(model, measuring, unlike, windows, autocast))
    if not rows:
        shortest = min(measuring.config.lengths)
        raise InputError(f"split: the test part holds no window of {shortest:,} bases in every class")
    return rows


def _at_length(
    model: SpeciesClassifier,
    measuring: Measuring,
    unlike: UnlikeFiles,
    windows: HeldWindows,
    autocast: torch.dtype | None,
) -> AtLength:
    length, labels = windows.length, windows.labels
    found = predict(model, windows.tokens, autocast=autocast)
    logits, temperature = found.logits[:, 0], model.config.temperature_at(length)
    log_p = log_softmax(logits / temperature)
    calls = logits.argmax(1)
    right = calls == labels
    bins = reliability(np.exp(log_p), labels)
    table = confusion(calls, labels, measuring.classes)
    kmers, k, difference = _kmers(measuring, windows, right)
    threshold = model.config.unlike_above(length)
    return AtLength(
        length=length,
        ours=accuracy_of(right, windows.clusters),
        temperature=temperature,
        ece=expected_calibration_error(bins),
        ece_before=expected_calibration_error(reliability(np.exp(log_softmax(logits)), labels)),
        bins=bins,
        nats=cross_entropy(logits, labels, temperature),
        confusion=table,
        precision_recall=precision_recall(table),
        kmers=kmers,
        kmer_k=k,
        difference=difference,
        majority=float(np.bincount(labels).max() / len(labels)),
        auroc=_auroc(model, measuring, unlike, windows, found.nats[:, 0], autocast),
        flagged=float((found.nats[:, 0] > threshold).mean()),
    )


def _kmers(
    measuring: Measuring, windows: HeldWindows, right: NDArray[np.bool_]
) -> tuple[Accuracy | None, int | None, tuple[float, float] | None]:
    """The baseline on the same windows, fitted on windows of the same length."""
    settings = measuring.config.measure
    if not settings.ks:
        return None, None, None
    train = measuring.windows("train", windows.length, windows=settings.kmer_windows)
    valid = measuring.windows("valid", windows.length, windows=settings.windows)
    if train is None or valid is None:
        return None, None, None
    model = fit_kmers(
        (train.tokens, train.labels),
        (valid.tokens, valid.labels),
        measuring.classes,
        settings.ks,
        seed=measuring.config.run.seed,
    )
    theirs = model.probabilities(windows.tokens).argmax(1) == windows.labels
    return accuracy_of(theirs, windows.clusters), model.k, _difference(right, theirs, windows.clusters)


def _difference(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """95% interval of the difference of two accuracies, places resampled."""
    _, inverse = np.unique(clusters, return_inverse=True)
    groups = int(inverse.max()) + 1
    gain = np.bincount(inverse, ours.astype(float) - theirs, groups)
    size = np.bincount(inverse, minlength=groups)
    drawn = np.random.default_rng(0).integers(0, groups, (1000, groups))
    low, high = np.quantile(gain[drawn].sum(1) / size[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def _auroc(
    model: SpeciesClassifier,
    measuring: Measuring,
    unlike: UnlikeFiles,
    windows: HeldWindows,
    nats: NDArray[np.float64],
    autocast: torch.dtype | None,
) -> dict[str, float]:
    """How well the likelihood tells the classes' own windows from others of the same length."""
    length, seed = windows.length, measuring.config.run.seed
    most = max(1, min(UNLIKE_WINDOWS, measuring.config.measure.bases // (4 * length)))
    negatives: dict[str, NDArray[np.uint8]] = {"random": random_bases(most, length, seed)}
    if length <= LONGEST_SHUFFLED:
        few = min(most, len(windows.tokens), max(1, SHUFFLED_BASES // length))
        chosen = np.linspace(0, len(windows.tokens) - 1, few).astype(int)
        negatives["shuffled"] = shuffled(windows.tokens[chosen], seed)
    negatives |= unlike.windows(length, most)
    own = nats[np.isfinite(nats)]
    return {
        name: area_under_roc(predict(model, tokens, autocast=autocast).nats[:, 0], own)
        for name, tokens in negatives.items()
    }


def as_plain(rows: Sequence[AtLength], classes: Sequence[str]) -> dict[str, Any]:
    """Everything measured as plain data, length -> figures, for metrics.json."""
    return {
        str(row.length): {
            "accuracy": row.ours.value,
            "interval": [row.ours.low, row.ours.high],
            "windows": row.ours.windows,
            "independent_windows": round(row.ours.independent, 1),
            "kmer_accuracy": None if row.kmers is None else row.kmers.value,
            "kmer_interval": None if row.kmers is None else [row.kmers.low, row.kmers.high],
            "kmer_k": row.kmer_k,
            "minus_kmers": None if row.difference is None else list(row.difference),
            "majority": row.majority,
            "temperature": row.temperature,
            "expected_calibration_error": row.ece,
            "expected_calibration_error_before": row.ece_before,
            "cross_entropy_nats": row.nats,
            "confusion": row.confusion.tolist(),
            "precision": {name: p for name, (p, _) in zip(classes, row.precision_recall, strict=True)},
            "recall": {name: r for name, (_, r) in zip(classes, row.precision_recall, strict=True)},
            "unlike_auroc": row.auroc,
            "flagged_of_the_classes": row.flagged,
        }
        for row in rows
    }


def served(lengths: Sequence[int], rows: Sequence[AtLength]) -> str:
    """What could not be measured, in words; empty where all was."""
    missing = [format_size(n) for n in lengths if n not in {row.length for row in rows}]
    return f"the parts hold no windows of {', '.join(missing)} bases in every class" if missing else ""
