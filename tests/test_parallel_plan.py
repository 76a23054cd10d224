"""The memory plan that several processes share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from dnamamba.errors import InputError
from dnamamba.memory import MemoryPlan, Portion, plan_by_tokens
from dnamamba.model import ModelConfig
from dnamamba.parallel.plan import check_pieces, shared_plan


@dataclass
class Two:
    """Two processes, of which the other has room for `other`."""

    context: int
    other: MemoryPlan
    size: int = 2

    def gather_objects(self, own: MemoryPlan) -> list[MemoryPlan]:
        return [own, self.other]


def by_tokens(tokens: int) -> Any:
    def make(windows: Mapping[int, int]) -> MemoryPlan:
        return plan_by_tokens(windows, tokens)

    return make


def test_the_process_with_the_least_room_decides():
    processes = Two(context=1, other={64: Portion(8, 64), 256: Portion(1, 256)})
    assert shared_plan(processes, {64: 32, 256: 8}, by_tokens(512)) == {64: Portion(8, 64), 256: Portion(1, 256)}
    processes.other = {64: Portion(16, 64), 256: Portion(4, 256)}
    assert shared_plan(processes, {64: 32, 256: 8}, by_tokens(256)) == {64: Portion(4, 64), 256: Portion(1, 256)}


def test_processes_that_share_windows_take_more_of_them_and_longer_slices():
    same = {64: Portion(8, 64), 1024: Portion(1, 512)}
    processes = Two(context=2, other=same)
    assert shared_plan(processes, {64: 16, 1024: 4}, by_tokens(256)) == same  # pieces of 32 and 512


def test_a_piece_must_hold_what_the_convolution_looks_back_to():
    processes, model = Two(context=2, other={}), ModelConfig(d_conv=4)
    check_pieces({64: Portion(1, 6)}, Two(context=1, other={}), model)
    check_pieces({60: Portion(1, 6), 66: Portion(1, 60)}, processes, model)
    with pytest.raises(InputError, match="2 processes share slices of 5 tokens at context 65; want 6 or more"):
        check_pieces({65: Portion(1, 60)}, processes, model)
