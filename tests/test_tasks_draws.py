"""Counted random numbers: the known hash, equal shares, no two streams alike, the same in pieces."""

import torch

from dnamamba.tasks.draws import _mix, random_below, random_bits


def lowbias32(x):
    """The published C code, in Python."""
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def test_mix_is_the_published_hash():
    numbers = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 123456789]
    assert _mix(torch.tensor(numbers)).tolist() == [lowbias32(x) for x in numbers]


def test_shares_are_equal_in_every_direction():
    bits = random_bits(3, 1, torch.arange(400)[:, None], torch.arange(500))
    assert bits.min() >= 0
    assert bits.max() < 2**32
    counts = torch.bincount(random_below(16, bits).flatten(), minlength=16).double()
    expected = bits.numel() / 16
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-square, 15 degrees of freedom: p = 1e-4
    for other in (bits[1:, :] ^ bits[:-1, :], bits[:, 1:] ^ bits[:, :-1]):
        counts = torch.bincount(random_below(16, other).flatten(), minlength=16).double()
        assert ((counts - other.numel() / 16) ** 2 / (other.numel() / 16)).sum() < 45
    assert len(bits.unique()) > 0.9999 * bits.numel()


def test_a_piece_is_that_piece_of_the_whole_and_seeds_and_streams_differ():
    samples = torch.arange(2**31, 2**31 + 4)[:, None]
    whole = random_bits(0, 0, samples, torch.arange(100))
    assert torch.equal(random_bits(0, 0, samples[1:3], torch.arange(40, 60)), whole[1:3, 40:60])
    for seed, stream in ((1, 0), (0, 1)):
        assert (random_bits(seed, stream, samples, torch.arange(100)) == whole).sum() == 0
