"""`dnamamba classify`: files in, a table or tracks out; one bad file does not lose the others' results."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from dnamamba.classify.judge import Judge
from dnamamba.classify.options import ClassifyOptions
from dnamamba.classify.rows import Rows
from dnamamba.classify.tracks import BedGraphs, BedWriter
from dnamamba.classify.verdict import Verdict
from dnamamba.errors import InputError, UsageError
from dnamamba.files import check_output
from dnamamba.species.classifier import Classifier
from dnamamba.stream.batches import BatchPlan, enough_memory, in_order
from dnamamba.stream.from_files import Failures, pieces_of_files, settled_memory
from dnamamba.stream.pieces import PieceCutter, Progress
from dnamamba.table_writer import Format, TableWriter, table_format


def classify_files(
    classifier: Classifier, paths: Sequence[str], options: ClassifyOptions, *, out: str = "-", form: str | None = None,
    bedgraph: Path | None = None, progress: Progress | None = None, note: Callable[[str], None] = lambda text: None,
) -> None:  # fmt: skip
    """Call every sequence of every file.

    Args:
        classifier: what judges.
        paths: whatever `open_sequences` takes.
        options: how.
        out: the table or BED file; "-" is standard output.
        form: "tsv", "jsonl", "parquet", or "bed" for windows; None is told by `out`: on standard output BED for
            windows, else TSV.
        bedgraph: a folder for a bedGraph of each class, beside the table.
        progress: is told the sequence, the bases so far, and None.
        note: is given lines about bad files, about what was left open, and a summary.

    Raises:
        InputError: formats that do not fit, or an output that is an input; or, once all is written, files that could
            not be read to their end.
    """
    check_output(out, paths)
    windows = options.window is not None
    bed = form == "bed" or (form is None and windows and (out == "-" or Path(out).suffix.lower() == ".bed"))
    if not windows and (bed or bedgraph is not None):
        raise UsageError("BED and bedGraph are of windows: say how long with --window")
    table: Format | None = None if bed else table_format(out, _table_form(form))
    model = classifier.model
    plan = BatchPlan.of(model.lm.config, model.device, options.batch_bases)
    cutter = PieceCutter(classifier.alphabet, plan.bases, options.window, progress)
    failures, tally, judging = Failures(note, len(paths)), Tally(windows), options.judging(classifier)
    pieces = pieces_of_files(paths, cutter, options, failures)
    judge = Judge(classifier, judging, plan)
    began = time.monotonic()
    found = tally.watch(in_order(pieces, judge, plan, failures), options.min_confidence)
    with ExitStack() as stack, enough_memory(plan), settled_memory():
        sinks: list[Callable[[Verdict], None]] = []
        if bedgraph is not None:
            sinks.append(stack.enter_context(BedGraphs(bedgraph, classifier.classes)).write)
        if table is None:
            sinks.append(stack.enter_context(BedWriter(out, options.min_confidence)).write)
        else:
            rows = Rows(
                classifier.classes, windows=windows, files=len(paths) > 1, min_confidence=options.min_confidence
            )
            writer = stack.enter_context(TableWriter(out, rows.columns, table))
            sinks.append(lambda verdict: writer.write(rows.row(verdict)))
            if options.anytime and out == "-":  # someone may be looking on
                sinks.append(lambda verdict: writer.flush())
        for verdict in found:
            for sink in sinks:
                sink(verdict)
        if failures.of and not tally.pieces:  # nothing to keep: no file is left
            failures.check("no sequence was read")
    seconds = time.monotonic() - began
    what = f"{tally.pieces:,} {'windows' if windows else 'sequences'}, {cutter.bases:,} bases"
    note(f"{what}, {seconds:.1f} s, {cutter.bases / max(seconds, 1e-9):,.0f} bases/s")
    for line in tally.remarks(judging.shortest, options.min_confidence):
        note(line)
    failures.check("all that was read is in the output")


def _table_form(form: str | None) -> Format | None:
    known: dict[str, Format] = {"tsv": "tsv", "jsonl": "jsonl", "parquet": "parquet"}
    if form is not None and form not in known:
        raise InputError(f"format: want tsv, jsonl, parquet or bed, got {form!r}")
    return None if form is None else known[form]


class Tally:
    """Counts what goes by, for the summary."""

    def __init__(self, windows: bool) -> None:
        self._windows = windows
        self.pieces = self.open = self.short = self.unlike = self.unknown = 0
        self._first_short = ""

    def watch(self, verdicts: Iterator[Verdict], min_confidence: float) -> Iterator[Verdict]:
        """The same verdicts."""
        for verdict in verdicts:
            yield verdict
            if not verdict.last:
                continue
            self.pieces += 1
            self.unlike += verdict.unlike
            if not self._windows:  # a window's count is of the sequence up to there
                self.unknown += verdict.unknown
            if verdict.probabilities is None:
                self._first_short = self._first_short or f"{verdict.name}, {verdict.length:,} bases"
                self.short += 1
            elif verdict.confidence < min_confidence:
                self.open += 1

    def remarks(self, shortest: int, min_confidence: float) -> Iterator[str]:
        """Lines about what a user may not expect."""
        if self.short:
            why = f"shorter than the {shortest:,} bases that this classifier can judge"
            yield f"{self.short:,} left open, {why} (the first: {self._first_short})"
        if self.open:
            yield f"{self.open:,} left open below a probability of {min_confidence:g}"
        if self.unknown:
            yield f"{self.unknown:,} letters that are no nucleotide code were read as N"
        if self.unlike:
            yield f"{self.unlike:,} unlike all classes by their likelihood: probably of none of them"
