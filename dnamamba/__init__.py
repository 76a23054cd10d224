"""dnamamba: byte-level Mamba for genomes. Names are imported at first use, so that `dnamamba --help` stays fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnamamba.embedding.in_python import embed as embed
    from dnamamba.kernels import selective_scan as selective_scan
    from dnamamba.model_directory import load as load
    from dnamamba.pipelines.store import open_store as open_store
    from dnamamba.scoring.scorer import VariantScorer as VariantScorer
    from dnamamba.scoring.types import VariantScore as VariantScore
    from dnamamba.species.classifier import load_classifier as load_classifier
    from dnamamba.tensors import to_torch as to_torch

__version__ = "0.1.0"

_HOME = {
    "VariantScore": "dnamamba.scoring.types",
    "VariantScorer": "dnamamba.scoring.scorer",
    "embed": "dnamamba.embedding.in_python",
    "load": "dnamamba.model_directory",
    "load_classifier": "dnamamba.species.classifier",
    "open_store": "dnamamba.pipelines.store",
    "selective_scan": "dnamamba.kernels",
    "to_torch": "dnamamba.tensors",
}

__all__ = [
    "VariantScore",
    "VariantScorer",
    "__version__",
    "embed",
    "load",
    "load_classifier",
    "open_store",
    "selective_scan",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dnamamba' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
