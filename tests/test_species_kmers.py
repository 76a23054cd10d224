"""K-mer spectra against counting by hand, and the baseline on classes that they tell apart."""

from collections import Counter

import numpy as np
import pytest
from species_cases import composed_dna

from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.kmers import fit_kmers, spectra


@pytest.mark.parametrize("k", [1, 3, 4])
def test_spectra_by_hand(k):
    text = "ACGTTGCANNACGTACCGGATTTTACG"
    counts: Counter[str] = Counter()
    for i in range(len(text) - k + 1):
        word = text[i : i + k]
        if "N" not in word:
            other = word[::-1].translate(str.maketrans("ACGT", "TGCA"))
            counts[min(word, other)] += 1
    got = spectra(DNA.encode(np.frombuffer(text.encode(), np.uint8))[None], k)[0]
    total = sum(counts.values())
    np.testing.assert_allclose(sorted(got[got > 0]), sorted(np.sqrt(n / total) for n in counts.values()), rtol=1e-6)
    reverse = DNA.reverse_complement(DNA.encode(np.frombuffer(text.encode(), np.uint8)))[None]
    np.testing.assert_allclose(spectra(reverse, k)[0], got)


def test_it_tells_what_words_tell():
    def windows(seed):
        rows = [DNA.encode(composed_dna(200, gc, [seed, i, j])) for j, gc in enumerate((0.3, 0.6)) for i in range(30)]
        return np.stack(rows), np.repeat([0, 1], 30)

    model = fit_kmers(windows(0), windows(1), 2, (1, 3), seed=0)
    tokens, labels = windows(2)
    p = model.probabilities(tokens)
    assert p.shape == (60, 2)
    assert (p.argmax(1) == labels).mean() > 0.95
    assert model.regression.valid_accuracy > 0.95
