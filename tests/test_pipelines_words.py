"""Words as numbers, against letters."""

import numpy as np
import pytest

from dnamamba.pipelines.words import hashed, words


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 16, 24, 31])
@pytest.mark.parametrize("length", [0, 1, 23, 24, 25, 300])
def test_as_letters_spell_them(width, length):
    tokens = np.random.default_rng(width).choice(5, length, p=[0.245] * 4 + [0.02]).astype(np.uint8)
    codes, whole = words(tokens, width)
    assert len(codes) == len(whole) == max(0, length - width + 1)
    for at in range(len(codes)):
        word = tokens[at : at + width].tolist()
        assert whole[at] == (4 not in word)
        if whole[at]:
            assert int(codes[at]) == int("".join(map(str, word)), 4)


def test_hashes_are_even():
    codes, _ = words(np.random.default_rng(0).integers(0, 4, 50_000).astype(np.uint8), 24)
    counts = np.bincount(hashed(codes, 3).astype(np.int64), minlength=8)
    assert len(counts) == 8
    assert 0.95 < counts.min() / counts.mean() <= counts.max() / counts.mean() < 1.05
