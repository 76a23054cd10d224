"""The species classifier: any cutting gives the same numbers, and each pool is what its name says."""

import numpy as np
import pytest
import torch

from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.species.classifier_config import POOLS, ClassifierConfig
from dnamamba.species.model import EVIDENCE_UNIT, ClassifierState, SpeciesClassifier

CLASSES = ("human", "chimpanzee", "gorilla")


def _classifier(pool, hidden=0):
    torch.manual_seed(0)
    model = SpeciesClassifier(
        MambaLM(ModelConfig(d_model=16, n_layers=2)), ClassifierConfig(classes=CLASSES, pool=pool, hidden=hidden)
    )
    torch.nn.init.normal_(model.evidence.weight)
    torch.nn.init.normal_(model.evidence.bias)
    torch.nn.init.normal_(model.bias)
    return model.eval()


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("pool", POOLS)
def test_any_cutting_gives_the_same_numbers(pool, hidden):
    model = _classifier(pool, hidden)
    tokens = torch.randint(0, 5, (2, 97), dtype=torch.uint8)
    with torch.no_grad():
        whole, end = model(tokens)
        state, parts = None, []
        for piece in tokens.split([1, 3, 50, 43], dim=1):
            logits, state = model(piece, state)
            parts.append(logits)
        again, _ = model(tokens[:1].expand(2, -1), ClassifierState.zeros(model.lm.config, 3, 2))
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state.evidence, end.evidence, rtol=1e-5, atol=1e-4)
    assert state.tokens.tolist() == end.tokens.tolist() == [97, 97]
    torch.testing.assert_close(again[0], whole[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("pool", POOLS)
def test_pools_by_hand(pool, hidden):
    model = _classifier(pool, hidden)
    tokens = torch.randint(0, 5, (1, 40), dtype=torch.uint8)
    with torch.no_grad():
        logits, features, _ = model.read(tokens)
        x = features[0].double().numpy()
        if hidden:
            layer = model.hidden
            x = np.maximum(x @ layer.weight.double().numpy().T + layer.bias.double().numpy(), 0)
        evidence = x @ model.evidence.weight.double().numpy().T + model.evidence.bias.double().numpy()
        lm_logits, _ = model.lm(tokens)
    pooled = {
        "last": evidence[29],
        "mean": evidence[:30].mean(0),
        "sum": evidence[:30].sum(0) / EVIDENCE_UNIT,
    }[pool]
    np.testing.assert_allclose(logits[0, 29].numpy(), pooled + model.bias.detach().numpy(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.letter_logits(features), lm_logits)


@pytest.mark.parametrize("length", [1, 255, 256, 257, 1000])
def test_sums_over_spans(length):
    model = _classifier("sum")
    tokens = torch.randint(0, 5, (2, length), dtype=torch.uint8)
    with torch.no_grad():
        logits, features, state = model.read(tokens)
        evidence = model.evidence(model.hidden_features(features)).double()
    wanted = evidence.cumsum(1)
    torch.testing.assert_close(logits, (wanted / EVIDENCE_UNIT).float() + model.bias, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state.evidence, wanted[:, -1], rtol=1e-9, atol=1e-9)


def test_asked_positions_and_what_follows_them():
    model = _classifier("sum")
    tokens = torch.randint(0, 5, (2, 60), dtype=torch.uint8)
    other = tokens.clone()
    other[:, 33:] = 4
    with torch.no_grad():
        logits, _ = model(tokens)
        chosen, _ = model(other, at=torch.tensor([7, 32]))
    torch.testing.assert_close(chosen, logits[:, [7, 32]], rtol=1e-5, atol=1e-5)


def test_states_are_chosen_row_by_row():
    model = _classifier("mean")
    tokens = torch.randint(0, 5, (3, 20), dtype=torch.uint8)
    more = torch.randint(0, 5, (1, 5), dtype=torch.uint8)
    with torch.no_grad():
        _, state = model(tokens)
        chosen, _ = model(more, state.index([2]))
        alone, _ = model(torch.cat([tokens[2:], more], 1))
    torch.testing.assert_close(chosen, alone[:, 20:], rtol=1e-4, atol=1e-5)


def test_a_new_head_says_nothing():
    model = SpeciesClassifier(MambaLM(ModelConfig(d_model=16, n_layers=1)), ClassifierConfig(classes=CLASSES))
    logits, _ = model(torch.zeros(1, 9, dtype=torch.uint8))
    assert not logits.any()


def test_the_temperature_goes_by_length():
    model = _classifier("sum")
    model.config = ClassifierConfig(
        classes=CLASSES,
        temperature_lengths=(256, 1024),
        temperature=(1.0, 3.0),
        unlike_lengths=(64,),
        unlike_nats=(1.3,),
    )
    logits = torch.tensor([[2.0, 0, -2]]).expand(4, 3)
    got = model.log_probabilities(logits, torch.tensor([10, 256, 512, 4096]))
    for row, divisor in zip(got, (1, 1, 2, 3), strict=True):
        torch.testing.assert_close(row, (logits[0] / divisor).log_softmax(-1))
    assert model.config.unlike_above(1) == model.config.unlike_above(10**6) == 1.3
    assert ClassifierConfig(classes=CLASSES).unlike_above(100) == float("inf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a",)}, "two or more"),
        ({"classes": ("a", "a")}, "each once"),
        ({"temperature": (1.0, 2.0)}, "want one for each of 0 lengths"),
        ({"temperature": (1.0, 0.0), "temperature_lengths": (2, 4)}, "positive numbers"),
        ({"unlike_nats": (1.0, 2.0), "unlike_lengths": (4, 2)}, "growing"),
    ],
)
def test_bad_heads_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        ClassifierConfig(**{"classes": CLASSES, **changes})
