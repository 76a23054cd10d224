"""Tokens through the classifier: class logits and likelihood at marked positions, and where the reading stands."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from dnamamba.device import Moment, autocast_dtype, send_to_device, send_to_host
from dnamamba.model.autocasting import autocasting
from dnamamba.species.classifier import Classifier
from dnamamba.species.model import ClassifierState


@dataclass(frozen=True)
class Carry:
    """Where the reading of some rows stands."""

    state: ClassifierState
    letters: Tensor
    """Logits of the next base, [B, V]."""
    nats: Tensor
    """Negative log-likelihood of the bases so far, float64 [B]."""
    counted: Tensor
    """A, C, G and T among them, int64 [B]."""

    def index(self, rows: Tensor) -> "Carry":
        """Only these rows."""
        return Carry(self.state.index(rows), self.letters[rows], self.nats[rows], self.counted[rows])


class Marks:
    """What was found at marked positions of some rows; on its way to the CPU."""

    def __init__(self, logits: Tensor, nats: Tensor, counted: Tensor) -> None:
        """Before the temperature [B, M, K]; nats of all bases up to there, and A, C, G and T among those, [B, M]."""
        self._values = [send_to_host(values) for values in (logits, nats, counted)]
        self._there = Moment(logits.device)

    def wait(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three tensors, on the CPU."""
        self._there.wait()
        logits, nats, counted = self._values
        return logits, nats, counted


class Passes:
    """Reads with a classifier. Nothing is computed twice: the state goes out and comes back in."""

    def __init__(self, classifier: Classifier, float32: bool = False) -> None:
        """`float32`: no bfloat16, on a GPU that has it too."""
        self._model, self._count = classifier.model, len(classifier.alphabet.targets)
        self.device = classifier.model.device
        self._dtype = None if float32 else autocast_dtype("auto", self.device)
        self.tokens = 0
        """Tokens that have gone through the model, padding included."""

    def advance(self, tokens: Tensor, carry: Carry | None, places: Tensor) -> tuple[Marks | None, Carry]:
        """Read the next tokens of some rows.

        Args:
            tokens: uint8 [B, L]; they begin with the start token where `carry` is None.
            carry: where the rows stand.
            places: which of the L tokens are marked, int64 [B, M], on the CPU.

        Returns:
            What was found at the marks, None where M is 0; and where the rows stand now.
        """
        self.tokens += tokens.numel()
        with self._autocast():
            logits, features, state = self._model.read(tokens, None if carry is None else carry.state)
        letters = self._model.letter_logits(features)  # [B, L, V]
        first = letters[:, :1] if carry is None else carry.letters[:, None]  # the start token is not predicted
        predicted = torch.cat([first, letters[:, :-1]], 1)[..., : self._count].log_softmax(-1)
        counted = tokens < self._count
        targets = tokens.clamp_max(self._count - 1).long()
        nats = -predicted.gather(2, targets[..., None])[..., 0].double()
        nats = torch.where(counted, nats, 0.0).cumsum(1)  # [B, L]
        number = counted.long().cumsum(1)
        if carry is not None:
            nats, number = nats + carry.nats[:, None], number + carry.counted[:, None]
        after = Carry(state, letters[:, -1].clone(), nats[:, -1].clone(), number[:, -1].clone())
        if not places.shape[1]:
            return None, after
        at = send_to_device(places, self.device)
        found = logits.gather(1, at[..., None].expand(-1, -1, logits.shape[2]))
        return Marks(found, nats.gather(1, at), number.gather(1, at)), after

    def _autocast(self) -> AbstractContextManager[None]:
        return autocasting(self.device, self._dtype)
