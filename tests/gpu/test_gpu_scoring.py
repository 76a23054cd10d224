"""Scoring on a GPU: the scores of the CPU, of two whole windows, and in bfloat16 the same ranks."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from random_models import random_model, random_tokens
from scoring_cases import made_sequence, made_variants, naive_scores, write_fasta

from dnamamba.model.reading import GRID, read
from dnamamba.pipelines.reference import open_reference
from dnamamba.scoring.scorer import VariantScorer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: scores of two devices are compared"),
]
CLOSE = 1e-3
SHAPE = {"d_model": 128, "n_layers": 4}


@pytest.fixture(scope="module")
def sequence():
    return made_sequence(20_000, seed=1)


@pytest.fixture(scope="module")
def reference(sequence, tmp_path_factory):
    return open_reference(write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", c1=sequence))


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("context", [2048, "full"])
def test_scores_are_those_of_the_cpu(reference, sequence, context, early_stop):
    variants = made_variants(sequence, 400, seed=2)
    options = {"context": context, "early_stop": early_stop}
    ours = VariantScorer(random_model(**SHAPE), reference, device="cuda", **options).score_many(variants)
    theirs = VariantScorer(random_model(**SHAPE), reference, device="cpu", **options).score_many(variants)
    for one, other in zip(ours, theirs, strict=True):
        assert one.skipped == other.skipped
        if one.skipped is None:
            assert one.forward == pytest.approx(other.forward, abs=CLOSE)
            assert one.reverse == pytest.approx(other.reverse, abs=CLOSE)


def test_tf32_that_others_switched_on_does_not_matter(reference, sequence):
    variants = made_variants(sequence, 60, seed=3)
    model = random_model(**SHAPE).cuda()
    scorer = VariantScorer(model, reference, context=2048)
    wanted = list(scorer.score_many(variants))
    torch.set_float32_matmul_precision("high")
    try:
        scores = list(scorer.score_many(variants))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert scores == wanted  # and two runs give the same bits
    for variant, score in zip(variants, wanted, strict=True):
        if score.skipped is None:
            forward, reverse = naive_scores(model, reference, [variant], 2048, 512)
            assert score.score == pytest.approx((forward.total + reverse.total) / 2, abs=CLOSE)


def test_bfloat16_ranks_alike(reference, sequence):
    variants = made_variants(sequence, 500, seed=4)
    model = random_model(**SHAPE).cuda()
    scores = [
        [s.score for s in VariantScorer(model, reference, context=2048, precision=p).score_many(variants) if s.score]
        for p in ("float32", "bfloat16")
    ]
    ranks = torch.tensor(scores).argsort(1).argsort(1).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.99


@torch.no_grad()
def test_kept_states_and_ends_of_rows():
    backbone = random_model(**SHAPE).cuda().backbone
    tokens = random_tokens(1, 40 * GRID).cuda()
    reading = read(backbone, tokens, keep=torch.tensor([0, 7, 39], device="cuda"))
    for i, block in enumerate([7, 39], 1):
        _, state = backbone(tokens[:, : block * GRID])
        for a, b in zip(reading.kept.index([i]).tensors(), state.tensors(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    before = reading.kept.index([1, 2, 1])
    rows = random_tokens(3, 128, seed=1).cuda()
    lengths = torch.tensor([128, 3, 65], device="cuda")
    ragged = read(backbone, rows, before, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        _, state = backbone(rows[row : row + 1, :length], before.index([row]))
        for a, b in zip(ragged.state.index([row]).tensors(), state.tensors(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
