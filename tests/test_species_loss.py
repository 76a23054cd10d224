"""The loss of a micro-batch against one written plainly, rows of several lengths included."""

import pytest
import torch
import torch.nn.functional as F

from dnamamba.model import MambaLM, ModelConfig
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.finetune_config import LossConfig
from dnamamba.species.loss import micro_losses
from dnamamba.species.model import SpeciesClassifier


@pytest.mark.parametrize("at", ["powers", "end"])
@pytest.mark.parametrize("pool", ["last", "mean", "sum"])
def test_the_loss_by_hand(at, pool):
    torch.manual_seed(0)
    model = SpeciesClassifier(
        MambaLM(ModelConfig(d_model=16, n_layers=1)), ClassifierConfig(classes=("a", "b"), pool=pool)
    )
    torch.nn.init.normal_(model.evidence.weight, std=5)
    lengths = torch.tensor([40, 16, 8, 5])
    bases = torch.randint(0, 5, (4, 40), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 1, 0])
    got = micro_losses(model, bases, labels, lengths, LossConfig(at=at, first=8), DNA)
    classes, letters, count = 0.0, 0.0, 0
    for row, label, length in zip(bases, labels, lengths.tolist(), strict=True):
        tokens = torch.cat([torch.tensor([DNA.start], dtype=torch.uint8), row[:length]])[None]
        logits = model(tokens)[0][0]  # row i: after i bases
        stands = [n for n in (8, 16, 32) if n <= length] or [length]
        stands = [length] if at == "end" else stands
        classes += sum(F.cross_entropy(logits[n], label) for n in stands) / len(stands)
        plain = model.lm(tokens)[0][0, :length].log_softmax(-1)
        for i, base in enumerate(row[:length].tolist()):
            if base < 4:
                letters -= plain[i, base]
                count += 1
    torch.testing.assert_close(got.classes, classes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.letters, letters, rtol=1e-4, atol=1e-4)
    assert got.bases == count


def test_what_is_behind_a_row_does_not_matter():
    torch.manual_seed(0)
    model = SpeciesClassifier(MambaLM(ModelConfig(d_model=16, n_layers=1)), ClassifierConfig(classes=("a", "b")))
    torch.nn.init.normal_(model.evidence.weight, std=5)
    bases = torch.randint(0, 4, (2, 64), dtype=torch.uint8)
    lengths, labels = torch.tensor([64, 20]), torch.tensor([0, 1])
    other = bases.clone()
    other[1, 20:] = 3
    first, second = (micro_losses(model, b, labels, lengths, LossConfig(first=8), DNA) for b in (bases, other))
    torch.testing.assert_close(first.classes, second.classes)
    torch.testing.assert_close(first.letters, second.letters)
