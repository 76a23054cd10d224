"""Quantiles among random variants of the same kind: drawn alike, seeded, kept as JSON, refused for another model."""

import json
from bisect import bisect_left

import pytest
from random_models import random_model
from scoring_cases import made_sequence, write_fasta

from dnamamba.errors import InputError
from dnamamba.model_directory import read_record, save
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Edit, allele_problem, trimmed
from dnamamba.scoring.calibration import FEWEST, Calibration, calibrate, load_calibration
from dnamamba.scoring.random_variants import draw_variants
from dnamamba.scoring.scorer import VariantScorer
from dnamamba.scoring.strata import longer_kinds, stratum_of, substitution_types

OPTIONS = {"context": 256, "horizon": 16, "strands": "forward"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    return open_reference(write_fasta(folder / "g.fa", c1=made_sequence(9000, 1), c2=made_sequence(4000, 2, odd="")))


@pytest.fixture(scope="module")
def model():
    return random_model(n_layers=1)


@pytest.fixture(scope="module")
def calibration(model, reference):
    return calibrate(VariantScorer(model, reference, **OPTIONS), 25, seed=7)


@pytest.mark.parametrize(
    "edit, stratum",
    [
        (Edit(2, 3, "T"), "A[C>T]G unique"),
        (Edit(3, 4, "A"), "A[C>T]G unique"),  # the other strand of the same
        (Edit(7, 8, "G"), "G[T>C]A masked"),
        (Edit(0, 1, "T"), None),
        (Edit(10, 11, "C"), None),  # beside an N
        (Edit(2, 2, "TTT"), "insertion 3-4 unique"),
        (Edit(6, 11, ""), "deletion 5-8 masked"),
        (Edit(2, 4, "GA"), "substitution 2 unique"),
        (Edit(2, 4, "A"), "deletion 1 unique"),
        (Edit(2, 2, "A" * 99), "insertion 33- unique"),
        (Edit(12, 12, "A"), "insertion 1 unique"),  # behind the last base
    ],
)
def test_strata_by_hand(tmp_path, edit, stratum):
    reference = open_reference(write_fasta(tmp_path / "s.fa", c="GACGTTtacgAN"))
    assert stratum_of(reference, "c", edit) == stratum


def test_there_are_96_types_of_substitution():
    assert len(set(substitution_types())) == 96
    assert len(set(longer_kinds())) == 20


def test_random_variants_are_what_they_are_called(reference):
    drawn = draw_variants(reference, 5, length=128, stretches=40, seed=3)
    strata = {}
    for variant, stratum in drawn:
        assert allele_problem(variant.ref, variant.alt) is None
        start = variant.pos - 1
        there = reference.fetch(variant.chrom, start, start + len(variant.ref)).tobytes().decode().upper()
        assert there == variant.ref
        assert stratum_of(reference, variant.chrom, trimmed(start, variant.ref, variant.alt)) == stratum
        strata.setdefault(stratum, []).append(variant)
    assert len(strata) > 200
    assert max(map(len, strata.values())) == 5
    assert sum(len(some) == 5 for some in strata.values()) > 150
    assert draw_variants(reference, 5, length=128, stretches=40, seed=3) == drawn
    assert draw_variants(reference, 5, length=128, stretches=40, seed=4) != drawn


def test_a_quantile_is_the_share_of_lower_scores(calibration, model, reference):
    scorer = VariantScorer(model, reference, **OPTIONS, calibration=calibration)
    plain = VariantScorer(model, reference, **OPTIONS)
    filled = 0
    for start in range(100, 400, 7):
        ref = reference.fetch("c2", start, start + 1).tobytes().decode().upper()
        for alt in set("ACGT") - {ref}:
            score = scorer.score("c2", start + 1, ref, alt)
            stratum = stratum_of(reference, "c2", Edit(start, start + 1, alt))
            scores = calibration.scores.get(stratum, ())
            assert score.score == plain.score("c2", start + 1, ref, alt).score
            if len(scores) < FEWEST:
                assert score.quantile is None
                continue
            filled += 1
            assert score.quantile == pytest.approx(bisect_left(scores, score.score) / len(scores), abs=0.021)
    assert filled > 30


def test_quantiles_of_random_variants_are_even(calibration, model, reference):
    """Other random variants than those of the calibration: a mean of 1/2, a tenth in each tenth."""
    scorer = VariantScorer(model, reference, **OPTIONS, calibration=calibration)
    variants = [variant for variant, _ in draw_variants(reference, 8, 128, 200, seed=99)]
    quantiles = [score.quantile for score in scorer.score_many(variants) if score.quantile is not None]
    assert len(quantiles) > 500
    assert sum(quantiles) / len(quantiles) == pytest.approx(0.5, abs=0.05)
    for tenth in range(10):
        share = sum(tenth / 10 <= quantile < (tenth + 1) / 10 for quantile in quantiles) / len(quantiles)
        assert 0.05 < share < 0.16


def test_ties_count_half_and_few_give_none():
    scores = tuple(sorted([1.0] * 10 + [2.0] * 10))
    calibration = Calibration(made_with={}, seed=0, count=20, stretches=1, scores={"a": scores, "few": scores[:19]})
    assert [calibration.quantile("a", score) for score in (0.0, 1.0, 1.5, 2.0, 3.0)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert calibration.quantile("few", 1.0) is None
    assert calibration.quantile(None, 1.0) is None


def test_saved_and_loaded(calibration, model, reference, tmp_path):
    calibration.save(tmp_path / "c.json")
    assert load_calibration(tmp_path / "c.json") == calibration
    VariantScorer(model, reference, **OPTIONS, calibration=tmp_path / "c.json")
    again = calibrate(VariantScorer(model, reference, **OPTIONS, batch_size=2000), 25, seed=7)
    assert again.made_with == calibration.made_with
    for stratum, scores in calibration.scores.items():
        assert again.scores[stratum] == pytest.approx(scores, abs=1e-4)


def test_a_model_is_known_by_the_digest_of_its_directory(calibration, model, reference, tmp_path):
    directory = save(model, tmp_path / "model")
    assert calibration.made_with["model"] == read_record(directory).weights_sha256
    VariantScorer(directory, reference, **OPTIONS, calibration=calibration)


@pytest.mark.parametrize("options", [{"horizon": 17}, {"context": 128}, {"strands": "both"}, {"precision": "bfloat16"}])
def test_other_options_are_refused(calibration, model, reference, options):
    (key,) = options
    with pytest.raises(InputError, match=f"it was made with {key}"):
        VariantScorer(model, reference, **{**OPTIONS, **options}, calibration=calibration)
    with pytest.raises(InputError, match="it was made with model"):
        VariantScorer(random_model(seed=9, n_layers=1), reference, **OPTIONS, calibration=calibration)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not JSON"),
        ("[]", "not a calibration"),
        ('{"format": "other"}', "not a calibration"),
        (json.dumps({"format": "dnamamba-calibration", "format_version": 2}), "format version 2"),
        (json.dumps({"format": "dnamamba-calibration", "format_version": 1, "seed": 1}), "missing"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_calibration(tmp_path / "c.json")
