"""The memory plan of processes that train together: one plan for all, made of what each has room for."""

from collections.abc import Callable, Mapping

from dnamamba.errors import InputError
from dnamamba.memory import MemoryPlan, Portion
from dnamamba.model import ModelConfig
from dnamamba.model.sliced import slice_borders
from dnamamba.parallel.processes import Processes


def shared_plan(
    processes: Processes, windows: Mapping[int, int], make: Callable[[Mapping[int, int]], MemoryPlan]
) -> MemoryPlan:
    """The plan that fits every process.

    Args:
        processes: all must ask.
        windows: context -> windows of an optimiser step on one data rank.
        make: makes a plan for this process's device, given the same with the length of its piece for the context.

    Returns:
        Context -> portion, its slice in tokens of the whole window: each process takes its piece of every slice.
    """
    if processes.size == 1:
        return make(windows)
    parts, own = processes.context, {}
    for context, n in windows.items():
        (portion,) = make({-(-context // parts): n}).values()
        own[context] = Portion(portion.rows, min(context, portion.slice_length * parts))
    everyone = processes.gather_objects(own)
    return {
        context: Portion(min(one[context].rows for one in everyone), min(one[context].slice_length for one in everyone))
        for context in windows
    }


def check_pieces(plan: MemoryPlan, processes: Processes, model: ModelConfig) -> None:
    """Make sure that the model can be cut, and that every piece holds what the next one's convolution has to see.

    Raises:
        InputError: a mixer that hands nothing on between processes, or a piece of d_conv - 2 tokens or fewer.
    """
    if processes.context > 1 and model.mixer != "mamba":
        raise InputError(
            f"run.context_parallel: {processes.context} processes share a window, which mixer mamba can; mixer "
            f"{model.mixer} cannot: leave run.context_parallel out"
        )
    for context, portion in plan.items():
        shortest = slice_borders(context, portion.slice_length)[1]
        if processes.context > 1 and shortest // processes.context < model.d_conv - 1:
            raise InputError(
                f"run.context_parallel: {processes.context} processes share slices of {shortest} tokens at context "
                f"{context:,}; want {processes.context * (model.d_conv - 1)} or more: longer windows or fewer processes"
            )
