"""Where matrix products are made in another precision than the weights'."""

import torch


def autocasting(device: torch.device | str, dtype: torch.dtype | None) -> torch.autocast:
    """A context in which the matrix products of a model are made in `dtype`; None: in that of its weights.

    Args:
        device: where the model runs.
        dtype: as `dnamamba.device.autocast_dtype` chooses it.
    """
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None)
