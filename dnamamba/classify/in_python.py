"""Classification from Python: what is given becomes verdicts, and verdicts a DataFrame."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dnamamba.classify.judge import Judge
from dnamamba.classify.options import EVERY, ClassifyOptions
from dnamamba.classify.rows import Rows
from dnamamba.classify.verdict import Verdict
from dnamamba.species.classifier import Classifier
from dnamamba.stream.batches import BatchPlan, in_order
from dnamamba.stream.given import given_sequences, one_stream
from dnamamba.stream.pieces import LongPiece, PieceCutter

if TYPE_CHECKING:
    import pandas as pd


def verdicts(classifier: Classifier, given: object, options: ClassifyOptions) -> Iterator[Verdict]:
    """Verdicts of what `given_sequences` takes, in its order, as they come."""
    plan = BatchPlan.of(classifier.model.lm.config, classifier.model.device, options.batch_bases)
    cutter = PieceCutter(classifier.alphabet, plan.bases, options.window)
    sequences = given_sequences(given, options)
    pieces = (piece for sequence in sequences for piece in cutter.pieces(sequence))
    return in_order(pieces, Judge(classifier, options.judging(classifier), plan), plan)


def classify(classifier: Classifier, given: object, options: ClassifyOptions) -> "pd.DataFrame":
    """`Classifier.classify`, which says what goes in and comes out."""
    import pandas as pd

    rows = Rows(classifier.classes, windows=options.window is not None, min_confidence=options.min_confidence)
    return pd.DataFrame([rows.row(one) for one in verdicts(classifier, given, options)], columns=list(rows.columns))


def classify_stream(classifier: Classifier, sequence: object, options: ClassifyOptions) -> Iterator[Verdict]:
    """`Classifier.classify_stream`, which says what goes in and comes out."""
    options = replace(options, every=options.every or EVERY)
    plan = BatchPlan.of(classifier.model.lm.config, classifier.model.device, options.batch_bases)
    stream = one_stream(sequence, options)
    blocks = PieceCutter(classifier.alphabet, 0).tokens(stream)
    piece = LongPiece(stream.name, 0, blocks, None, None, stream)
    return Judge(classifier, options.judging(classifier, live=True), plan).stream(piece)
