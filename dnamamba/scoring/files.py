"""Score a variant file: read, score, write in its order; in memory that does not depend on the number of variants."""

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dnamamba import __version__
from dnamamba.errors import InputError
from dnamamba.files import check_output, write_whole
from dnamamba.pipelines.variant_choice import VariantChoice, wanted_records
from dnamamba.pipelines.variant_files import VariantFile, VariantRecord, stands_alone
from dnamamba.pipelines.variants import UNKNOWN_CONTIG, Variant
from dnamamba.scoring.journal import Journal
from dnamamba.scoring.outputs import OutputFormat, arrow_table, open_output, output_format

if TYPE_CHECKING:
    import pyarrow as pa

    from dnamamba.scoring.types import VariantScore

ScoreMany = Callable[[Iterable[Variant]], Iterator["VariantScore"]]
"""Scores of variants, one each, in their order, lazily: `VariantScorer.score_many`, or what other processes give."""
About = Mapping[str, Mapping[str, Any]]
Progress = Callable[[int, int | None], None]
"""Called with alleles done and alleles in all, None where that is not known."""


class ReferenceNames(Protocol):
    """What is asked of a reference here."""

    @property
    def contigs(self) -> Mapping[str, int]: ...

    def resolve(self, chrom: str) -> str | None: ...


@dataclass
class Counts:
    """What became of a file."""

    records: int = 0
    alleles: int = 0
    """Results: one for each ALT allele, one for a record without any."""
    scored: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> alleles."""
    resumed: int = 0
    """Alleles whose result an earlier, killed run had kept."""
    sorted: bool = True
    """Whether an index could be made of a VCF."""

    blocks: int = 0
    """Of haplotypes, when those were asked for."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> alleles of haplotypes that no block holds, or that stand alone."""

    def add(self, scores: Sequence["VariantScore"]) -> None:
        """Count a record."""
        self.records += 1
        for score in scores:
            self.alleles += 1
            if score.skipped is None:
                self.scored += 1
            else:
                self.skipped[score.skipped] += 1


def score_file(
    score_many: ScoreMany,
    reference: ReferenceNames,
    variants: str | os.PathLike[str],
    out: str,
    *,
    about: About,
    form: OutputFormat | None = None,
    choice: VariantChoice | None = None,
    resume: bool = False,
    window: int = 1,
    progress: Progress | None = None,
) -> Counts:
    """Score every allele of a file and write the result.

    Args:
        score_many: gives the scores.
        reference: of the variants.
        variants: VCF, BCF or TSV; "-" is standard input.
        out: path or "-" for standard output. A file appears whole, beside `OUT.metadata.json`; a run that was killed
            leaves a journal, from which `resume` goes on.
        about: plain data that the scores depend on, {"model": {..}, "reference": {..}, "options": {..}}. It goes into
            the output and the metadata, and guards the journal.
        form: of the output; None is told by its name.
        choice: which records are wanted; the others do not come into the output. None wants all.
        resume: use the scores that a killed run has left.
        window: variants that are scored together (`VariantScorer.window`): the scores of whole windows are kept.
        progress: called after every record.

    Raises:
        InputError: a damaged file, contigs none of which the reference has, or a journal of something else.
    """
    check_output(out, (variants,))
    counts, total = Counts(), None
    if stands_alone(variants):  # a pass without the model: damage and foreign names show before the first score
        total = survey(variants, reference, choice)
    with VariantFile(variants) as file, _journal(out, about, resume, window) as journal:
        counts.resumed = journal.count if journal is not None else 0
        form = output_format(out, form, file.form)
        with open_output(out, form, file, reference.contigs.items(), _in_one_line(about), reference.resolve) as output:
            feed = Feed(wanted_records(file, choice))
            for record, results in feed.joined(_scores(feed, score_many, journal)):
                counts.add(results)
                output.write(record, results)
                if progress is not None:
                    progress(counts.alleles, total)
            if counts.alleles and counts.skipped[UNKNOWN_CONTIG] == counts.alleles:
                raise _foreign_names(file.label, feed.contigs, reference)
        counts.sorted = output.sorted
        if out != "-":
            write_metadata(Path(f"{out}.metadata.json"), variants, about, counts)
    return counts


def _journal(out: str, about: About, resume: bool, window: int) -> Any:
    if out == "-":
        return nullcontext()
    return Journal(out, {"dnamamba": __version__, **about}, resume=resume, window=window)


class Feed:
    """The wanted records, their alleles as variants, and the results joined to the records again."""

    def __init__(self, records: Iterator[VariantRecord]) -> None:
        self._records = records
        self._waiting: deque[VariantRecord] = deque()
        self.contigs: dict[str, None] = {}
        """Contigs met so far, under the file's names."""

    def variants(self) -> Iterator[Variant]:
        """As many as the scorer asks for; their records wait here until the results come."""
        for record in self._records:
            self.contigs[record.chrom] = None
            self._waiting.append(record)
            for alt in record.alleles:
                yield Variant(record.chrom, record.pos, record.id, record.ref, alt)

    def joined(self, scores: Iterator["VariantScore"]) -> Iterator[tuple[VariantRecord, list["VariantScore"]]]:
        """Each record with the scores of its alleles, of scores that come in the order of `variants`."""
        for first in scores:
            record = self._waiting.popleft()
            results = [first, *(next(scores) for _ in record.alleles[1:])]
            if any((one.pos, one.alt) != (record.pos, alt) for one, alt in zip(results, record.alleles, strict=True)):
                raise AssertionError("scores must come in the order of the variants")
            yield record, results


def _scores(feed: Feed, score_many: ScoreMany, journal: Journal | None) -> Iterator["VariantScore"]:
    """Those of the journal first, then new ones, which it keeps."""
    variants = feed.variants()
    if journal is not None:
        yield from journal.replay(variants)
        variants = _flushing(variants, journal)
    for score in score_many(variants):
        if journal is not None:
            journal.add(score)
        yield score


def _flushing(variants: Iterator[Variant], journal: Journal) -> Iterator[Variant]:
    """The scorer asks for more when all that came before is scored and written: what was kept goes to the disk."""
    for variant in variants:
        journal.flush()
        yield variant


def survey(path: str | os.PathLike[str], reference: ReferenceNames, choice: VariantChoice | None) -> int:
    """Alleles that are wanted of a file.

    Raises:
        InputError: damage anywhere in it, or contigs none of which the reference has.
    """
    alleles, contigs = 0, dict[str, None]()
    with VariantFile(path) as file:
        for record in wanted_records(file, choice):
            contigs[record.chrom] = None
            alleles += len(record.alleles)
    with VariantFile(path) as file:
        if not contigs:  # nothing is wanted: the regions are empty, or the names are foreign
            contigs = dict.fromkeys(file.index() or (record.chrom for record in file.records()))
        if contigs and not any(reference.resolve(name) for name in contigs):
            raise _foreign_names(file.label, contigs, reference)
    return alleles


def _foreign_names(label: str, contigs: Iterable[str], reference: ReferenceNames) -> InputError:
    theirs, ours = (
        ", ".join(names[:6]) + (", .." if len(names) > 6 else "") for names in (list(contigs), list(reference.contigs))
    )
    return InputError(f"{label}: none of its contigs is in the genome: the file has {theirs}; the genome has {ours}")


def _in_one_line(about: About) -> str:
    """ "0.1.0 score model.weights_sha256=..": the last part of a ##source line."""
    flat = [f"{key}.{name}={value}" for key, part in about.items() for name, value in part.items() if value is not None]
    return f"{__version__} score {' '.join(flat)}"


def write_metadata(path: Path, variants: str | os.PathLike[str], about: About, counts: Counts) -> None:
    """Write what made an output. No time and no path: the same command gives the same bytes."""
    digest = None
    if stands_alone(variants):
        with open(variants, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    data = {
        "format": "dnamamba-scores 1",
        "dnamamba": __version__,
        **about,
        "variants": {"name": Path(variants).name if digest else "standard input", "sha256": digest},
        "counts": {
            "records": counts.records,
            "alleles": counts.alleles,
            "scored": counts.scored,
            "skipped": dict(sorted(counts.skipped.items())),
            **({"blocks": counts.blocks, "left_out": dict(sorted(counts.left_out.items()))} if counts.blocks else {}),
        },
    }
    write_whole(path, json.dumps(data, indent=1) + "\n")


def score_table(
    score_many: ScoreMany,
    reference: ReferenceNames,
    variants: str | os.PathLike[str],
    *,
    choice: VariantChoice | None = None,
) -> "pa.Table":
    """Score every allele of a file into an Arrow table with the columns `outputs.COLUMNS`, in file order.

    Raises:
        InputError: as `score_file`.
    """
    if stands_alone(variants):
        survey(variants, reference, choice)
    with VariantFile(variants) as file:
        feed = Feed(wanted_records(file, choice))
        return arrow_table(score_many(feed.variants()))
