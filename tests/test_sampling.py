"""Keyed permutations are permutations, sources get their weight, and everything is a pure function of index and key."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamamba.sampling import below, choose, coin, hash_indices, key_of, mix, permute


def _permute(size, key, bound=None):
    every = np.arange(size)
    return permute(every, np.full(size, size), np.full(size, key, dtype=np.uint64), bound or size)


@settings(deadline=None)
@given(size=st.integers(1, 700), key=st.integers(0, 2**64 - 1), spare=st.integers(0, 50))
def test_permute_is_a_permutation(size, key, spare):
    assert sorted(_permute(size, key, size + spare).tolist()) == list(range(size))


def test_permute_is_a_pure_function_of_each_index():
    sizes, keys = np.array([100, 101, 100, 7]), np.array([5, 6, 5, 9], dtype=np.uint64)
    indices = np.array([99, 100, 3, 6])
    together = permute(indices, sizes, keys, 102)
    alone = [permute(indices[i : i + 1], sizes[i : i + 1], keys[i : i + 1], 102)[0] for i in range(4)]
    assert together.tolist() == alone


def test_permutations_look_random():
    size, keys = 64, 4000
    places = np.stack([_permute(size, key) for key in range(keys)])
    # Every index goes to every place about equally often: 62.5 +- 7.9 times, so 6 sigma is 47.
    counts = np.stack([np.bincount(places[:, i], minlength=size) for i in range(size)])
    assert np.abs(counts - keys / size).max() < 48
    # Neighbours do not stay neighbours: chance is about 2 / 64.
    assert (np.abs(np.diff(places, axis=1)) == 1).mean() < 0.045


def test_mix_is_splitmix64():
    # First outputs of SplitMix64 from seed 1234567 (Vigna's splitmix64.c), whose state steps by the golden gamma.
    seed, gamma = 1234567, 0x9E3779B97F4A7C15
    state = np.array([(seed + gamma * i) & (2**64 - 1) for i in (1, 2, 3)], dtype=np.uint64)
    assert mix(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_depend_on_every_part_and_on_order():
    keys = {key_of(), key_of(0), key_of(0, 0), key_of(1, 2), key_of(2, 1), key_of(-1), key_of(2**64 - 2)}
    assert len(keys) == 7
    assert key_of(3, 4) == key_of(3, 4)


def test_coin_is_fair_and_keyed():
    first, second = coin(np.arange(100_000), 1), coin(np.arange(100_000), 2)
    assert abs(first.mean() - 0.5) < 0.01  # 6 sigma
    assert abs((first == second).mean() - 0.5) < 0.01


def test_below_is_uniform():
    drawn = below(hash_indices(np.arange(100_000), 3), np.full(100_000, 10))
    assert np.abs(np.bincount(drawn, minlength=10) - 10_000).max() < 600


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0), (3.0, 1.0), (0.01, 1.0, 5.0, 0.3), (1e-6, 1.0)])
def test_choose_deals_by_weight_without_gaps(weights):
    samples = np.arange(20_000)
    source, number = choose(samples, weights, key=11)
    for s, weight in enumerate(weights):
        mine = number[source == s]
        assert mine.tolist() == list(range(len(mine)))  # numbered as they come, no gap
        expected = weight / sum(weights) * (samples + 1)
        assert np.abs(np.cumsum(source == s) - expected).max() <= len(weights)
    alone = [choose(samples[i : i + 1], weights, key=11) for i in (0, 7, 19_999)]
    assert [(int(s[0]), int(n[0])) for s, n in alone] == [(source[i], number[i]) for i in (0, 7, 19_999)]


def test_choose_far_out():
    _, number = choose(np.array([2**39 - 1]), (1.0, 1.0), key=1)
    assert abs(int(number[0]) - 2**38) <= 1
    with pytest.raises(IndexError, match="past 2\\^39"):
        choose(np.array([2**39]), (1.0, 1.0), key=1)
