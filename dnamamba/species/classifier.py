"""A species classifier as a user holds it: its directory read, its classes and model at hand."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dnamamba.config import from_dict, to_dict
from dnamamba.errors import InputError
from dnamamba.letters import vocabulary_of
from dnamamba.model import MambaLM
from dnamamba.model_directory import CONFIG, ModelRecord, load_module, read_record, save_module
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.model import SpeciesClassifier

if TYPE_CHECKING:
    import pandas as pd

    from dnamamba.classify.verdict import Verdict

KIND = "species classifier"


class Classifier:
    """A species classifier and its alphabet; `load_classifier` makes it."""

    def __init__(self, model: SpeciesClassifier, extra: Mapping[str, Any] | None = None) -> None:
        self.model = model
        """The module; the language model inside it is `model.lm`."""
        self.extra = dict(extra or {})
        """What the fine-tuning wrote beside the weights."""

    @property
    def config(self) -> ClassifierConfig:
        """Classes, pooling, temperature, threshold of what is unlike all classes, label controls."""
        return self.model.config

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the probabilities."""
        return self.model.config.classes

    @property
    def alphabet(self) -> Alphabet:
        """How letters become tokens."""
        return ALPHABETS[self.model.lm.config.alphabet]

    def classify(self, sequences: object, **options: Any) -> "pd.DataFrame":
        """Call sequences of any number and length.

        Args:
            sequences: a path (str or Path) to a FASTA, FASTQ or 2bit file or a genome store; bytes or a uint8 array,
                one sequence; a mapping of name to sequence; an iterable of sequences or of (name, sequence) pairs.
            options: fields of `dnamamba.classify.options.ClassifyOptions`: window, strands, min_confidence, every, ..

        Returns:
            A row a sequence (window, look), in the order of the input: name, length, call, `p_CLASS` of each class,
            entropy in bits, bases read, ambiguous and unknown letters, nats a base, and whether it is unlike all
            classes.

        Raises:
            InputError: what cannot be read, or options that do not go together.
        """
        from dnamamba.classify.in_python import classify
        from dnamamba.classify.options import ClassifyOptions

        return classify(self, sequences, from_dict(ClassifyOptions, options))

    def classify_stream(self, sequence: object, **options: Any) -> "Iterator[Verdict]":
        """Anytime calls of one sequence while it is being made: the forward strand, nothing computed twice.

        Args:
            sequence: str, bytes or a uint8 array, or an iterable of such blocks. A block is asked for only after the
                verdicts of all before it have been taken.
            options: fields of `ClassifyOptions`: `every` (bases between two verdicts, 1,024 by default), `stop_when`
                (the probability at which the stream is left), letters.

        Returns:
            A verdict after every `every` bases, and one at the end of a stream that ends between two of them.

        Raises:
            InputError: as `classify`.
        """
        from dnamamba.classify.in_python import classify_stream
        from dnamamba.classify.options import ClassifyOptions

        return classify_stream(self, sequence, from_dict(ClassifyOptions, options))


def save_classifier(
    model: SpeciesClassifier,
    path: str | os.PathLike[str],
    extra: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a classifier's directory; as `dnamamba.model_directory.save`."""
    return save_module(model, model.lm.config, path, extra, kind=KIND, head=to_dict(model.config), overwrite=overwrite)


def load_classifier(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> Classifier:
    """Read a classifier that `dnamamba finetune species` made.

    Args:
        path: its directory, the run's.
        device: where the weights go.

    Raises:
        InputError: no such directory, no classifier in it, or any damage: one line that says which file and what.
    """
    model = load_module(path, KIND, lambda record: _build(record, path), device=device)
    model.lm.vocabulary = vocabulary_of(ALPHABETS[model.lm.config.alphabet])
    return Classifier(model, read_record(path).extra)


def _build(record: ModelRecord, path: str | os.PathLike[str]) -> SpeciesClassifier:
    try:
        config = from_dict(ClassifierConfig, record.head, "head")
    except InputError as error:
        raise InputError(f"{Path(path) / CONFIG}: {error}") from None
    return SpeciesClassifier(MambaLM(record.model), config)


def with_config(model: SpeciesClassifier, **changes: Any) -> None:
    """Put what was measured after the training, temperature and threshold, into a model's config."""
    model.config = replace(model.config, **changes)
