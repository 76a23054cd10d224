"""Carried-state training: what a window hands to the one that follows it, over optimiser steps and over a resume.

A window sees, through the state, all of its stretch that was read before it; the gradient stops at its start. So the
context in the forward is the chromosome, at the memory of one window. A state was made with the weights of one step
before, as in truncated backpropagation through time.
"""

from collections.abc import Mapping

from torch import Tensor

from dnamamba.data import MicroBatch
from dnamamba.model import ModelState

PREFIX = "carried."


class CarriedStates:
    """The state after each micro-batch of the last optimiser step."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave; names that are not of a state are passed over."""
        found: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(PREFIX):
                micro, rest = name.removeprefix(PREFIX).split(".", 1)
                found.setdefault(int(micro), {})[rest] = tensor
        self._states = {micro: ModelState.from_dict(parts) for micro, parts in found.items()}

    def before(self, batch: MicroBatch, first: bool) -> ModelState | None:
        """The state before the rows of a micro-batch; None at the `first` step of a stage, where all start anew."""
        if first:
            if batch.micro == 0:
                self._states.clear()  # those of the stage before
            return None
        return self._states[batch.micro].to(batch.bases.device)

    def keep(self, batch: MicroBatch, after: ModelState) -> None:
        """Put the state after a micro-batch by for the next step."""
        self._states[batch.micro] = after

    def tensors(self) -> dict[str, Tensor]:
        """All states, for a checkpoint."""
        return {
            f"{PREFIX}{micro}.{name}": tensor
            for micro, state in self._states.items()
            for name, tensor in state.to_dict().items()
        }
