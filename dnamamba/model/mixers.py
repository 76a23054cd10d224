"""Which class mixes along the sequence, by its name in a configuration. A mixer is one file and one line here.

A mixer is made from a `ModelConfig` and called as `MambaMixer.forward` says: (input, state, reset) -> (output, state),
the state a `LayerState` of the shapes in `ModelState.zeros`. Parameters named as in `UNDECAYED` get no weight decay.
"""

from collections.abc import Mapping

from dnamamba.model.config import MixerName, ModelConfig
from dnamamba.model.mixer import MambaMixer
from dnamamba.model.s4d_mixer import S4DMixer

Mixer = MambaMixer | S4DMixer

MIXERS: Mapping[MixerName, type[MambaMixer] | type[S4DMixer]] = {"mamba": MambaMixer, "s4d": S4DMixer}

UNDECAYED = ("A_log", "B", "C")
"""Parameters of the scan that are matrices; those with one axis are never decayed."""


def make_mixer(config: ModelConfig) -> Mixer:
    """The mixer that a configuration names, its weights drawn."""
    return MIXERS[config.mixer](config)
