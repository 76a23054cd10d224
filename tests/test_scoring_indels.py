"""A score does not drift with an indel's length, where the plain log-likelihood loses 1.4 nats a base."""

import numpy as np
import pytest
import torch
from random_models import random_model
from scoring_cases import naive_scores, write_fasta

from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.scorer import VariantScorer

LENGTH, LONGEST, COUNT = 40_000, 50, 250


@pytest.fixture(scope="module")
def contig():
    """Neutral as can be: each letter as likely as any other."""
    return "".join(np.random.default_rng(1).choice(list("ACGT"), LENGTH))


@pytest.fixture(scope="module")
def scorer(contig, tmp_path_factory):
    model = random_model(n_layers=2)
    with torch.no_grad():  # opinions of a trained model's size: about a fifth of a nat a base
        model.backbone.norm_f.weight.mul_(0.2)
    reference = open_reference(write_fasta(tmp_path_factory.mktemp("genome") / "n.fa", n=contig))
    return VariantScorer(model, reference, context=2048, horizon=64)


@pytest.mark.parametrize("kind", ["insertion", "deletion"])
def test_slopes(scorer, contig, kind):
    rng = np.random.default_rng(2)
    variants = []
    for number in range(COUNT):
        at, size = int(rng.integers(5000, LENGTH - 5000)), number % LONGEST + 1
        fresh = "".join(rng.choice(list("ACGT"), size))
        alleles = (contig[at], contig[at] + fresh) if kind == "insertion" else (contig[at : at + 1 + size], contig[at])
        variants.append(Variant("n", at + 1, str(size), *alleles))
    sizes = np.array([int(variant.id) for variant in variants])
    scores = np.array([score.score for score in scorer.score_many(variants)])
    slope = np.polyfit(sizes, scores, 1)[0]
    assert abs(slope) < 0.02, f"{slope:.4f} nats a base"
    # The plain score is ours and what the null took off: the mean of the stream, 1.39 nats a base here.
    plain = [naive_scores(scorer.model, scorer.reference, [v], 2048, 64)[0] for v in variants[:: COUNT // 10]]
    taken = np.array([parts.null for parts in plain]) / sizes[:: COUNT // 10] * (1 if kind == "insertion" else -1)
    assert (taken < -1.3).all()
    assert (taken > -1.6).all()
