"""Verdicts as rows of a table; the columns are those of `dnamamba classify` and of the DataFrame in Python."""

from collections.abc import Sequence

from dnamamba.classify.verdict import Verdict
from dnamamba.table_writer import Cell, Kind


class Rows:
    """Columns of a table of verdicts, and the rows."""

    def __init__(
        self, classes: Sequence[str], *, windows: bool = False, files: bool = False, min_confidence: float = 0.0
    ) -> None:
        """
        Args:
            classes: of the classifier.
            windows: a row is a window: it has a start and an end.
            files: say which file a sequence comes from.
            min_confidence: below this probability the call is left open.
        """
        self._windows, self._files, self._min_confidence = windows, files, min_confidence
        self._none: list[Cell] = [None] * len(classes)
        place: dict[str, Kind] = {"start": "int", "end": "int"} if windows else {}
        self.columns: dict[str, Kind] = {
            "name": "str",
            **place,
            "length": "int",
            "call": "str",
            **{f"p_{name}": "float" for name in classes},
            "entropy": "float",
            "bases": "int",
            "ambiguous": "int",
            "unknown": "int",
            "nats_per_base": "float",
            "unlike": "int",
            **({"file": "str"} if files else {}),
        }

    def row(self, verdict: Verdict) -> list[Cell]:
        """A value for each column."""
        row: list[Cell] = [verdict.name]
        if self._windows:
            row += [verdict.start, verdict.start + (verdict.bases if verdict.length is None else verdict.length)]
        row += [verdict.length, verdict.call(self._min_confidence)]
        row += self._none if verdict.probabilities is None else verdict.probabilities
        row += [verdict.entropy, verdict.bases, verdict.ambiguous, verdict.unknown]
        row += [verdict.nats_per_base, int(verdict.unlike)]
        if self._files:
            row.append(verdict.source)
        return row
