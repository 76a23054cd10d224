"""Where a score stands among those of random variants of the same kind, from the same genome, by the same model.

Scores of different kinds of variants lie in different places: a CpG transition is likelier than another, whatever it
does. A quantile says what a score is worth among its like. `strata.py` says what is alike.
"""

import json
import os
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnamamba.config import from_dict
from dnamamba.errors import InputError
from dnamamba.files import write_whole
from dnamamba.scoring.random_variants import draw_variants

if TYPE_CHECKING:
    from dnamamba.scoring.scorer import VariantScorer

FORMAT = "dnamamba-calibration"
FEWEST = 20
"""Random variants of a stratum below which it gives no quantile."""
_STRETCH = 2**16  # bases of a stretch, at most


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Scores of random variants, by stratum. Made by `calibrate`, or read by `load_calibration`."""

    made_with: dict[str, Any]
    """What the scores depend on: model and genome digest, context, horizon, strands."""
    seed: int
    count: int
    """Random variants wanted in each stratum."""
    stretches: int
    scores: dict[str, tuple[float, ...]]
    """Stratum -> scores, rising; strata that the genome does not have are left out."""

    def quantile(self, stratum: str | None, score: float) -> float | None:
        """The share of the stratum's random variants with a lower score, ties counted half.

        Returns:
            0 to 1; None where the stratum has fewer than `FEWEST` of them.
        """
        scores = self.scores.get(stratum or "", ())
        if len(scores) < FEWEST:
            return None
        return (bisect_left(scores, score) + bisect_right(scores, score)) / 2 / len(scores)

    def check(self, made_with: Mapping[str, Any]) -> None:
        """
        Raises:
            InputError: the scores were made with another model, genome or option.
        """
        for key, value in made_with.items():
            if self.made_with.get(key) != value:
                raise InputError(
                    f"calibration: it was made with {key} {self.made_with.get(key)!r}, and this is {value!r}; "
                    "calibrate anew"
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all."""
        data = {"format": FORMAT, "format_version": 1, **asdict(self)}
        write_whole(Path(path), json.dumps(data, indent=1, sort_keys=True) + "\n")


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read what `Calibration.save` wrote.

    Raises:
        InputError: no such file, or not a calibration.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not a calibration; it has no format {FORMAT!r}")
    if (version := data.pop("format_version", None)) != 1:
        raise InputError(f"{path}: format version {version!r}; this is dnamamba that reads version 1")
    try:
        return from_dict(Calibration, data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def calibrate(scorer: "VariantScorer", count: int, *, seed: int = 0, stretches: int = 64) -> Calibration:
    """Score random variants of every stratum.

    Args:
        scorer: whose scores are to be calibrated.
        count: random variants wanted in each stratum; one that the places drawn have less of gets fewer.
        seed: of the draw; the same seed, genome and scorer give the same calibration.
        stretches: places of the genome to draw from, at most 65,536 bases each. A genome that has no more is taken
            whole.

    Raises:
        InputError: a count or number of stretches below 1.
    """
    if count < 1 or stretches < 1:
        raise InputError(f"calibration: want 1 random variant and 1 stretch or more, got {count} and {stretches}")
    length = _STRETCH if scorer.context == "full" else min(max(int(scorer.context) // 2, 1), _STRETCH)
    drawn = draw_variants(scorer.reference, count, length, stretches, seed)
    drawn.sort(key=lambda pair: (pair[0].chrom, pair[0].pos, pair[0].ref, pair[0].alt))
    found: dict[str, list[float]] = defaultdict(list)
    scores = scorer.score_many(variant for variant, _ in drawn)
    for (_, stratum), score in zip(drawn, scores, strict=True):
        if score.score is not None:
            found[stratum].append(round(score.score, 6))
    return Calibration(
        made_with=scorer.made_with(),
        seed=seed,
        count=count,
        stretches=stretches,
        scores={stratum: tuple(sorted(found[stratum])) for stratum in sorted(found)},
    )
