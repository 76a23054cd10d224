"""`dnamamba embed`: files in, a matrix of vectors out; one bad file does not lose the others' results."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dnamamba.config import to_dict
from dnamamba.embedding.embedder import Embedder
from dnamamba.embedding.options import EmbedOptions
from dnamamba.embedding.writers import open_writer
from dnamamba.errors import InputError
from dnamamba.files import check_output
from dnamamba.model import MambaLM
from dnamamba.model_directory import LANGUAGE_MODEL, load, read_record
from dnamamba.pipelines.alphabet import ALPHABETS
from dnamamba.species.classifier import load_classifier
from dnamamba.stream.batches import enough_memory, in_order
from dnamamba.stream.from_files import Failures, pieces_of_files, settled_memory
from dnamamba.stream.pieces import PieceCutter, Progress


def load_backbone(path: Path, device: torch.device) -> MambaLM:
    """The language model of a model directory, or the one inside a classifier.

    Raises:
        InputError: as `dnamamba.load`.
    """
    if read_record(path).kind == LANGUAGE_MODEL:
        return load(path, device=device)
    return load_classifier(path, device=device).model.lm


def embed_files(
    model: MambaLM, paths: Sequence[str], options: EmbedOptions, out: str, *, progress: Progress | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> None:  # fmt: skip
    """Embed every sequence of every file.

    Args:
        model: in eval mode.
        paths: whatever `open_sequences` takes.
        options: how.
        out: a name that ends in .parquet or .zarr.
        progress: is told the sequence, the bases so far, and None.
        note: is given lines about bad files, and a summary.

    Raises:
        InputError: a name that does not fit; or, once all is written, files that could not be read to their end.
    """
    if not out.endswith(".zarr"):  # a folder, and refused where it is there already
        check_output(out, paths)
    embedder = Embedder(model, options)
    cutter = PieceCutter(ALPHABETS[model.config.alphabet], embedder.plan.bases, options.window, progress)
    failures, count, began = Failures(note, len(paths)), 0, time.monotonic()
    pieces = pieces_of_files(paths, cutter, options, failures)
    attributes = {
        "pool": options.pool,
        "window": options.window,
        "both_strands": options.both_strands,
        "model": to_dict(model.config),
    }
    every_base = options.pool == "none"
    with (
        enough_memory(embedder.plan),
        settled_memory(),
        open_writer(out, model.config.d_model, every_base=every_base, attributes=attributes) as writer,
    ):

        def failed(source: str, error: InputError) -> None:
            failures(source, error)
            writer.abandon()

        for part in in_order(pieces, embedder, embedder.plan, failed):
            writer.write(part)
            count += part.last
        if failures.of and not count:  # nothing to keep: no file is left
            failures.check("no sequence was read")
    seconds = time.monotonic() - began
    what = "windows" if options.window is not None else "sequences"
    note(f"{count:,} {what}, {cutter.bases:,} bases, {seconds:.1f} s, {cutter.bases / max(seconds, 1e-9):,.0f} bases/s")
    failures.check(f"all that was read is in {out}")
