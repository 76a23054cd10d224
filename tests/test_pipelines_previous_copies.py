"""Distances to the previous copy of a word, against a dictionary that walks the sequence base by base."""

import numpy as np
import pytest

from dnamamba.pipelines.previous_copies import NEVER, UNKNOWN, previous_copy_distances


def _plain(sequence, positions, word):
    """Every word's last place, remembered base by base."""
    last, answers = {}, {}
    text = sequence.tobytes().decode().upper()
    for at in range(len(text) + 1):
        here = text[max(0, at - word) : at]
        if len(here) == word and set(here) <= set("ACGT"):
            answers[at] = at - last[here] if here in last else NEVER
            last[here] = at
    return [answers.get(int(at), UNKNOWN) for at in positions]


@pytest.mark.parametrize("word", [1, 2, 3, 5, 8, 24])
@pytest.mark.parametrize("at_once", [7, 100, 10_000])
def test_as_a_plain_walk_finds_them(word, at_once):
    rng = np.random.default_rng(word)
    sequence = np.frombuffer(b"ACGTacgtN", np.uint8)[rng.choice(9, 700, p=[0.123] * 8 + [0.016])].copy()
    sequence[300:420] = sequence[40:160]  # a copy 260 bases on
    sequence[500:560] = sequence[40:100]
    positions = np.unique(rng.integers(0, 700, 300))
    found = previous_copy_distances(lambda a, b: sequence[a:b], positions, word, at_once)
    assert found.tolist() == _plain(sequence, positions, word)
    assert {NEVER, UNKNOWN} <= set(found.tolist()) or word < 5


def test_a_planted_copy_is_found_where_its_first_word_ends():
    rng = np.random.default_rng(0)
    sequence = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 50_000)].copy()
    sequence[40_000:40_300] = sequence[1_000:1_300]
    positions = np.arange(39_990, 40_310)
    found = previous_copy_distances(lambda a, b: sequence[a:b], positions, at_once=4096)
    copied = np.flatnonzero(found == 39_000) + 39_990
    assert (copied[0], copied[-1], len(copied)) == (40_024, 40_300, 277)
    assert set(found[found != 39_000]) == {NEVER}


def test_the_target_itself_plays_no_part():
    sequence = np.frombuffer(b"AACCGGTT" + b"A" + b"AACCGGTT" + b"C", np.uint8)
    assert previous_copy_distances(lambda a, b: sequence[a:b], np.array([17]), 8).tolist() == [9]


def test_no_position_no_answer():
    assert len(previous_copy_distances(lambda a, b: np.zeros(b - a, np.uint8), np.array([], np.int64))) == 0
