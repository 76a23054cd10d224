"""What `dnamamba track` does, from paths and options to a written file."""

from collections.abc import Callable, Iterator

from dnamamba.device import Device, Precision, autocast_dtype, choose_device
from dnamamba.files import check_output
from dnamamba.model_directory import load
from dnamamba.pipelines.regions import Region
from dnamamba.pipelines.variant_choice import choose_regions, merge
from dnamamba.scoring.base_track import BaseTrack, Strands, Values, What
from dnamamba.scoring.plan import open_genome
from dnamamba.scoring.track_files import is_bigwig, write_track

Progress = Callable[[str, int, int | None], None]
"""Called with the contig, bases done and bases in all."""


def run_track(
    model: str,
    reference: str,
    out: str,
    *,
    assembly: str | None = None,
    aliases: str | None = None,
    regions: tuple[str, ...] = (),
    bed: str | None = None,
    what: What = "likelihood",
    strands: Strands = "both",
    context: int | None = 131_072,
    device: Device = "auto",
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> int:
    """Write a value for every base of a genome, or of regions.

    Args:
        model: model directory.
        reference, assembly, aliases: the genome, as `plan.open_genome` takes it.
        out: as in `track_files.write_track`.
        regions, bed: which bases; all without both.
        what, strands, context: as in `BaseTrack`.
        device, precision: where and how the model runs.
        progress: called after every block.

    Returns:
        Bases that have a value.

    Raises:
        InputError: whatever is wrong with a file or an option.
    """
    check_output(out, (reference,))  # and what else can be told before the work
    if out != "-":
        is_bigwig(out)
    genome = open_genome(reference, assembly, aliases)
    place = choose_device(device)
    track = BaseTrack(
        load(model, device=place), genome,
        what=what, strands=strands, context=context, autocast=autocast_dtype(precision, place),
    )  # fmt: skip
    chosen = choose_regions(regions, bed, genome.contigs, genome.resolve)
    merged = merge(
        [Region(name, 0, size) for name, size in genome.contigs.items() if size] if chosen is None else chosen
    )
    wanted = [Region(name, *interval) for name in genome.contigs for interval in merged.get(name, ())]
    total = sum(len(region) for region in wanted)

    def blocks() -> Iterator[tuple[Region, int, Values]]:
        done = 0
        for region in wanted:
            for at, values in track.blocks(region):
                yield region, at, values
                done += len(values)
                if progress is not None:
                    progress(region.contig, done, total)

    return write_track(out, genome.contigs, blocks())
