"""Walking over a genome: every base once, in order; regions of a split, gaps and tails as asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_genomes import MemoryGenome, random_dna, random_genome
from store_cases import write_fasta

import dnamamba
from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.splits import SplitConfig, plan_splits
from dnamamba.pipelines.store_windows import walk_windows


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    length=st.integers(1, 15),
    step=st.integers(1, 20),
    tail=st.booleans(),
)
def test_windows_are_what_a_plain_loop_gives(lengths, length, step, tail):
    genome = random_genome("g", {f"c{i}": n for i, n in enumerate(lengths)})
    want = []
    for contig, sequence in genome.contigs.items():
        covered = 0
        for start in range(0, len(sequence), step):
            whole = start + length <= len(sequence)
            if whole or (tail and covered < len(sequence)):
                covered = min(start + length, len(sequence))
                want.append((contig, start, sequence[start:covered].tobytes()))
    got = [(c, start, bases.tobytes()) for c, start, bases in walk_windows(genome, length, step=step, tail=tail)]
    assert got == want


def test_a_step_of_the_length_reads_every_base_once():
    genome = random_genome("g", {"a": 1000, "b": 77})
    got = b"".join(window.bases.tobytes() for window in walk_windows(genome, 64, tail=True))
    assert got == b"".join(sequence.tobytes() for sequence in genome.contigs.values())


def test_windows_of_a_part_stay_inside_its_regions():
    genome = random_genome("g", {"a": 100_000, "b": 90_000})
    splits = plan_splits([genome], SplitConfig(margin=1000))
    for part, regions in splits.parts.items():
        inside = {(r.contig, start) for r in regions for start in range(r.start, r.end - 511, 512)}
        got = {(window.contig, window.start) for window in walk_windows(genome, 512, splits=splits, part=part)}
        assert got == inside
    with pytest.raises(InputError, match="other sequence than when the split was made"):
        walk_windows(random_genome("g", {"a": 100_000}), 512, splits=splits)
    with pytest.raises(InputError, match="no part 'dev' in the split; there are train, valid, test"):
        walk_windows(genome, 512, splits=splits, part="dev")


def test_windows_of_gaps_are_passed_over():
    sequence = np.concatenate([np.full(100, ord("N")), random_dna(50), np.full(50, ord("n")), random_dna(100)])
    genome = MemoryGenome("g", {"c": sequence})
    assert [window.start for window in walk_windows(genome, 100)] == [0, 100, 200]
    assert [window.start for window in walk_windows(genome, 100, most_n=0.5)] == [100, 200]
    assert [window.start for window in walk_windows(genome, 100, most_n=0.49)] == [200]
    assert [window.start for window in walk_windows(genome, 50, most_n=0)] == [100, 200, 250]


def test_contigs_in_the_order_asked():
    genome = random_genome("g", {"a": 10, "b": 10, "c": 10})
    assert [window.contig for window in walk_windows(genome, 10, contigs=["c", "a"])] == ["c", "a"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"length": 0}, "a length and a step of 1 base or more, got 0 and 0"),
        ({"length": 5, "step": -1}, "a length and a step of 1 base or more, got 5 and -1"),
        ({"length": 5, "most_n": 50}, "most_n is a share from 0 to 1, got 50"),
        ({"length": 5, "contigs": ["x"]}, "no contig 'x'"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(options, message):
    with pytest.raises(InputError, match=message):
        walk_windows(random_genome("g", {"a": 10}), **options)


@pytest.mark.parametrize("layout", ["raw", "packed"])
def test_a_store_s_assembly_is_walked_the_same(tmp_path, layout):
    genome = random_genome("g", {"chr1": 5000, "chr2": 3000})
    ingest(write_fasta(tmp_path / "g.fa", genome.contigs), tmp_path / "s", layout=layout)
    assembly = dnamamba.open_store(tmp_path / "s")["g"]
    ours, theirs = (list(one.windows(700, tail=True, contigs=["chr2", "chr1"])) for one in (assembly, _walked(genome)))
    assert [(w.contig, w.start, w.bases.tobytes()) for w in ours] == [
        (w.contig, w.start, w.bases.tobytes()) for w in theirs
    ]
    assert next(assembly.windows(700, contigs=["1"])).contig == "chr1"  # an alias


class _walked:
    def __init__(self, genome):
        self._genome = genome

    def windows(self, length, **options):
        return walk_windows(self._genome, length, **options)
