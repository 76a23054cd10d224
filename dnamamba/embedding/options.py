"""What a user can ask of embeddings; the same from Python and from the command line."""

from dataclasses import dataclass
from typing import Literal

from dnamamba.errors import InputError
from dnamamba.stream.given import HowToRead

Pool = Literal["mean", "last", "none"]


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(HowToRead):
    """How sequences become vectors.

    Raises:
        InputError: a value out of range, or options that do not go together.
    """

    pool: Pool = "mean"
    """One vector a sequence, the "mean" over its bases or that of its "last" base; "none": one for every base."""
    window: int | None = None
    """Embed every window of so many bases by itself, instead of whole sequences."""
    strands: Literal["both", "forward"] | None = None
    """Average over the sequence and its reverse complement, or read it as it is. None: both where it is pooled."""
    batch_bases: int | None = None
    """Bases that go through the model at once; None: by device and size of the model."""

    def __post_init__(self) -> None:
        for name in ("window", "batch_bases"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name}: want one base or more, got {number}")
        if self.pool not in ("mean", "last", "none"):
            raise InputError(f'pool: want "mean", "last" or "none", got {self.pool!r}')
        if self.strands not in (None, "both", "forward"):
            raise InputError(f'strands: want "both" or "forward", got {self.strands!r}')
        if self.strands == "both" and self.pool == "none":
            raise InputError(
                "strands: features of every base are of the strand that is read; with pool none take forward"
            )

    @property
    def both_strands(self) -> bool:
        """`strands`, its default filled in."""
        return self.pool != "none" and self.strands != "forward"
