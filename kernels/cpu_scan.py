"""The CPU engine of the selective scan: tensors in and out of the compiled walks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dnamamba.kernels.cpu_code import Kernel
from dnamamba.kernels.cpu_jobs import (
    BLOCK,
    CHUNK,
    FORWARD_SCRATCH,
    LANES,
    SUM_TASK,
    Backward,
    Forward,
    Scan,
    Sum,
    backward_scratch,
)
from dnamamba.kernels.cpu_memory import empty
from dnamamba.kernels.cpu_threads import run_tasks

_FORWARD = Kernel("cpu_scan_forward", "walk_forward")
_BACKWARD = Kernel("cpu_scan_backward", "walk_backward")
_SUMS = Kernel("cpu_scan_sums", "add_parts")

_BACKWARD_TASKS = 4


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def borders_shape(B: int, L: int, D: int, N: int) -> tuple[int, ...]:
    """Shape of the kept states: [B, chunks, groups, states in whole blocks, lanes]."""
    return B, -(-L // CHUNK), -(-D // LANES), _up(N, BLOCK), LANES


def border_states(borders: Tensor, blocks: Tensor, channels: int, states: int) -> Tensor:
    """States before steps 64 * `blocks`, [B, n, D, N], out of the borders that the forward returned."""
    return _from_blocks(borders[:, blocks], channels, states)


def _rows(tensor: Tensor) -> Tensor:
    """float32 whose last axis is dense; other strides are free."""
    tensor = tensor.detach().to(torch.float32)
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _state_rows(tensor: Tensor, states: int) -> Tensor:
    """B or C, padded with zeros to whole blocks of states."""
    return _rows(tensor if tensor.shape[-1] == states else F.pad(tensor, (0, states - tensor.shape[-1])))


def _to_blocks(tensor: Tensor, padding: float = 0.0) -> Tensor:
    """[..., D, N] -> [..., groups, states, LANES]."""
    channels, states = tensor.shape[-2:]
    pads = (0, _up(states, BLOCK) - states, 0, _up(channels, LANES) - channels)
    padded = F.pad(tensor.detach().float(), pads, value=padding)
    return padded.reshape(*padded.shape[:-2], -1, LANES, padded.shape[-1]).transpose(-1, -2).contiguous()


def _from_blocks(tensor: Tensor, channels: int, states: int) -> Tensor:
    return tensor.transpose(-1, -2).flatten(-3, -2)[..., :channels, :states].contiguous()


def _channels(tensor: Tensor | None, groups: int) -> Tensor:
    if tensor is None:
        return torch.zeros(groups * LANES)
    return F.pad(tensor.detach().float(), (0, groups * LANES - tensor.shape[0])).contiguous()


class _Prepared:
    """A call's tensors as the compiled walks want them; they must live as long as the addresses in `scan` are used."""

    def __init__(
        self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
        dt_bias: Tensor | None, reset: Tensor | None, borders: Tensor, dt_softplus: bool, tasks: int,
    ) -> None:  # fmt: skip
        groups, states = borders.shape[2:4]
        self.x, self.dt, self.z = _rows(x), _rows(dt), None if z is None else _rows(z)
        self.B, self.C = _state_rows(B, states), _state_rows(C, states)
        self.A = _to_blocks(A * math.log2(math.e), padding=-1.0)  # not 0, which would look like a slow state
        self.D, self.bias = _channels(D, groups), _channels(dt_bias, groups)
        self.reset = None if reset is None else reset.detach().contiguous()
        self.scan = Scan(
            length=x.shape[1],
            channels=x.shape[2],
            states=states,
            groups=groups,
            groups_per_task=_groups_per_task(x.shape[0], groups, tasks),
            softplus=int(dt_softplus),
            **_placed("x", self.x),
            **_placed("dt", self.dt),
            **_placed("z", self.z),
            **_placed("B", self.B),
            **_placed("C", self.C),
            A=self.A.data_ptr(),
            D=self.D.data_ptr(),
            bias=self.bias.data_ptr(),
            reset=0 if self.reset is None else self.reset.data_ptr(),
            borders=borders.data_ptr(),
        )
        self.tasks = x.shape[0] * -(-groups // self.scan.groups_per_task)


def _placed(name: str, tensor: Tensor | None) -> dict[str, int]:
    address, batch, row = (0, 0, 0) if tensor is None else (tensor.data_ptr(), tensor.stride(0), tensor.stride(1))
    return {name: address, f"{name}_batch": batch, f"{name}_row": row}


def _groups_per_task(batch: int, groups: int, tasks: int) -> int:
    """As many as leave `tasks` tasks, at most 4: more groups use whole rows of x and share the sums of dB and dC."""
    return max(1, min(4, batch * groups // tasks))


def scan_forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None, dt_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return y [B, L, D] in the dtype of x, the final state [B, D, N] float32, and the borders for the backward."""
    batch, length, channels = x.shape
    states = A.shape[1]
    borders = empty(borders_shape(batch, length, channels, states))
    # Nothing is added over channels here: the tasks may follow the threads and the bits stay the same.
    tasks = 2 * torch.get_num_threads()
    call = _Prepared(x, dt, A, B, C, D, z, dt_bias, reset, borders, dt_softplus, tasks)
    state = torch.zeros(batch, *borders.shape[2:]) if initial_state is None else _to_blocks(initial_state)
    y = empty(x.shape)
    run_tasks(_FORWARD, Forward(call.scan, y.data_ptr(), state.data_ptr()), call.tasks, FORWARD_SCRATCH)
    return y.to(x.dtype), _from_blocks(state, channels, states), borders


def _sum_tasks(partial: Tensor, like: Tensor, states: int) -> Tensor:
    """[B, tasks of a sequence, steps, states] -> [B, L, N]; the tasks are added in order."""
    batch, parts, steps, padded = partial.shape
    total = partial[:, 0]
    if parts > 1:
        total = empty((batch, steps, padded))
        floats = steps * padded
        job = Sum(parts, floats, partial.data_ptr(), total.data_ptr())
        run_tasks(_SUMS, job, batch * -(-floats // (SUM_TASK * LANES)), 0)
    return total[:, : like.shape[1], :states].to(like.dtype)


def scan_backward(
    dy: Tensor, dfinal_state: Tensor | None, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None, dt_bias: Tensor | None, initial_state: Tensor | None, reset: Tensor | None,
    borders: Tensor, dt_softplus: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return dx, ddt, dA, dB, dC, dD, dz, ddt_bias, dinitial_state; None where the input was None."""
    batch, _, channels = x.shape
    states = A.shape[1]
    groups = borders.shape[2]
    # Shapes alone decide the tasks, so that the sums, and with them the bits, do not depend on the number of threads.
    call = _Prepared(x, dt, A, B, C, D, z, dt_bias, reset, borders, dt_softplus, _BACKWARD_TASKS)
    dy = dy.detach().to(torch.float32).contiguous()
    dx, ddt = empty(x.shape), empty(x.shape)
    dz = None if z is None else empty(x.shape)
    gamma = torch.zeros(batch, *borders.shape[2:]) if dfinal_state is None else _to_blocks(dfinal_state)
    dA = torch.zeros(batch, *borders.shape[2:])
    dD, dbias = torch.zeros(batch, groups * LANES), torch.zeros(batch, groups * LANES)
    partial = (batch, call.tasks // batch, borders.shape[1] * CHUNK, borders.shape[3])
    dB, dC = empty(partial), empty(partial)
    results = (dx, ddt, dz, gamma, dA, dD, dbias, dB, dC)
    job = Backward(call.scan, dy.data_ptr(), *(0 if t is None else t.data_ptr() for t in results))
    run_tasks(_BACKWARD, job, call.tasks, backward_scratch(borders.shape[3]))
    return (
        dx.to(x.dtype),
        ddt.to(dt.dtype),
        _from_blocks(dA.sum(0), channels, states),
        _sum_tasks(dB, B, states),
        _sum_tasks(dC, C, states),
        None if D is None else dD.sum(0)[:channels],
        None if dz is None or z is None else dz.to(z.dtype),
        None if dt_bias is None else dbias.sum(0)[:channels],
        None if initial_state is None else _from_blocks(gamma, channels, states),
    )
