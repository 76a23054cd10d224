"""How a scan on a GPU is laid out: tiles, chunks, how many programs run at a time, from clocks that were measured."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 64  # steps between two saved states; 64 bytes of state (N = 16) a channel each, 1/8 of bf16 x, dt, z and y


class Pass(NamedTuple):
    """How long a walk takes, from clocks that were measured on one H200 at N = 16, see docs/kernels.md."""

    most: int
    """Programs a multiprocessor holds."""
    waves: int
    """Waves of programs at most, where the length is cut."""
    alone: float
    """Clocks of a step that do not depend on the programs of the multiprocessor."""
    beside: float
    """Clocks of a step for each program on the multiprocessor."""
    schedulers: int = 1
    """Programs that run side by side as if alone: they count in multiples of it."""

    def clocks(self, programs: int, machine: int) -> float:
        """Clocks of one step of so many programs."""
        full, rest = divmod(programs, machine * self.most)
        each = -(-rest // (machine * self.schedulers)) * self.schedulers
        wave = self.alone + self.beside * self.most
        return full * wave + (self.alone + self.beside * each if rest else 0.0)


FORWARD = Pass(12, 3, 130.0, 48.0, 4)
NARROW = Pass(12, 1, 78.0, 26.75, 4)  # the output pass in one walk of tiles half as wide, for up to so many programs
NARROW_OF = 32  # channels of a wide tile, whose halves were measured
BACKWARD = Pass(8, 8, 1600.0, 75.0)
WALK = Pass(16, 1, 380.0, 22.0)  # finds the chunks' states: parted so that the lengths measured best are picked
SHORTEST = 3  # blocks of a chunk
START = 16  # steps' worth of time that a program needs to begin
DIVIDED = 2048  # steps up to which a chunk may be walked in PIECES, where chunks alone are too few programs
PIECES = (1, 2, 3, 4, 6, 8)
# Groups of states that stop by themselves, for walks up to so many steps, forward and adjoint: each saves, and costs.
GROUPS = (((768, 1), (3072, 2), (float("inf"), 4)), ((1024, 1), (float("inf"), 4)))
SORTED = 128  # channels a block that is dealt out to its tiles by speed, where a walk is long enough to stop early
SORTED_FROM = 1024  # steps of such a walk
SORTED_GROUPS = 4
# What a walk goes through with the step sizes of a fresh model, sorted and not: so many steps, and a share of the rest.
WALKED = ((512, 0.3), (2048, 0.55))
FLOAT32 = 256  # steps of a chunk at most, in float32: slow states drift in a walk, not from chunk to chunk
LONG = 2**19  # steps from which extra memory is held to a quarter of 16-bit x, dt, z and y


@cache
def multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":  # the interpreter
        return 132
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


class Sizes(NamedTuple):
    """Sizes of one call, and the tiles that follow from them: one warp a tile, 16 states a thread at N = 16."""

    B: int
    L: int
    D: int
    N: int

    @classmethod
    def of(cls, x: Tensor, A: Tensor) -> "Sizes":
        """Of x [B, L, D] and A [D, N]."""
        B, L, D = x.shape
        return cls(B, L, D, A.shape[1])

    @property
    def NP(self) -> int:
        return max(2, 1 << (self.N - 1).bit_length())

    @property
    def BD(self) -> int:
        return min(32, 512 // self.NP)

    @property
    def tiles(self) -> int:
        return -(-self.D // self.BD)

    @property
    def even(self) -> bool:
        return self.D % self.BD == 0 and self.N == self.NP and self.L % BLOCK == 0

    def groups(self, T: int, adjoint: bool, is_sorted: bool) -> int:
        """Groups of states that stop by themselves in a walk over T steps."""
        groups = SORTED_GROUPS if is_sorted else next(groups for limit, groups in GROUPS[adjoint] if limit >= T)
        return groups if 4 * groups <= self.NP else 1

    def sorted(self, T: int) -> int:
        """Channels a block, of which a walk over T steps makes tiles of equally fast ones; 0: of neighbours."""
        block = min(SORTED, self.BD << (self.tiles.bit_length() - 1))
        return block if block > self.BD and T >= SORTED_FROM else 0


def narrow_clocks(size: Sizes, machine: int) -> float:
    """Clocks of a step of one walk in narrow tiles; infinite where that is not for."""
    programs = size.B * -(-size.D // (size.BD // 2))
    fits = size.BD >= NARROW_OF and programs <= machine * NARROW.most
    return NARROW.clocks(programs, machine) if fits else float("inf")


def is_narrow(size: Sizes, chunks: int, machine: int) -> bool:
    """Whether the output pass runs in narrow tiles."""
    return chunks == 1 and narrow_clocks(size, machine) < FORWARD.clocks(size.B * size.tiles, machine)


def _walk_clocks(size: Sizes, T: int, pieces: int, machine: int) -> float:
    """How long finding the states takes for chunks of T steps, each walked in so many pieces."""
    steps = T // pieces
    most, share = WALKED[not size.sorted(steps)]
    walked = min(steps, most) + share * max(steps - most, 0)
    programs = size.B * size.tiles * (-(-size.L // T) - 1) * pieces
    return (walked + START) * WALK.clocks(programs, machine)


# Both searches are cached: a slice of a training step asks for the same shapes a thousand times, and some hundred
# candidates weighed in Python take longer than the kernels of a short slice.
@cache
def pick_pieces(size: Sizes, T: int, machine: int) -> int:
    """In how many pieces a chunk of T steps is walked: in as many as make the walk over all of them short."""
    may = T <= DIVIDED and size.L <= LONG  # past LONG memory was promised
    fitting = [k for k in PIECES if k == 1 or (may and T // BLOCK % k == 0)]
    return min(fitting, key=lambda k: _walk_clocks(size, T, k, machine))


@cache
def pick_chunk_length(
    size: Sizes, machine: int, walk_of: Pass, *, longest: float = float("inf"), narrow: bool = False
) -> int:
    """Steps a chunk that promise the shortest run: few enough for full waves, many enough to fill the machine.

    Args:
        size: of the call.
        machine: multiprocessors.
        walk_of: FORWARD or BACKWARD.
        longest: steps a chunk at most, for memory.
        narrow: the pass may also run in narrow tiles.
    """
    rows = size.B * size.tiles
    blocks = -(-size.L // BLOCK)

    def cost(T: int) -> float:
        walk = 0.0 if T >= size.L else _walk_clocks(size, T, pick_pieces(size, T, machine), machine)
        chunks = -(-size.L // T)
        step = walk_of.clocks(rows * chunks, machine)
        if narrow and chunks == 1:
            step = min(step, narrow_clocks(size, machine))
        return (T + START) * step + walk

    # Shorter chunks would spend their time on carrying states.
    most = min(walk_of.waves * machine * walk_of.most // rows, blocks // min(SHORTEST, blocks))
    lengths = {-(-blocks // chunks) * BLOCK for chunks in range(1, max(2, most + 1))}
    fitting = [T for T in lengths if longest >= T] or [min(lengths)]
    return min(sorted(fitting, reverse=True), key=cost)


def plan_forward(size: Sizes, element_size: int, machine: int, *, narrow: bool = True) -> int:
    """Steps a chunk of the forward; not `narrow` where finding the chunks' states matters more than the output pass."""
    longest = FLOAT32 if element_size == 4 else float("inf")
    return pick_chunk_length(size, machine, FORWARD, longest=longest, narrow=narrow)


@cache
def backward_memory(size: Sizes, element_size: int, machine: int) -> tuple[int, int]:
    """How many programs a multiprocessor the gradient pass gets, and how many bytes for the tiles' parts of dB and dC.

    On a long sequence these, the borders, the checkpoints and what each chunk has (its state and sums over its time)
    stay together within a quarter of x, dt, z and y.
    """
    most = BACKWARD.most
    if size.L <= LONG:
        return most, 2**29
    quarter = 0.98 * size.B * size.L * size.D * element_size  # allocations are rounded up
    borders = 4 * size.B * -(-size.L // BLOCK) * size.D * size.N
    for warps in range(most, 0, -1):
        slots = machine * warps
        left = quarter - borders - 4 * slots * (BLOCK // 2 + 1) * size.NP * size.BD
        # A wave of chunks of T steps has parts of slots * 2 N floats * T: long chunks are few, and their parts large.
        product = size.B * size.L * slots * (2 * size.N * 4) * (size.N + 3) * size.D * 4
        if left > 0 and left**2 >= 4 * product:
            return warps, int(left + (left**2 - 4 * product) ** 0.5) // 2
    return 1, 2**25


@cache
def plan_backward(size: Sizes, element_size: int, machine: int) -> tuple[int, int, int]:
    """How the gradient pass runs: programs a multiprocessor, bytes for the tiles' parts, and steps a chunk."""
    warps, budget = backward_memory(size, element_size, machine)
    slots = machine * warps
    longest = budget / (slots * 2 * size.N * 4) if size.B * size.tiles < slots else float("inf")
    return warps, budget, pick_chunk_length(size, machine, BACKWARD._replace(most=warps), longest=longest)
