"""What a classifier says of one piece of sequence after so many bases."""

from math import log2, nan
from typing import NamedTuple


class Verdict(NamedTuple):
    """The posterior of one sequence, or window, after `bases` of it."""

    name: str
    classes: tuple[str, ...]
    """In the order of the probabilities."""
    start: int
    """First base of the piece in its sequence, 0-based; 0 for a whole sequence."""
    bases: int
    """Bases of the piece that the verdict rests on."""
    length: int | None
    """Bases of the piece; None while a stream goes on."""
    probabilities: tuple[float, ...] | None
    """Of each class, averaged over the strands that were read; None where the piece is too short to judge."""
    nats_per_base: float
    """Mean negative log-likelihood of the A/C/G/T among the bases under the language model; NaN where there is none."""
    ambiguous: int
    """Bases that are neither A, C, G nor T: N, IUPAC codes and what was read as N."""
    unknown: int
    """Letters of the sequence, as far as it was read, that are no nucleotide code and were read as N."""
    unlike: bool
    """The sequence costs more nats than (nearly all) sequences of the classes do: it is probably none of them."""
    last: bool
    """Nothing more comes of this piece."""
    source: str = ""
    """File the sequence comes from."""

    @property
    def entropy(self) -> float:
        """Of the posterior, in bits: 0 is certain. NaN where there is none."""
        if self.probabilities is None:
            return nan
        return -sum(p * log2(p) for p in self.probabilities if p > 0)

    @property
    def confidence(self) -> float:
        """Probability of the likeliest class; 0 where there is none."""
        return 0.0 if self.probabilities is None else max(self.probabilities)

    @property
    def posterior(self) -> dict[str, float]:
        """Probability of each class; empty where there is none."""
        if self.probabilities is None:
            return {}
        return dict(zip(self.classes, self.probabilities, strict=True))

    def call(self, min_confidence: float = 0.0) -> str | None:
        """The likeliest class; None where none reaches `min_confidence`, or the piece was too short to judge."""
        if self.probabilities is None:
            return None
        best = max(self.probabilities)
        return self.classes[self.probabilities.index(best)] if best >= min_confidence else None
