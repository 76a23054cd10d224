"""`dnamamba classify`."""

from pathlib import Path
from typing import Literal

import click

from dnamamba.commands.sequence_options import reading_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", default="-", metavar="F", help="Table (.tsv, .jsonl, .parquet) or .bed; - is standard output.")
@click.option(
    "--format", "form", type=click.Choice(["tsv", "jsonl", "parquet", "bed"]),
    help="By the name of --out; on standard output TSV, or BED with --window.",
)  # fmt: skip
@click.option("--window", metavar="N", help="Call every window of N bases by itself, along the sequence.")
@click.option(
    "--bedgraph", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="With --window: the probability of each class as FOLDER/CLASS.bedGraph too.",
)  # fmt: skip
@click.option(
    "--strands", type=click.Choice(["both", "forward"]),
    help="Average the probabilities of both strands (default), or read the sequence as it is.",
)  # fmt: skip
@click.option("--every", metavar="K", help="A call after every K bases of a sequence (forward strand), and at its end.")
@click.option(
    "--stop-when", type=float, metavar="P",
    help="Stop reading a sequence once a class has probability P; looked at every K bases, 1k by default.",
)  # fmt: skip
@click.option(
    "--min-confidence", type=float, default=0.0, metavar="P", help='Leave a call open (".") below probability P.'
)
@click.option(
    "--min-length", metavar="N", help="Leave sequences of fewer bases open; default: the shortest trained on."
)
@reading_options
def classify(
    model: Path, files: tuple[str, ...], out: str, form: str | None, window: str | None, bedgraph: Path | None,
    strands: str | None, every: str | None, stop_when: float | None, min_confidence: float, min_length: str | None,
    batch_bases: str | None, names: str, gaps: str, unknown: str, rna: bool, device: Literal["auto", "cpu", "cuda"],
) -> None:  # fmt: skip
    """Call every sequence of the FILEs with the classifier in MODEL.

    A FILE is FASTA or FASTQ (plain, gzip, bgzip; - is standard input), 2bit or a genome store. Sequences may be of any
    number and length: long ones are streamed. A row a sequence, in the order of the input: call, probability of each
    class, entropy (bits), bases read, ambiguous and unknown letters, nats a base, and whether it is unlike all classes.
    """
    from dnamamba.base_progress import BaseProgress
    from dnamamba.classify.files import classify_files
    from dnamamba.classify.options import ClassifyOptions
    from dnamamba.config import from_dict
    from dnamamba.device import choose_device
    from dnamamba.errors import usage
    from dnamamba.species.classifier import load_classifier

    with usage():
        options = from_dict(
            ClassifyOptions,
            {
                "window": window, "every": every, "min_length": min_length, "batch_bases": batch_bases,
                "strands": strands, "stop_when": stop_when, "min_confidence": min_confidence, "names": names,
                "gaps": gaps, "unknown": unknown, "rna": rna,
            },
        )  # fmt: skip
    classifier = load_classifier(model, device=choose_device(device))
    with BaseProgress("classify") as progress:
        classify_files(
            classifier, files, options, out=out, form=form, bedgraph=bedgraph, progress=progress, note=progress.note
        )
