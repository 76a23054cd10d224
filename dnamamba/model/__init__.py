"""The Mamba language model: blocks, backbone, states."""

from dnamamba.model.config import ModelConfig
from dnamamba.model.language_model import MambaLM
from dnamamba.model.likelihood import LogLikelihood
from dnamamba.model.state import LayerState, ModelState

__all__ = ["LayerState", "LogLikelihood", "MambaLM", "ModelConfig", "ModelState"]
