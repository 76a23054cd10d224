"""The language model: next-token logits, loss and log-likelihood over any length, state in and state out."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnamamba.kernels import linear_cross_entropy
from dnamamba.model.backbone import Backbone
from dnamamba.model.block_plan import Recompute
from dnamamba.model.config import ModelConfig
from dnamamba.model.likelihood import LogLikelihood, Vocabulary, stream_log_likelihood
from dnamamba.model.mixers import UNDECAYED
from dnamamba.model.state import ModelState


class MambaLM(nn.Module):
    """Backbone and a head tied to the embedding. Weights are drawn from torch's global generator.

    >>> model = MambaLM(ModelConfig(d_model=64, n_layers=8))
    >>> logits, state = model(tokens)           # [B, L] -> [B, L, V]
    >>> logits, state = model(more, state)      # goes on where the first call stopped
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.vocabulary: Vocabulary | None = None
        """How letters become tokens; `dnamamba.load` sets it. The package knows no DNA here: tokens are numbers."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.embedding.weight.device

    @property
    def recompute(self) -> Recompute:
        """What training computes again in the backward, as in `Backbone.recompute`."""
        return self.backbone.recompute

    @recompute.setter
    def recompute(self, what: Recompute | bool) -> None:
        self.backbone.recompute = what

    def forward(
        self, tokens: Tensor, state: ModelState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """Logits of the token after each token.

        Args:
            tokens: [B, L], uint8 or int64, L >= 1; a sequence begins with the alphabet's start token.
            state: what came before; None is the start of a sequence. Any cutting of a sequence gives the same numbers.
            reset: [B, L] bool, True where a new sequence begins inside a row: nothing before it is seen from there on.

        Returns:
            Logits [B, L, vocab_size], float32, and the state after the last token.

        Raises:
            ValueError: shapes or dtypes that do not fit.
        """
        features, state = self.backbone(tokens, state, reset)
        weight = self.backbone.embedding.weight
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 is too coarse for a log-probability
            return F.linear(features.to(weight.dtype), weight), state

    def loss(
        self, batch: Mapping[str, Tensor | None], state: ModelState | None = None, *, letters: int | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Sum of the negative log-likelihood in nats; all logits never exist at once.

        Args:
            batch: `tokens` [B, L], `targets` [B, L] int64 with -100 where nothing is to be predicted, and, where rows
                are packed, `reset` [B, L] bool.
            state: what came before; None is the start of a sequence.
            letters: renormalise over this many first tokens (4 for A/C/G/T: evaluation); None is the whole vocabulary.

        Returns:
            The sum, a float32 scalar; the number of targets in it; the state after the last token.
        """
        tokens, targets = batch["tokens"], batch["targets"]
        if tokens is None or targets is None:
            raise ValueError("a batch wants `tokens` and `targets`")
        features, state = self.backbone(tokens, state, batch.get("reset"))
        loss, count = linear_cross_entropy(features, self.backbone.embedding.weight, targets, letters=letters)
        return loss, count, state

    def log_likelihood(self, sequence: object, *, chunk: int = 2**14, each: bool = False) -> LogLikelihood:
        """Log-likelihood of a sequence of any length in constant memory; A/C/G/T share all the probability.

        Args:
            sequence: str, bytes or a uint8 array of letters, or an iterable of uint8 arrays, as a contig's `blocks()`.
            chunk: bases a forward pass; the numbers do not depend on it beyond float32 rounding.
            each: keep the value of every base as well.

        Returns:
            Total and mean in nats, summed in float64. N and other ambiguous letters are read but not counted.

        Raises:
            InputError: a letter outside the alphabet, an empty sequence, or a model without its alphabet.
        """
        return stream_log_likelihood(self, sequence, chunk=chunk, each=each)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Parameters for the optimiser: matrices, embedding and convolution decay; the scan's
        own (A_log, D, constant B and C), biases and norms do not.

        Source: Mamba's public code and `dt_proj.bias` of its section 3.6.
        """
        named = [(name.rpartition(".")[2], p) for name, p in self.named_parameters()]
        decay = [p for name, p in named if p.ndim > 1 and name not in UNDECAYED]
        rest = [p for name, p in named if p.ndim == 1 or name in UNDECAYED]
        return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
