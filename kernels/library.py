"""Registration of our ops with torch, so that compile, autocast, DDP and checkpointing see plain differentiable ops."""

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("dnamamba", "FRAGMENT")  # type: ignore[no-untyped-call]


def register(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Decorate an implementation: it becomes the op `dnamamba::name`, its shapes under tracing told by `fake`.

    torch.library.custom_op would do the same, but its first call imports all of torch._dynamo: a second of waiting.
    """

    def decorate(implementation: Callable[..., Any]) -> Any:
        _LIBRARY.define(name + torch.library.infer_schema(implementation, mutates_args=()))  # type: ignore[no-untyped-call]
        for device in ("CPU", "CUDA"):
            _LIBRARY.impl(name, implementation, device)  # type: ignore[no-untyped-call]
        torch.library.register_fake(f"dnamamba::{name}", fake, lib=_LIBRARY)
        return getattr(torch.ops.dnamamba, name).default

    return decorate


def differentiate(op: Any, backward: Callable[..., Any], save: Callable[..., None]) -> None:
    """Give `op` its backward and what it saves for it."""
    torch.library.register_autograd(op, backward, setup_context=save, lib=_LIBRARY)
