"""A genome whose contigs several processes write."""

from store_cases import random_bases, small_shards


def many_contigs():
    """Contigs longer than a shard of 8 KiB, many short ones over its borders, empty ones."""
    lengths = [20_000, 3_000, 0, 7_000, 9_000, 8_192, 50_001, 1, 2_047, 0]
    return {f"chr{i}": random_bases(length, i) for i, length in enumerate(lengths)}


def small_and_dated(monkeypatch):
    """Small shards, and one date in every store, so that its bytes can be compared."""
    small_shards(monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
