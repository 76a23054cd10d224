"""Forward passes for scoring: rows of tokens in, log-probabilities of the next letters out, on any device."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dnamamba.device import Moment, send_to_device, send_to_host
from dnamamba.model import MambaLM, ModelState
from dnamamba.model.autocasting import autocasting
from dnamamba.model.reading import GRID, read
from dnamamba.scoring.strand import Tokens

LETTERS = 4
"""A, C, G, T share all the probability; other letters are read and never counted."""
_STATE_BYTES = 2**28  # kept states of a segment, at most
_LONGEST_SEGMENT = {"cuda": 2**16, "cpu": 2**14}
_BATCH_TOKENS = {"cuda": 2**17, "cpu": 2**14}
_BYTES_A_TOKEN = 40  # of memory in a pass, for each channel of the mixer in float32: ten tensors


class Pass:
    """What a pass over some rows found. A GPU may still be at it: only `log_p` waits."""

    def __init__(self, log_p: Tensor, state: ModelState, kept: ModelState) -> None:
        self.state, self.kept = state, kept
        """As in `dnamamba.model.reading.Reading`."""
        self._host = send_to_host(log_p)
        self._done = Moment(log_p.device)

    @property
    def log_p(self) -> NDArray[np.float64]:
        """Log-probability of each target among A, C, G and T, [B, L], nats; 0 where the target is none of them."""
        self._done.wait()
        return self._host.numpy()


class Passes:
    """A model that reads rows of tokens."""

    def __init__(self, model: MambaLM, autocast: torch.dtype | None, batch_tokens: int | None = None) -> None:
        """
        Args:
            model: in eval mode, on the device it shall run on.
            autocast: dtype of matrix products, or None for float32 throughout.
            batch_tokens: tokens of a batch of forks; None is chosen for the device.
        """
        self.model, self.device = model, model.device
        self._autocast = autocast
        config = model.config
        kind = self.device.type if self.device.type in _BATCH_TOKENS else "cpu"
        state = 4 * config.n_layers * config.d_inner * (config.d_state + config.d_conv - 1)
        self.segment = GRID * max(16, min(_LONGEST_SEGMENT[kind] // GRID, _STATE_BYTES // state))
        """Bases of a stream that are read at once; a multiple of GRID, the same whatever is scored."""
        self.batch_tokens = batch_tokens or self._fitting(_BATCH_TOKENS[kind])

    def _fitting(self, tokens: int) -> int:
        """Fewer tokens where the GPU's memory is small or the model wide."""
        if self.device.type != "cuda":
            return tokens
        memory = torch.cuda.mem_get_info(self.device)[1]  # all of it: what is free now would change the last bits
        return max(2**12, min(tokens, memory // 8 // (_BYTES_A_TOKEN * self.model.config.d_inner)))

    def __call__(
        self,
        tokens: Tokens,
        targets: Tokens,
        state: ModelState | None = None,
        *,
        keep: NDArray[np.int64] | None = None,
        lengths: NDArray[np.int64] | None = None,
    ) -> Pass:
        """Read rows of tokens, each followed by its target.

        Args:
            tokens: [B, L].
            targets: [B, L]; the token after each token.
            state: before the first token; None is the start of a sequence.
            keep, lengths: as in `dnamamba.model.reading.read`.
        """
        with (
            torch.inference_mode(),
            exact_products(),
            autocasting(self.device, self._autocast),
        ):
            reading = read(
                self.model.backbone,
                self._send(tokens),
                state,
                keep=None if keep is None else self._send(keep),
                lengths=None if lengths is None else self._send(lengths),
            )
            log_p = self.target_log_p(reading.features, self._send(targets))
            return Pass(log_p, reading.state, reading.kept)

    def target_log_p(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log-probability [B, L] in float64 of `targets` [B, L] after `features` [B, L, d_model]; 0 if not counted."""
        weight = self.model.backbone.embedding.weight[:LETTERS]
        with torch.autocast(self.device.type, enabled=False):
            log_p = F.linear(features.to(weight.dtype), weight).double().log_softmax(-1)  # [B, L, 4]
        index = targets.long()
        picked = log_p.gather(2, index.clamp_max(LETTERS - 1)[:, :, None])[:, :, 0]
        return torch.where(index < LETTERS, picked, 0.0)

    def _send(self, array: NDArray[np.uint8] | NDArray[np.int64]) -> Tensor:
        return send_to_device(torch.from_numpy(array), self.device)


@contextmanager
def exact_products() -> Iterator[None]:
    """float32 products in float32: TF32 keeps 10 bits, and a score is the small difference of large sums."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
