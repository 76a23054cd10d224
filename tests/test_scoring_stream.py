"""A pass over the reference reads what it must and no more, holds little, and asks for one window of variants."""

import itertools

import pytest
from random_models import random_model
from scoring_cases import made_sequence, made_variants, write_fasta

from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring import stream as module
from dnamamba.scoring.scorer import VariantScorer
from dnamamba.scoring.strand import Strand, stream_start
from dnamamba.scoring.track import Track

LENGTH = 12_000


@pytest.fixture(scope="module")
def sequence():
    return made_sequence(LENGTH, seed=1)


@pytest.fixture(scope="module")
def reference(sequence, tmp_path_factory):
    return open_reference(write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", c1=sequence))


class _Watched(Track):
    """A track that remembers the most it held: bases, and states."""

    most = (0, 0)

    def append(self, inputs, log_p, cells, states):
        super().append(inputs, log_p, cells, states)
        held = len(self._log_p), sum(len(kept) for kept, _ in self._states)
        _Watched.most = tuple(map(max, _Watched.most, held))


@pytest.mark.parametrize("repeats", [1, 4])
def test_memory_grows_neither_with_the_stream_nor_with_the_variants(reference, sequence, monkeypatch, repeats):
    monkeypatch.setattr(module, "Track", _Watched)
    _Watched.most = (0, 0)
    scorer = VariantScorer(random_model(n_layers=1), reference, context="full", horizon=100, strands="forward")
    scorer._passes.segment = 256
    variants = [v for v in made_variants(sequence, 150, seed=2) if v.id != "long"] * repeats
    assert sum(score.skipped is None for score in scorer.score_many(variants)) > 100
    bases, states = _Watched.most
    assert bases <= 2 * 256 + 100 + 64 + 40  # a segment, and what the oldest fork at hand still needs
    assert states <= 3 * 256 / 64 + 3


def _tokens_read(scorer, variants):
    passes, read = scorer._passes, []

    class Counting:
        segment, batch_tokens, device = passes.segment, passes.batch_tokens, passes.device

        def __call__(self, tokens, *arguments, **options):
            read.append(tokens.shape)
            return passes(tokens, *arguments, **options)

    scorer._passes = Counting()
    list(scorer.score_many(variants))
    scorer._passes = passes
    return sum(rows * length for rows, length in read)


def test_streams_are_shared_and_empty_ones_not_read(reference, sequence):
    scorer = VariantScorer(random_model(n_layers=1), reference, context=2048, horizon=64, strands="forward")
    at = [i for i in range(9300, 10_200) if sequence[i] in "ACGT"]  # all in the second half of one stream
    variants = [Variant("c1", i + 1, ".", sequence[i], "ACGT"[sequence[i] == "A"]) for i in at]
    assert len({stream_start(i, 2048) for i in at}) == 1
    one, many = _tokens_read(scorer, variants[-1:]), _tokens_read(scorer, variants)
    assert one < 2048 + 64 + 2 * 64
    assert many - one < (len(variants) - 1) * (64 + 64) + 64


def test_streams_lie_on_a_grid():
    assert [stream_start(p, 1000) for p in (0, 499, 500, 999, 1000, 1499, 1500)] == [0, 0, 0, 0, 500, 500, 1000]
    assert stream_start(10**9, None) == 0


def test_strands_are_each_others_reverse_complement(reference, sequence):
    forward, reverse = (Strand(reference, "c1", reverse=reverse) for reverse in (False, True))
    letters = "ACGTNRYSWKMBDHV"
    there = "".join(letters[token] for token in forward.tokens(10, 40))
    assert there == sequence[10:40].upper()
    back = "".join(letters[token] for token in reverse.tokens(LENGTH - 40, LENGTH - 10))
    assert back == there[::-1].translate(str.maketrans("ACGTRY", "TGCAYR"))


def test_variants_are_asked_for_a_window_at_a_time(reference, sequence):
    """An endless file gives its first scores."""
    asked = itertools.count()
    at = next(i for i in range(200, 300) if sequence[i] in "ACGT")
    endless = (Variant("c1", at + 1, str(next(asked)), sequence[at], "GATTACA") for _ in itertools.count())
    scorer = VariantScorer(random_model(n_layers=1), reference, context=256, horizon=8, window=5)
    scores = list(itertools.islice(scorer.score_many(endless), 7))
    assert [score.id for score in scores] == list("0123456")
    assert next(asked) == 10


def test_two_runs_give_the_same_bits(reference, sequence):
    variants = made_variants(sequence, 40, seed=5)
    scorer = VariantScorer(random_model(), reference, context=512, horizon=100)
    assert list(scorer.score_many(variants)) == list(scorer.score_many(variants))
