"""VariantScorer against two whole windows, allele by allele, and what a score must not depend on."""

import dataclasses
import random

import pytest
import torch
from random_models import random_model
from scoring_cases import COMPLEMENT, made_sequence, made_variants, naive_scores, reversed_variant, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.scorer import VariantScorer

HORIZON = 200
CLOSE = 1e-3
"""Nats: what the float32 rounding of a few hundred log-probabilities may come to."""


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def sequence():
    return made_sequence(3000, seed=1)


@pytest.fixture(scope="module")
def reference(sequence, tmp_path_factory):
    return open_reference(write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", c1=sequence, c2="ACGTTGCA" * 9))


@pytest.fixture(scope="module")
def variants(sequence):
    return made_variants(sequence, 60, seed=2)


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("context", [256, "full"])
def test_equals_two_whole_windows(model, reference, variants, context, early_stop):
    scorer = VariantScorer(model, reference, context=context, horizon=HORIZON, early_stop=early_stop)
    scored = 0
    for variant, ours in zip(variants, scorer.score_many(variants), strict=True):
        assert (ours.chrom, ours.pos, ours.id, ours.ref, ours.alt) == dataclasses.astuple(variant)
        if ours.skipped:
            assert ours.score is ours.allele is ours.forward is ours.upstream is None
            continue
        scored += 1
        length = None if context == "full" else context
        forward, reverse = naive_scores(model, reference, [variant], length, HORIZON)
        assert ours.forward == pytest.approx(forward.total, abs=CLOSE)
        assert ours.reverse == pytest.approx(reverse.total, abs=CLOSE)
        assert ours.allele == pytest.approx((forward.allele + reverse.allele) / 2, abs=CLOSE)
        assert ours.downstream == pytest.approx((forward.downstream + reverse.downstream) / 2, abs=CLOSE)
        assert ours.score == pytest.approx(ours.allele + ours.downstream, abs=1e-9)
        assert ours.upstream == min(forward.upstream, reverse.upstream)
        assert ours.horizon == min(forward.horizon, reverse.horizon)
    assert scored > 50


@pytest.mark.parametrize("context", [128, "full"])
def test_both_ends_of_a_contig_that_fills_the_grid(model, tmp_path, context):
    """256 bases: what stands behind the last one starts where no segment and no kept state begins any more."""
    sequence = made_sequence(256, seed=9, odd="")
    reference = open_reference(write_fasta(tmp_path / "g.fa", c1=sequence))
    variants = [v for v in made_variants(sequence, 0, seed=0) if v.id != "long"]
    scorer = VariantScorer(model, reference, context=context, horizon=100)
    for horizon in (100, 0):
        scorer.horizon = horizon
        for variant, ours in zip(variants, scorer.score_many(variants), strict=True):
            length = None if context == "full" else context
            forward, reverse = naive_scores(model, reference, [variant], length, horizon)
            assert ours.forward == pytest.approx(forward.total, abs=CLOSE), variant.id
            assert ours.reverse == pytest.approx(reverse.total, abs=CLOSE), variant.id


def test_context_seen_is_between_half_and_whole(model, reference, variants):
    scorer = VariantScorer(model, reference, context=256, horizon=8, strands="forward")
    for score in scorer.score_many(variants):
        if score.skipped is None:
            assert score.upstream < 256
            assert score.upstream >= min(128, score.pos - 1)
            assert score.reverse is None


def test_a_score_does_not_depend_on_company_order_or_batch(model, reference, variants):
    options = {"context": 256, "horizon": HORIZON}
    usual = list(VariantScorer(model, reference, **options).score_many(variants))
    shuffled = random.Random(3).sample(range(len(variants)), len(variants))
    small = VariantScorer(model, reference, **options, batch_size=300, window=7)
    small._passes.segment = 128
    others = small.score_many([variants[i] for i in shuffled])
    alone = VariantScorer(model, reference, **options)
    for i, other in zip(shuffled, others, strict=True):
        assert other.id == usual[i].id
        if usual[i].skipped is None:
            assert other.score == pytest.approx(usual[i].score, abs=CLOSE)
    for i in shuffled[:10]:
        v = variants[i]
        one = alone.score(v.chrom, v.pos, v.ref, v.alt, v.id)
        assert one.skipped == usual[i].skipped
        if one.skipped is None:
            assert one.score == pytest.approx(usual[i].score, abs=CLOSE)


def test_the_other_strand_swaps_the_parts(model, reference, sequence, variants, tmp_path):
    turned = open_reference(write_fasta(tmp_path / "turned.fa", c1=sequence.translate(COMPLEMENT)[::-1]))
    options = {"context": 256, "horizon": HORIZON}
    ours = VariantScorer(model, reference, **options).score_many(variants)
    theirs = VariantScorer(model, turned, **options).score_many(
        [reversed_variant(variant, len(sequence)) for variant in variants]
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.skipped == other.skipped
        if one.skipped is None:
            assert one.forward == pytest.approx(other.reverse, abs=1e-6)
            assert one.reverse == pytest.approx(other.forward, abs=1e-6)
            assert (one.upstream, one.horizon) == (other.upstream, other.horizon)


def test_bfloat16_ranks_alike(model, reference, sequence):
    variants = made_variants(sequence, 150, seed=4)
    scores = [
        [
            s.score
            for s in VariantScorer(model, reference, context=256, precision=p).score_many(variants)
            if not s.skipped
        ]
        for p in ("float32", "bfloat16")
    ]
    ranks = torch.tensor(scores).argsort(1).argsort(1).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.99


def test_what_cannot_be_scored_says_why(model, reference, sequence):
    first = sequence[0].upper()
    gap = len(sequence) // 3
    cases = [
        (("c9", 1, "A", "C"), "unknown contig"),
        (("c1", 3001, "A", "C"), "past the end of the contig"),
        (("c1", 2999, "ACGTA", "C"), "past the end of the contig"),
        (("c1", 1, "ACGT"[first == "A"], "GG"), "REF does not match"),
        (("c1", 1, first, "<DEL>"), "symbolic allele"),
        (("c1", 1, first, "*"), "spanning deletion (*)"),
        (("c1", 1, first, "."), "reference allele only"),
        (("c1", 1, first, first.lower()), "reference allele only"),
        (("c1", 1, first, "G]17:198982]"), "breakend"),
        (("c1", 1, first, f"{first}."), "breakend"),
        (("c1", 1, first, ""), "missing allele"),
        (("c1", 1, first, "AN"), "allele has letters that are not A, C, G, T"),
        (("c1", gap + 10, "N", "A"), "reference is not A, C, G or T here"),
    ]
    scorer = VariantScorer(model, reference, context=256, horizon=8)
    for (chrom, pos, ref, alt), reason in cases:
        assert scorer.score(chrom, pos, ref, alt).skipped == reason, (chrom, pos, ref, alt)
    assert (
        scorer.score("c1", gap + 10, "NNNN", "N").skipped is None
    )  # an indel among N: no letter counts, the rest does


@pytest.mark.parametrize(
    "options, message",
    [
        ({"context": 3}, "context: want an even number"),
        ({"horizon": -1}, "horizon: want 0"),
        ({"strands": "reverse"}, "strands: want both or forward"),
        ({"batch_size": 0}, "batch_size: want 1"),
        ({"context": 1024.0}, "context: want a whole number, got 1024.0"),
        ({"context": None}, "context: want a whole number, got None"),
        ({"horizon": 8.5}, "horizon: want a whole number, got 8.5"),
        ({"window": 2.5}, "window: want a whole number, got 2.5"),
        ({"device": "gpu"}, "device: want auto, cpu or cuda, got 'gpu'"),
        ({"precision": "float16"}, "precision: want auto, float32 or bfloat16, got 'float16'"),
    ],
)
def test_options_are_checked(model, reference, options, message):
    with pytest.raises(InputError, match=message):
        VariantScorer(model, reference, **options)


def test_sizes_may_be_written_and_positions_are_numbers(model, reference):
    scorer = VariantScorer(model, reference, context="1k", horizon="8")
    assert (scorer.context, scorer.horizon) == (1024, 8)
    assert scorer.made_with() == VariantScorer(model, reference, context=1024, horizon=8).made_with()
    with pytest.raises(InputError, match="context: want a size"):
        VariantScorer(model, reference, context="long")
    with pytest.raises(InputError, match="pos: want a whole number, 1-based; got '7'"):
        scorer.score("c1", "7", "A", "G")
    with pytest.raises(InputError, match="contig: want a name such as 'chr1', got 17"):
        scorer.score(17, 7, "A", "G")


@pytest.mark.parametrize("options", [{"mixer": "s4d"}, {"selective": ()}], ids=["s4d", "nothing selective"])
def test_models_with_other_mixers(reference, variants, options):
    model = random_model(n_layers=2, **options)
    scorer = VariantScorer(model, reference, context=256, horizon=700)
    for variant, ours in zip(variants[::5], scorer.score_many(variants[::5]), strict=True):
        if ours.skipped is None:
            forward, reverse = naive_scores(model, reference, [variant], 256, 700)
            assert ours.score == pytest.approx((forward.total + reverse.total) / 2, abs=CLOSE)


def test_a_bytes_model_is_refused(reference):
    with pytest.raises(InputError, match="dna alphabet"):
        VariantScorer(random_model(vocab_size=256, alphabet="bytes"), reference)


def test_haplotypes_equal_two_whole_windows(model, reference, sequence):
    rng = random.Random(5)
    scorer = VariantScorer(model, reference, context=256, horizon=HORIZON)
    haplotypes = []
    for _ in range(12):
        at = rng.randrange(1100, 2500)
        variants = []
        for _ in range(rng.choice([1, 2, 3, 5])):
            ref = sequence[at : at + rng.choice([1, 1, 2, 9])]
            alt = ref[0] + "".join(rng.choice("ACGT") for _ in range(rng.choice([0, 1, 20])))
            variants.append(Variant("c1", at + 1, ".", ref, alt if alt.upper() != ref.upper() else alt + "GT"))
            at += len(ref) + rng.choice([0, 1, 30, 120])
        haplotypes.append(variants)
    scored = 0
    for variants, ours in zip(haplotypes, scorer.score_haplotypes(haplotypes), strict=True):
        if ours.skipped:
            continue
        scored += 1
        forward, reverse = naive_scores(model, reference, variants, 256, HORIZON)
        assert ours.forward == pytest.approx(forward.total, abs=CLOSE)
        assert ours.reverse == pytest.approx(reverse.total, abs=CLOSE)
        assert ours.allele == pytest.approx((forward.allele + reverse.allele) / 2, abs=CLOSE)
    assert scored > 6


def test_a_haplotype_of_one_variant_is_that_variant(model, reference, variants):
    scorer = VariantScorer(model, reference, context=256, horizon=HORIZON)
    for variant in variants[:8]:
        one = scorer.score(variant.chrom, variant.pos, variant.ref, variant.alt)
        assert scorer.score_haplotype([variant]).score == one.score


def test_overlapping_variants_are_no_haplotype(model, reference, sequence):
    scorer = VariantScorer(model, reference, context=256)
    overlapping = [
        Variant("c1", 101, ".", sequence[100:105], sequence[100]),
        Variant("c1", 103, ".", sequence[102], "ACGT"),
    ]
    with pytest.raises(InputError, match="must not overlap"):
        scorer.score_haplotype(overlapping)


def test_the_reading_ends_where_states_meet(reference, variants):
    """A model that forgets within some tens of bases: most forks end early, and no score moves."""
    model = random_model(seed=3)
    with torch.no_grad():
        for layer in model.backbone.layers:
            layer.mixer.dt_proj.bias.fill_(1.5)
            layer.mixer.A_log.clamp_(min=0.0)
    read, scores = {}, {}
    for early_stop in (True, False):
        scorer = VariantScorer(model, reference, context=256, horizon=2000, early_stop=early_stop)
        scorer._passes = counting = _Counting(scorer._passes)
        scores[early_stop] = list(scorer.score_many(variants))
        read[early_stop] = counting.tokens
    assert read[True] < 0.7 * read[False]
    for one, other in zip(scores[True], scores[False], strict=True):
        if one.skipped is None:
            assert one.score == pytest.approx(other.score, abs=CLOSE)


class _Counting:
    """Passes that count the tokens they read."""

    def __init__(self, passes):
        self.passes, self.tokens = passes, 0
        self.segment, self.batch_tokens, self.device = passes.segment, passes.batch_tokens, passes.device

    def __call__(self, tokens, *arguments, **options):
        self.tokens += tokens.size
        return self.passes(tokens, *arguments, **options)
