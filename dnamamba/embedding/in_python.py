"""Embeddings in Python: `dnamamba.embed(model, sequences)`."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnamamba.config import from_dict
from dnamamba.embedding.embedder import Embedder, Floats
from dnamamba.embedding.options import EmbedOptions
from dnamamba.model import MambaLM
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.species.classifier import Classifier
from dnamamba.stream.batches import in_order
from dnamamba.stream.given import given_sequences
from dnamamba.stream.pieces import PieceCutter


class Embeddings(NamedTuple):
    """Vectors of sequences (or windows), in the order of the input."""

    names: list[str]
    starts: NDArray[np.int64]
    """First base of each in its sequence, 0-based, [n]."""
    lengths: NDArray[np.int64]
    """In bases, [n]."""
    values: Floats
    """[n, d_model], or with pool "none" the vectors of all bases end to end, [sum of lengths, d_model]."""


def embed(model: MambaLM | Classifier, sequences: object, **options: Any) -> Embeddings:
    """Features of the model's final norm after each base, pooled over a sequence.

    Args:
        model: a language model or a classifier.
        sequences: a path; bytes or a uint8 array; a mapping of name to sequence; an iterable of sequences or of (name,
            sequence) pairs. Any number and length: memory is that of the answer.
        options: fields of `EmbedOptions`: `pool` ("mean", "last", "none"), `window`, `strands`, letters.

    Raises:
        InputError: what cannot be read, or options that do not go together.
    """
    lm = model.model.lm if isinstance(model, Classifier) else model
    how = from_dict(EmbedOptions, options)
    embedder = Embedder(lm, how)
    cutter = PieceCutter(ALPHABETS[lm.config.alphabet], embedder.plan.bases, how.window)
    pieces = (piece for one in given_sequences(sequences, how) for piece in cutter.pieces(one))
    parts = list(in_order(pieces, embedder, embedder.plan))
    ends = [part for part in parts if part.last]
    return Embeddings(
        [part.name for part in ends],
        np.array([part.start for part in ends], np.int64),
        np.array([part.length for part in ends], np.int64),
        np.concatenate([np.empty((0, lm.config.d_model), np.float32), *(part.values for part in parts)]),
    )
