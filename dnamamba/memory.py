"""How much goes through the model at a time: windows in a micro-batch, and slices of a window that is too long."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from dnamamba.errors import InputError
from dnamamba.footprint import LONGEST_PROBED, Footprint, measure_footprint
from dnamamba.model import MambaLM

FILLS_THE_DEVICE = 2**20
"""Tokens beyond which a micro-batch of several windows is no faster; half as many already are hardly slower."""
LEAN_TOKENS = (2**17, 2**18)
"""Tokens at a time of the lean plan, at least and at most: fewer leave an H200 waiting for launches."""
LEAN_GB = 4.3
"""What the lean plan takes between the two, by a footprint that counts `MARGIN` and more: under 4 when measured, and
half a window more at most where windows are taken whole."""
FREE_SHARE = {"auto": 0.75, "fast": 0.88}
"""Share of a GPU's free memory that a plan may take."""
CPU_TOKENS = {"lean": (2**13, 2**13), "auto": (2**15, 2**16), "fast": (2**15, 2**18)}
"""On a CPU: tokens of a micro-batch of several windows, and of a slice."""
GRAIN = 1024
"""Slices are whole multiples of this many tokens."""
MARGIN = 1.1
"""Over what was measured: the allocator's holes, and lengths that the probe did not try."""
HELD_PER_PARAMETER = 16
"""Bytes: gradient, AdamW's two moments and room for the norm; the parameters themselves are there already."""
HELD_PER_TOKEN = 8
"""Bytes of a window that lie on the device whole: its letters and resets, and those of the windows read ahead."""


@dataclass(frozen=True)
class Portion:
    """How the windows of one context are taken."""

    rows: int
    """Windows of a micro-batch, at most."""
    slice_length: int
    """Tokens of a window that have a graph at a time; from the context on nothing is sliced."""


MemorySetting = Literal["auto", "fast", "lean"]

MemoryPlan = dict[int, Portion]
"""Context -> its portion. Part of every checkpoint: another cut would round otherwise."""


def describe(context: int, portion: Portion) -> str:
    """A portion in words."""
    if portion.slice_length >= context:
        return f"{portion.rows:,} window{'s' if portion.rows > 1 else ''} at a time"
    return f"slices of {portion.slice_length:,} at a time"


def plan_to_json(plan: MemoryPlan) -> dict[str, list[int]]:
    """As `plan_from_json` reads it."""
    return {str(context): [portion.rows, portion.slice_length] for context, portion in plan.items()}


def plan_from_json(data: Mapping[str, Any], where: str = "memory plan") -> MemoryPlan:
    """The plan that `plan_to_json` wrote.

    Raises:
        InputError: it is something else.
    """
    try:
        plan = {int(context): Portion(int(rows), int(length)) for context, (rows, length) in data.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: no memory plan ({error}); delete the file, and it is made anew") from None
    if any(min(context, one.rows, one.slice_length) < 1 for context, one in plan.items()):
        raise InputError(f"{where}: no memory plan: want numbers above 0; delete the file, and it is made anew")
    return plan


def plan_memory(
    model: MambaLM, windows: Mapping[int, int], setting: str | float, *, autocast: torch.dtype | None = None
) -> MemoryPlan:
    """Find portions that fit the device on which `model` is.

    Args:
        model: in training, its recomputation chosen. On a GPU it is run a few times on made-up tokens.
        windows: context -> windows of an optimiser step on this device.
        setting: "fast" takes nearly all memory that is free and recomputes the least; "auto" leaves a quarter of it;
            "lean" takes little at good speed; a number is GB (1e9 bytes) for the whole training, a GPU's only.
        autocast: dtype of matrix products in training.

    Raises:
        InputError: memory that does not hold the shortest slice, or GB on a CPU.
    """
    device = model.device
    if device.type != "cuda":
        if not isinstance(setting, str):
            raise InputError(f"run.memory: GB can be kept on a GPU only, got {setting:g}; on {device.type} say lean")
        micro, sliced = CPU_TOKENS[setting]
        return {context: _portion(context, n, micro, sliced) for context, n in windows.items()}
    budget = _budget(model, setting)
    enough = _budget(model, LEAN_GB) if setting == "lean" else None
    # Of windows longer than a probe it sees a piece, the same for all of them.
    probed = {context: min(context, LONGEST_PROBED) for context in windows}
    footprints = {one: measure_footprint(model, one, autocast) for one in sorted(set(probed.values()))}
    plan = {}
    for context, n in windows.items():
        footprint = footprints[probed[context]]
        most = None if enough is None else lean_piece(footprint, enough, context)
        plan[context] = portion_within(footprint, budget, context, n, most)
    return plan


def lean_piece(footprint: Footprint, enough: float, context: int) -> int:
    """Tokens at a time of the lean plan, where `enough` bytes are about as many as it would like to take."""
    least, most = LEAN_TOKENS
    piece = min(most, max(least, largest_piece(footprint, enough, context)))
    # Windows are taken whole: the number of them that comes nearest.
    return piece if context > piece else min(most, round(piece / context) * context)


def portion_within(footprint: Footprint, budget: float, context: int, windows: int, most: int | None = None) -> Portion:
    """The largest portion that `budget` bytes hold, of no more than `most` tokens.

    Raises:
        InputError: the budget does not hold a slice of `GRAIN` tokens.
    """
    fits = largest_piece(footprint, budget, context)
    if fits < min(GRAIN, context):
        raise InputError(
            f"run.memory: {budget / 1e9:.2f} GB hold {fits:,} tokens at context {context:,} "
            f"({footprint.per_token:,.0f} bytes each), want {min(GRAIN, context):,} or more"
        )
    fits = fits if most is None else min(fits, most)
    return _portion(context, windows, min(fits, FILLS_THE_DEVICE), fits)


def plan_by_tokens(windows: Mapping[int, int], tokens: int) -> MemoryPlan:
    """The plan of a fixed number of tokens at a time, on any device."""
    return {context: _portion(context, n, tokens, tokens) for context, n in windows.items()}


def largest_piece(footprint: Footprint, budget: float, context: int) -> int:
    """Most tokens at a time that `budget` bytes hold, a multiple of `GRAIN` from there on.

    Where they are fewer than the context, it solves fixed + piece * per_token + context / piece * border <= budget:
    smaller slices leave more borders. 0 where no length will do.
    """
    room = budget - footprint.fixed - HELD_PER_TOKEN * context
    each = footprint.per_token * MARGIN
    piece = max(0.0, room / each)
    if piece < context:
        under_root = max(0.0, room) ** 2 - 4 * each * footprint.border * context
        piece = (room + math.sqrt(under_root)) / (2 * each) if under_root >= 0 and room > 0 else 0.0
    return int(piece) // GRAIN * GRAIN or int(piece)


def _portion(context: int, windows: int, micro_tokens: int, slice_tokens: int) -> Portion:
    rows = max(1, min(windows, micro_tokens // context))
    rows = -(-windows // -(-windows // rows))  # as many micro-batches, but all of about one size
    if slice_tokens >= context:
        return Portion(rows, context)
    length = -(-context // -(-context // slice_tokens))  # as many slices, but all of about one size
    return Portion(rows, min(slice_tokens, -(-length // GRAIN) * GRAIN))


def _budget(model: MambaLM, setting: str | float) -> float:
    """Bytes that the training may add to what is on the GPU already."""
    held = HELD_PER_PARAMETER * sum(p.numel() for p in model.parameters())
    torch.cuda.empty_cache()
    if isinstance(setting, str):
        share = FREE_SHARE.get(setting, FREE_SHARE["fast"])
        return share * torch.cuda.mem_get_info(model.device)[0] - held
    return setting * 1e9 - torch.cuda.memory_allocated(model.device) - held
