"""Circles find their common origin wherever their records start, mutated and with indels."""

import numpy as np
import pytest
from memory_genomes import random_dna

from dnamamba.errors import InputError
from dnamamba.species.circles import common_origin, turned


def _relative(circle, seed):
    """A relative: 3% of bases changed, one deletion of 7 bases."""
    rng = np.random.default_rng(seed)
    other = circle.copy()
    hit = rng.random(len(other)) < 0.03
    other[hit] = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, hit.sum())]
    return np.delete(other, slice(6000, 6007))


@pytest.mark.parametrize("start", [0, 1, 577, 5998, 8000, 8992])
def test_a_turned_relative_is_turned_back(start):
    circle = random_dna(9000, 1)
    relative = _relative(circle, 2)
    moved = turned(relative, start)
    back = turned(moved, common_origin(circle, moved))
    assert np.array_equal(back, relative)


def test_a_stranger_is_refused():
    with pytest.raises(InputError, match=r"mouse: shares \d+ unique 16-mers"):
        common_origin(random_dna(5000, 1), random_dna(5000, 2), "mouse")


def test_real_mitogenomes(real_data):
    from dnamamba.species.fasta_genome import read_genome

    human = next(iter(read_genome(f"{real_data}/mito/human.fa", "human").contigs.values()))
    for name in ("chimpanzee", "bonobo", "orangutan"):
        (circle,) = read_genome(f"{real_data}/mito/{name}.fa", name).contigs.values()
        # Their records start at tRNA-Phe, position 577 of the human one (NC_012920.1), give or take indels.
        assert abs(len(circle) - common_origin(human, circle, name) - 576) < 15
