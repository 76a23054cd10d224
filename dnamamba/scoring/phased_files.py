"""Score the haplotypes of a phased VCF into a table."""

import os
from collections.abc import Iterator
from pathlib import Path

from dnamamba.files import check_output
from dnamamba.pipelines.variant_choice import VariantChoice, wanted_records
from dnamamba.pipelines.variant_files import VariantFile, stands_alone
from dnamamba.scoring.files import (
    About,
    Counts,
    Feed,
    Progress,
    ReferenceNames,
    survey,
    write_metadata,
)
from dnamamba.scoring.phased import COLUMNS, Block, Blocks, Scorer, check_samples, score_blocks
from dnamamba.table_writer import Format, TableWriter


def score_phased(
    scorer: Scorer,
    reference: ReferenceNames,
    variants: str | os.PathLike[str],
    out: str,
    *,
    about: About,
    form: Format | None = None,
    choice: VariantChoice | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Score every block of `phased.Blocks`, a row each.

    Args:
        scorer: scores the alleles alone, and those of a block together.
        reference, variants, about, choice, progress: as in `files.score_file`.
        out: path of a TSV, JSON lines or Parquet file; "-" is standard output. A killed run starts anew.
        form: of the output; None is told by its name.

    Returns:
        What was counted; `left_out` are alleles of haplotypes, `blocks` the rows.

    Raises:
        InputError: as `files.score_file`, or a file without genotypes.
    """
    check_output(out, (variants,))
    counts = Counts()
    total = survey(variants, reference, choice) if stands_alone(variants) else None
    with VariantFile(variants) as file:
        check_samples(file)
        blocks = Blocks(file.samples, scorer.horizon, lambda name: reference.contigs[reference.resolve(name) or name])
        with TableWriter(out, COLUMNS, form) as table:
            for row in score_blocks(scorer, _cut(file, scorer, blocks, choice, counts, progress, total)):
                table.write(row)
                counts.blocks += 1
        counts.left_out = blocks.left_out
    if out != "-":
        write_metadata(Path(f"{out}.metadata.json"), variants, about, counts)
    return counts


def _cut(
    file: VariantFile,
    scorer: Scorer,
    blocks: Blocks,
    choice: VariantChoice | None,
    counts: Counts,
    progress: Progress | None,
    total: int | None,
) -> Iterator[Block]:
    feed = Feed(wanted_records(file, choice))
    for record, scores in feed.joined(scorer.score_many(feed.variants())):
        counts.add(scores)
        yield from blocks.add(record, scores)
        if progress is not None:
            progress(counts.alleles, total)
    yield from blocks.finish()
