"""The species bound: its formula by hand, its shape, and an exact library matcher that reaches it."""

import numpy as np
import pytest
from library_matcher import LibraryMatcher, matcher_accuracy

from dnamamba.pipelines.simulate.bound import (
    bound_table,
    expected_elements,
    library_accuracy,
    recognisable,
    species_accuracy,
    spectrum_means,
)
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.simulate.contig import simulate_contig
from dnamamba.pipelines.simulate.library import make_library


def test_recognisable_places_by_brute_force():
    """Slide a window over an element; count the places weighted by P(two diagnostic bases or more in the overlap)."""
    q, expected = 0.1, 0.0
    for start in range(-9, 25):
        overlap = max(0, min(start + 10, 25) - max(start, 0))
        expected += 1 - (1 - q) ** overlap - overlap * q * (1 - q) ** max(overlap - 1, 0)
    assert recognisable(10, 25, q) == pytest.approx(expected)
    assert recognisable(25, 10, q) == pytest.approx(expected)


def test_without_pan_the_bound_is_the_textbook_formula():
    config = SimulateConfig(young_pan_per_mb=0.0)
    for length in (2**10, 2**16):
        unseen = np.exp(-expected_elements(config, "human", length))
        assert library_accuracy(config, length) == pytest.approx(1 - 0.8 * unseen)


def test_rises_from_chance_to_certainty():
    table = bound_table(SimulateConfig())
    for name in ("library", "library_and_spectrum"):
        assert np.all(np.diff(table[name]) > 0)
        assert 0.2 < table[name][0] < 0.22
        assert 0.99 < table[name][-1] <= 1.0
    assert np.all(np.array(table["library_and_spectrum"]) >= table["library"])


def test_the_spectrum_alone_tells_species_given_enough():
    """No young elements: chance at short lengths; at a million bases well above it."""
    config = SimulateConfig(young_per_mb=0.0, young_pan_per_mb=0.0)
    assert library_accuracy(config, 2**20) == pytest.approx(0.2)
    assert species_accuracy(config, 2**8) < 0.22
    assert 0.5 < species_accuracy(config, 2**20) <= 1.0
    means = spectrum_means(config)
    apart = ((means[3] - means[4]) ** 2).sum()  # gorilla and orangutan, the longest lineages
    assert apart > ((means[1] - means[2]) ** 2).sum()  # chimpanzee and bonobo, the shortest


@pytest.mark.parametrize("length", [2**12, 2**14], ids=["4k", "16k"])
def test_exact_matcher_reaches_the_library_bound(length):
    """Denser than the default, so that 4 Mb a species hold enough elements; the formula is the same.

    Tolerance: about 3 standard errors over the hundreds of elements that decide, and up to 5 points below the bound for
    elements cut by a window's end, since the matcher wants three diagnostic bases where the bound asks for two.
    """
    config = SimulateConfig(seed=3, bases=4_000_000, contigs=4, young_per_mb=40.0, young_pan_per_mb=20.0)
    library = make_library(config.seed, config.young_diagnostic)
    contigs = [simulate_contig(config, library, i) for i in range(config.contigs)]
    sequences = [[contig.sequence(s) for s in range(5)] for contig in contigs]
    found = matcher_accuracy(config, LibraryMatcher(library), sequences, length)
    bound = library_accuracy(config, length)
    assert bound - 0.05 < found < bound + 0.03
