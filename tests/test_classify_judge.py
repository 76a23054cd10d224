"""Verdicts: equal to one plain pass over each sequence alone, whatever the batch, the chunk, the source or the stop."""

import numpy as np
import pytest
from random_classifiers import plain_posterior, random_classifier, random_sequence, reverse_complement

from dnamamba.classify.in_python import verdicts
from dnamamba.classify.options import ClassifyOptions
from dnamamba.errors import InputError
from dnamamba.species.model import SpeciesClassifier

# float32 rounding: a batch of another shape multiplies matrices in another order.
CLOSE = 1e-5
LENGTHS = (1, 2, 37, 40, 41, 200, 3, 333, 64, 1000)


@pytest.fixture
def counted(monkeypatch):
    """Tokens that go through the model: [rows, length] of every call."""
    shapes = []
    read = SpeciesClassifier.read

    def spy(self, tokens, state=None, *, at=None):
        shapes.append(tuple(tokens.shape))
        return read(self, tokens, state, at=at)

    monkeypatch.setattr(SpeciesClassifier, "read", spy)
    return shapes


def _judge(classifier, given, **options):
    return list(verdicts(classifier, given, ClassifyOptions(**options)))


@pytest.mark.parametrize("pool", ["last", "mean", "sum"])
@pytest.mark.parametrize("batch_bases", [100, 600, 10**6], ids=["streamed", "mixed", "one batch"])
def test_every_sequence_is_judged_as_if_alone(pool, batch_bases):
    classifier = random_classifier(pool, temperature_lengths=(64, 256), temperature=(0.5, 2.0))
    sequences = [random_sequence(length, seed) for seed, length in enumerate(LENGTHS)]
    sequences[5] = sequences[5][:100] + b"NNRY" + sequences[5][104:]
    found = _judge(classifier, [(f"s{i}", one) for i, one in enumerate(sequences)], batch_bases=batch_bases)
    assert [one.name for one in found] == [f"s{i}" for i in range(len(LENGTHS))]
    for sequence, verdict in zip(sequences, found, strict=True):
        strands = [plain_posterior(classifier, one) for one in (sequence, reverse_complement(sequence))]
        acgt = sum(sequence.count(letter) for letter in b"ACGT")
        np.testing.assert_allclose(verdict.probabilities, np.mean([p for p, _ in strands], 0), atol=CLOSE)
        assert verdict.nats_per_base == pytest.approx(sum(nats for _, nats in strands) / (2 * acgt), abs=CLOSE)
        assert (verdict.bases, verdict.length, verdict.last) == (len(sequence), len(sequence), True)
        assert verdict.ambiguous == len(sequence) - acgt


def test_a_batch_of_one_equals_a_batch_of_many():
    classifier = random_classifier()
    sequences = [random_sequence(100 + seed % 30, seed) for seed in range(50)]
    many = _judge(classifier, sequences)
    for sequence, verdict in zip(sequences, many, strict=True):
        (alone,) = _judge(classifier, [sequence])
        np.testing.assert_allclose(verdict.probabilities, alone.probabilities, atol=CLOSE)
        assert verdict.nats_per_base == pytest.approx(alone.nats_per_base, abs=CLOSE)


def test_padding_does_not_leak(monkeypatch):
    classifier = random_classifier()
    given = [random_sequence(90, 1), random_sequence(100, 2)]
    clean = _judge(classifier, given)
    full = np.full

    def other_padding(shape, value, dtype):  # what stands behind a row's end is another token
        array = full(shape, 2, dtype)
        array[:, 0] = value
        return array

    monkeypatch.setattr("dnamamba.stream.batches.np.full", other_padding)
    for one, other in zip(clean, _judge(classifier, given), strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize("batch_bases", [150, 10**6], ids=["streamed", "batch"])
def test_anytime_verdicts_are_those_of_the_prefixes(batch_bases, counted):
    classifier = random_classifier("sum")
    sequence = random_sequence(1000, 3)
    found = _judge(classifier, {"x": sequence}, every=300, batch_bases=batch_bases)
    assert [one.bases for one in found] == [300, 600, 900, 1000]
    assert [one.last for one in found] == [False, False, False, True]
    assert sum(rows * length for rows, length in counted) == 1001  # every base once, and the start token
    for verdict in found:
        posterior, nats = plain_posterior(classifier, sequence[: verdict.bases])
        np.testing.assert_allclose(verdict.probabilities, posterior, atol=CLOSE)
        assert verdict.nats_per_base == pytest.approx(nats / verdict.bases, abs=CLOSE)


@pytest.mark.parametrize("length", [1000, 900], ids=["between looks", "at a look"])
@pytest.mark.parametrize("batch_bases", [150, 10**6], ids=["streamed", "batch"])
def test_an_early_stop_reads_no_further(batch_bases, length, counted):
    classifier = random_classifier("last")
    sequence = random_sequence(length, 3)
    looks = _judge(classifier, [sequence], every=100)
    sure = sorted(one.confidence for one in looks)[-3]
    wanted = next(one for one in looks if one.confidence >= sure)
    assert wanted.bases < length
    counted.clear()
    (found,) = _judge(classifier, [sequence], every=100, stop_when=sure - 1e-6, batch_bases=batch_bases)[-1:]
    assert (found.bases, found.length, found.last) == (wanted.bases, length, True)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=CLOSE)
    assert sum(rows * n for rows, n in counted) == wanted.bases + 1


def test_rows_of_a_batch_stop_each_at_its_own_place(counted):
    classifier = random_classifier("last")
    sequences = [random_sequence(400 + 10 * seed, seed) for seed in range(8)]
    looks = [_judge(classifier, [one], every=50) for one in sequences]
    sure = float(np.quantile([one.confidence for each in looks for one in each], 0.8))
    counted.clear()
    found = [one for one in _judge(classifier, sequences, stop_when=sure, every=50) if one.last]
    wanted = [next((one for one in each if one.confidence >= sure), each[-1]) for each in looks]
    assert len({one.bases for one in wanted}) > 2
    for one, other in zip(found, wanted, strict=True):
        assert one.bases == other.bases
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=CLOSE)
    # A row is read to the end of its last slice; padding only from its own end to there.
    assert sum(rows * n for rows, n in counted) <= sum(-(-one.bases // 50) * 50 + 1 for one in found)


def test_a_stop_without_every_gives_one_verdict():
    classifier = random_classifier()
    found = _judge(classifier, [random_sequence(3000, 5)], stop_when=0.0)
    assert [(one.bases, one.length, one.last) for one in found] == [(1024, 3000, True)]


def test_a_live_stream_is_asked_for_no_more_than_was_judged(counted):
    classifier = random_classifier("sum")
    sequence, given = random_sequence(1000, 3), []

    def blocks():
        for start in range(0, 1000, 100):
            given.append(start)
            yield sequence[start : start + 100]

    looks = []
    for verdict in classifier.classify_stream(blocks(), every=200):
        looks.append(verdict)
        assert given[-1] + 100 == verdict.bases
    assert [one.bases for one in looks] == [200, 400, 600, 800, 1000]
    assert sum(rows * n for rows, n in counted) == 1001
    for verdict in looks:
        posterior, _ = plain_posterior(classifier, sequence[: verdict.bases])
        np.testing.assert_allclose(verdict.probabilities, posterior, atol=CLOSE)
        assert verdict.posterior["gorilla"] == verdict.probabilities[2]


def test_a_live_stream_that_is_sure_is_left():
    classifier = random_classifier("sum")

    def endless():
        while True:
            yield b"ACGTTGCA" * 10

    *_, last = classifier.classify_stream(endless(), every=100, stop_when=0.4)
    assert last.last
    assert last.confidence >= 0.4
    assert last.length is None


def test_windows_are_judged_each_by_itself():
    classifier = random_classifier()
    sequence = random_sequence(950, 7)
    for batch_bases in (100, 10**6):  # streamed, batched
        found = _judge(classifier, {"x": sequence}, window=300, batch_bases=batch_bases)
        assert [(one.start, one.length) for one in found] == [(0, 300), (300, 300), (600, 300), (900, 50)]
        for verdict in found:
            window = sequence[verdict.start : verdict.start + verdict.length]
            both = [plain_posterior(classifier, one)[0] for one in (window, reverse_complement(window))]
            np.testing.assert_allclose(verdict.probabilities, np.mean(both, 0), atol=CLOSE)


def test_forward_alone():
    classifier = random_classifier()
    sequence = random_sequence(500, 9)
    for batch_bases in (100, 10**6):
        (found,) = _judge(classifier, [sequence], strands="forward", batch_bases=batch_bases)
        np.testing.assert_allclose(found.probabilities, plain_posterior(classifier, sequence)[0], atol=CLOSE)


def test_too_short_to_judge_is_left_open():
    classifier = random_classifier(lengths=(64, 128))
    found = _judge(classifier, [b"ACGTN" * 4, random_sequence(64), b""])
    assert [one.call() is None for one in found] == [True, False, True]
    assert (found[0].length, found[0].bases, found[0].ambiguous) == (20, 0, 4)
    assert np.isnan(found[0].entropy)
    assert _judge(classifier, [random_sequence(20)], min_length=20)[0].call() is not None
    looks = _judge(classifier, [random_sequence(100)], every=32, batch_bases=32)
    assert [one.call() is None for one in looks] == [True, False, False, False]


def test_unlike_is_told_by_the_likelihood():
    sequence = random_sequence(300)
    nats = _judge(random_classifier(), [sequence])[0].nats_per_base
    for threshold, unlike in ((nats + 0.01, False), (nats - 0.01, True)):
        classifier = random_classifier(unlike_lengths=(100,), unlike_nats=(threshold,))
        for batch_bases in (100, 10**6):
            assert _judge(classifier, [sequence], batch_bases=batch_bases)[0].unlike is unlike


def test_only_n_has_no_likelihood():
    (found,) = _judge(random_classifier(), [b"N" * 50])
    assert np.isnan(found.nats_per_base)
    assert not found.unlike
    assert found.ambiguous == 50


def test_a_call_is_left_open_below_a_confidence():
    (found,) = _judge(random_classifier(), [random_sequence(100)])
    assert found.call(found.confidence) == found.call() == found.classes[int(np.argmax(found.probabilities))]
    assert found.call(found.confidence + 1e-9) is None
    entropy = -sum(p * np.log2(p) for p in found.probabilities)
    assert found.entropy == pytest.approx(entropy)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 0}, "window: want one base or more, got 0"),
        ({"stop_when": 1.5}, "stop_when: want a probability from 0 to 1, got 1.5"),
        ({"every": 10, "strands": "both"}, "strands: calls after every so many bases are of the forward strand"),
        ({"every": 10, "window": 10}, "window: goes with calls of whole windows"),
        ({"strands": "reverse"}, 'strands: want "both" or "forward"'),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ClassifyOptions(**options)
