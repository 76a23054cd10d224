"""The memory plan: what is measured, what fits a budget, and that a plan survives a checkpoint."""

import json

import pytest
import torch
from random_models import random_model

from dnamamba import footprint, memory
from dnamamba.errors import InputError
from dnamamba.footprint import Footprint, measure_footprint
from dnamamba.memory import (
    MARGIN,
    Portion,
    describe,
    largest_piece,
    lean_piece,
    plan_by_tokens,
    plan_from_json,
    plan_memory,
    plan_to_json,
    portion_within,
)

PRINT = Footprint(fixed=5e7, per_token=2e4, border=234_000)


def _needed(piece, context, footprint=PRINT):
    borders = context / piece * footprint.border if piece < context else 0
    return footprint.fixed + piece * footprint.per_token * MARGIN + borders + memory.HELD_PER_TOKEN * context


@pytest.mark.parametrize("budget, context", [(4e9, 2**20), (4e9, 2**24), (16e9, 2**24), (16e9, 248_956_422)])
def test_the_largest_piece_fits_and_the_next_does_not(budget, context):
    piece = largest_piece(PRINT, budget, context)
    assert piece % 1024 == 0
    assert _needed(piece, context) <= budget < _needed(piece + 1024, context)


def test_short_windows_share_the_budget():
    piece = largest_piece(PRINT, 4e9, 2**12)
    assert piece > 2**12
    assert portion_within(PRINT, 4e9, 2**12, 1000) == Portion(rows=42, slice_length=2**12)  # 24 times 42 are 1,008


def test_micro_batches_are_of_about_one_size():
    """1,000 windows of which 700 fit: two micro-batches of 500, not 700 and 300."""
    assert plan_by_tokens({64: 1000}, 64 * 700) == {64: Portion(500, 64)}
    assert plan_by_tokens({64: 10}, 64 * 700) == {64: Portion(10, 64)}
    assert plan_by_tokens({64: 7}, 64 * 3) == {64: Portion(3, 64)}


def test_a_window_longer_than_the_tokens_is_sliced():
    assert plan_by_tokens({100: 4, 1000: 2}, 250) == {100: Portion(2, 100), 1000: Portion(1, 250)}


def test_micro_batches_stop_where_the_device_is_full_and_slices_do_not():
    small = Footprint(fixed=0, per_token=1.0, border=0)
    assert portion_within(small, 1e12, 2**10, 2**12).rows == 2**10
    assert portion_within(small, 1e12, 2**23, 1) == Portion(1, 2**23)


def test_lean_takes_no_more_than_it_says():
    assert portion_within(PRINT, 1e11, 2**20, 4, 2**17) == Portion(1, 2**17)
    assert portion_within(PRINT, 1e11, 2**10, 1024, 2**17) == Portion(128, 2**10)


def test_lean_slices_grow_with_what_is_enough_between_two_bounds():
    assert lean_piece(PRINT, 1e11, 2**20) == 2**18
    assert lean_piece(PRINT, 1e9, 2**20) == 2**17
    assert lean_piece(PRINT, 4e9, 2**20) == largest_piece(PRINT, 4e9, 2**20)


def test_lean_takes_the_number_of_whole_windows_that_comes_nearest():
    """Of 2^17 and 2^16 letters where 209,000 fit: two windows and three, not one and three."""
    each = PRINT.per_token * MARGIN
    assert [lean_piece(PRINT, PRINT.fixed + 209_000 * each, 2**power) >> power for power in (17, 16)] == [2, 3]
    assert lean_piece(PRINT, PRINT.fixed + 170_000 * each, 2**17) == 2**17
    assert lean_piece(PRINT, 1e11, 190_000) == 190_000


def test_slices_are_of_about_one_size():
    """Of 2^20 tokens 213,000 fit: five slices of 205 * 1,024, not four of 208 and one of 192."""
    small = Footprint(fixed=0, per_token=1.0, border=0)
    assert portion_within(small, 1e12, 2**20, 1, 213_000) == Portion(1, 205 * 1024)
    assert plan_by_tokens({3000: 1}, 1100) == {3000: Portion(1, 1024)}  # whole grains, and no more than was allowed


@pytest.mark.parametrize("budget", [0.0, 4e7, 6e7])
def test_too_little_memory_is_said(budget):
    with pytest.raises(
        InputError, match=r"run.memory: .* GB hold .* tokens at context 1,048,576 \(20,000 bytes each\)"
    ):
        portion_within(PRINT, budget, 2**20, 1)


def test_borders_that_eat_the_budget_leave_no_slice():
    """A slice of 4,700 tokens would fit 100 MB by itself, but 224,000 borders do not."""
    assert largest_piece(Footprint(0, 2e4, 234_000), 1e8, 2**20) == 0


def test_a_plan_comes_back_from_a_checkpoint():
    plan = {64: Portion(7, 64), 2**24: Portion(1, 2**18)}
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


@pytest.mark.parametrize("damaged", [{"256": 3}, {"256": [1]}, {"x": [1, 2]}, {"64": [0, 64]}, [1]], ids=str)
def test_a_damaged_plan_is_said(damaged):
    with pytest.raises(InputError, match=r"memory_plan\.json: no memory plan.*; delete the file, and it is made anew"):
        plan_from_json(damaged, "run/memory_plan.json")


def test_a_cpu_has_a_table():
    model = random_model()
    plan = plan_memory(model, {2**10: 64, 2**20: 2}, "auto")
    assert plan == {2**10: Portion(32, 2**10), 2**20: Portion(1, 2**16)}
    assert plan_memory(model, {2**20: 2}, "fast")[2**20].slice_length == 2**18
    assert plan_memory(model, {2**20: 2}, "lean")[2**20].slice_length == 2**13
    with pytest.raises(InputError, match="GB can be kept on a GPU only, got 4; on cpu say lean"):
        plan_memory(model, {2**20: 2}, 4.0)


def _allocator(monkeypatch, bytes_of):
    """Stands in for the GPU: `bytes_of` tokens, and what was asked for."""
    asked = []

    def peak(model, shape, autocast):
        asked.append(shape)
        return bytes_of(shape[0] * shape[1])

    monkeypatch.setattr(footprint, "_peak", peak)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return asked


LONG = [(1, 2**16), (1, 2**17)]


@pytest.mark.parametrize("context, shapes", [(2**10, [(64, 2**10), (128, 2**10)]), (2**16 + 1, LONG), (2**20, LONG)])
def test_the_footprint_is_the_line_through_two_probes(context, shapes, monkeypatch):
    asked = _allocator(monkeypatch, lambda tokens: 1_000_000 + 30 * tokens)
    found = measure_footprint(random_model(), context, None)
    assert asked == [shapes[0], *shapes]
    assert (found.fixed, found.per_token) == (1_000_000, 30)
    assert found.border == 3 * 48 * (3 + 16) * 4  # blocks * channels * (tail + states) * bytes


def test_a_probe_that_does_not_fit_is_halved(monkeypatch):
    def small_card(tokens):
        if tokens > 2**13:
            raise torch.OutOfMemoryError("out of memory")
        return 30 * tokens

    _allocator(monkeypatch, small_card)
    assert measure_footprint(random_model(), 2**20, None).per_token == 30

    def no_card(tokens):
        raise torch.OutOfMemoryError("out of memory")

    _allocator(monkeypatch, no_card)
    with pytest.raises(InputError, match="does not hold a training step of 1,024 tokens"):
        measure_footprint(random_model(), 2**20, None)


def test_a_portion_in_words():
    assert describe(2**10, Portion(512, 2**10)) == "512 windows at a time"
    assert describe(2**20, Portion(1, 2**20)) == "1 window at a time"
    assert describe(2**20, Portion(1, 2**17)) == "slices of 131,072 at a time"
