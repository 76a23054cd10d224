"""The statistics of a context curve, and the classes of its targets."""

import math

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_dna

from dnamamba.corpus import build_corpus
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.sweep.classes import target_classes
from dnamamba.sweep.curve import curve_of, verdict
from dnamamba.sweep.targets import choose_targets


def _losses(gains, blocks=64, seed=0):
    """Hard and easy blocks, alike at all contexts but for what is gained."""
    rng = np.random.default_rng(seed)
    level = rng.normal(1.3, 0.2, (blocks, 1)) + rng.normal(0, 0.1, (blocks, 32))
    out, total = {}, 0.0
    for context, gain in gains.items():
        total += gain
        out[context] = (level - total * math.log(2) + rng.normal(0, 0.01, level.shape)).astype(np.float32)
    return out


def test_gains_are_paired_and_come_out_as_they_went_in():
    points = curve_of(_losses({64: 0.0, 128: 0.02, 256: 0.01, None: 0.0}))
    assert [point.context for point in points] == [64, 128, 256, None]
    for point, wanted in zip(points[1:], (0.02, 0.01, 0.0), strict=True):
        assert point.gain.bits == pytest.approx(wanted, abs=2e-3)
        assert point.gain.low < wanted < point.gain.high or abs(point.gain.bits - wanted) < 1e-3
    assert points[2].total.bits == pytest.approx(0.03, abs=2e-3)
    assert points[0].score.high - points[0].score.low > 10 * (points[1].gain.high - points[1].gain.low)
    assert [point.significant for point in points] == [False, True, True, points[3].gain.low > 0]
    assert points[0].score.perplexity > points[1].score.perplexity > points[2].score.perplexity


def test_the_verdict_names_the_reach_and_the_harm():
    assert verdict(curve_of(_losses({64: 0, 128: 0.02, 256: 0.01, 512: -0.05}))) == (
        "every step up to 256 gains significantly; significantly worse than the context before: 512"
    )
    flat = verdict(curve_of(_losses({64: 0, 128: -0.02, None: 0.05})))
    assert flat == "no significant gain from 64 to 128; significantly worse than the context before: 128"
    assert "nothing to compare" in verdict(curve_of(_losses({64: 0})))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_float32_rounds_off_is_neither_gain_nor_harm(sign):
    losses = np.random.default_rng(0).normal(1.3, 0.2, (64, 32))
    points = curve_of({64: losses, 128: losses - sign * 2e-8, 256: losses - sign * 3e-6})
    assert points[1].gain.low * points[1].gain.high > 0  # the same in every block, so that the interval is narrow
    assert [(point.significant, point.harmful) for point in points[1:]] == [(False, False), (sign > 0, sign < 0)]
    assert "none does harm" in verdict(points[:2])


def test_a_class_is_a_curve_of_its_own_targets():
    losses = _losses({64: 0.0, 128: 0.02})
    chosen = np.zeros((64, 32), bool)
    chosen[:, :7] = True
    points = curve_of(losses, chosen)
    assert points[0].score.targets == 7 * 64
    assert points[0].score.bits == pytest.approx(losses[64][:, :7].mean() / math.log(2), rel=1e-6)


def test_classes_of_targets_by_mask_and_by_distance_to_the_copy():
    contig = random_dna(80_000, seed=1).copy()
    for start, distance in ((50_000, 600), (60_000, 5_000), (70_000, 30_000)):
        contig[start : start + 500] = contig[start - distance : start - distance + 500]
        contig[start + 500] = (
            ord("A") if contig[start - distance + 500] != ord("A") else ord("C")
        )  # no longer by chance
    contig[60_000:60_500] |= 0x20
    genome = MemoryGenome("g", {"a": random_dna(4000), "b": random_dna(3000, seed=2), "c": contig})
    corpus = build_corpus([("s", [genome], None)], SplitConfig(method="contig", valid=("b",), test=("c",)))
    targets = choose_targets(corpus, (64,), DNA, targets=10**6)
    classes = target_classes(corpus, targets)
    positions = targets.positions.reshape(-1, targets.size)
    assert len(np.unique(positions)) == positions.size > 79_000
    np.testing.assert_array_equal(classes["soft-masked"], (positions >= 60_000) & (positions < 60_500))
    for name, start in (("copy < 1k", 50_000), ("copy 1k-16k", 60_000), ("copy 16k-256k", 70_000)):
        np.testing.assert_array_equal(classes[name], (positions >= start + 24) & (positions <= start + 500))
    assert "copy >= 256k" not in classes
    together = sum(chosen.astype(int) for name, chosen in classes.items() if "copy" in name)
    assert (together == 1).all()
