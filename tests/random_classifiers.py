"""Small species classifiers for the tests, and what they say of a sequence, computed the plain way."""

import numpy as np
import torch
from random_models import random_model

from dnamamba.letters import vocabulary_of
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.classifier import Classifier
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.model import SpeciesClassifier

CLASSES = ("human", "chimpanzee", "gorilla")


def random_classifier(pool: str = "mean", **config: object) -> Classifier:
    """Random weights; the posterior moves with every base."""
    torch.manual_seed(0)  # step sizes are drawn from the global generator
    model = random_model(d_model=16, n_layers=2)
    model.vocabulary = vocabulary_of(DNA)
    classifier = SpeciesClassifier(model, ClassifierConfig(classes=CLASSES, pool=pool, **config))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        scale = 6.0 if pool == "sum" else 1.0
        classifier.evidence.weight.copy_(scale * torch.randn(3, 16, generator=generator))
        classifier.bias.copy_(torch.randn(3, generator=generator))
    return Classifier(classifier.eval())


def plain_posterior(classifier: Classifier, sequence: bytes) -> tuple[np.ndarray, float]:
    """Posterior [K] and nats of the A/C/G/T of one strand, the whole sequence in one pass, alone."""
    tokens = np.concatenate([[DNA.start], DNA.encode(np.frombuffer(sequence, np.uint8))])
    with torch.no_grad():
        logits, _ = classifier.model(torch.from_numpy(tokens.astype(np.int64))[None])
    divisor = classifier.config.temperature_at(len(sequence))
    posterior = (logits[0, -1].double() / divisor).softmax(0).numpy()
    return posterior, -classifier.model.lm.log_likelihood(sequence).total


def reverse_complement(sequence: bytes) -> bytes:
    """By a table of its own."""
    return sequence.translate(bytes.maketrans(b"ACGTNacgtnRY", b"TGCANtgcanYR"))[::-1]


def random_sequence(length: int, seed: int = 0) -> bytes:
    """Letters A C G T."""
    return np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(seed).integers(0, 4, length)].tobytes()
