"""What a user can ask of a classification; the same from Python and from the command line."""

from dataclasses import dataclass
from typing import Literal

from dnamamba.classify.judge import Judging
from dnamamba.errors import InputError
from dnamamba.species.classifier import Classifier
from dnamamba.stream.given import HowToRead

EVERY = 2**10
"""Bases between two looks of an early stop where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(HowToRead):
    """How sequences are read and judged.

    Raises:
        InputError: a value out of range, or options that do not go together.
    """

    window: int | None = None
    """Judge every window of so many bases by itself, instead of whole sequences."""
    strands: Literal["both", "forward"] | None = None
    """Average over the sequence and its reverse complement, or read it as it is. None: both, where that can be."""
    every: int | None = None
    """Anytime calls: one after every so many bases of a sequence, and one at its end."""
    stop_when: float | None = None
    """Stop reading a sequence once a class has this probability; looked at after every `every` bases."""
    min_confidence: float = 0.0
    """Below this probability a call is left open."""
    min_length: int | None = None
    """Sequences of fewer bases are left open. None: the shortest length the classifier was trained on."""
    batch_bases: int | None = None
    """Bases that go through the model at once; None: by device and size of the model."""

    def __post_init__(self) -> None:
        for name in ("window", "every", "min_length", "batch_bases"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name}: want one base or more, got {number}")
        for name in ("stop_when", "min_confidence"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise InputError(f"{name}: want a probability from 0 to 1, got {share}")
        if self.strands not in (None, "both", "forward"):
            raise InputError(f'strands: want "both" or "forward", got {self.strands!r}')
        if self.anytime and self.window is not None:
            raise InputError("window: goes with calls of whole windows, not with calls after every so many bases")
        if self.anytime and self.strands == "both":
            raise InputError(
                "strands: calls after every so many bases are of the forward strand; the reverse complement of what "
                "was read so far begins anew with every base"
            )

    @property
    def anytime(self) -> bool:
        """Whether there are calls, or looks, on the way."""
        return self.every is not None or self.stop_when is not None

    def judging(self, classifier: Classifier, *, live: bool = False) -> Judging:
        """For the judge; `live`: verdicts come before the next bases are asked for."""
        return Judging(
            both_strands=self.strands != "forward" and not self.anytime,
            every=EVERY if self.every is None and self.stop_when is not None else self.every,
            stop_when=self.stop_when,
            on_the_way=self.every is not None,
            shortest=self.min_length or min(classifier.config.lengths, default=1),
            live=live,
        )
