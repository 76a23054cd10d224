"""From a store's bases to torch tensors."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet


def to_torch(
    bases: npt.NDArray[np.uint8], alphabet: str | Alphabet | None = None, *, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Make a tensor of bases: `to_torch(open_store("apes.zarr")["hg38"]["chr1", 0:1024], "dna")`.

    Args:
        bases: uint8, any shape: what an assembly gives.
        alphabet: "dna" or "bytes" turns letters into the model's tokens (case folded by dna; no start token is put
            before them). None keeps the bytes.
        device: of the tensor.

    Returns:
        uint8 tensor in the shape of `bases`. Without an alphabet, on the CPU, it shares the memory of `bases`: nothing
        is copied, and a change of one is seen in the other. Only an array that cannot be written to, or whose strides
        are negative, is copied.

    Raises:
        InputError: other data than uint8, an unknown alphabet, or a letter that it does not have.
    """
    if not isinstance(bases, np.ndarray) or bases.dtype != np.uint8:
        got: Any = getattr(bases, "dtype", type(bases).__name__)
        raise InputError(f"to_torch: want a uint8 array of bases, as an assembly gives it; got {got}")
    if isinstance(alphabet, str):
        if alphabet not in ALPHABETS:
            raise InputError(f"to_torch: no alphabet {alphabet!r}; there are {', '.join(ALPHABETS)}")
        alphabet = ALPHABETS[alphabet]
    array = bases if alphabet is None else alphabet.encode(bases)
    # torch knows neither read-only memory nor negative strides.
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array).to(device)
