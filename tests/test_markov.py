"""The Markov baseline against counting by hand, and its promises: no leak over N, ends, windows or parts."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_genomes import MemoryGenome, random_dna, random_genome

from dnamamba.corpus import build_corpus
from dnamamba.errors import InputError
from dnamamba.held_out import TargetBlock, evaluation_targets
from dnamamba.markov import MarkovCounts, MarkovModel, fit_markov
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import SplitConfig, SplitRegion, Splits

BED_FREE = SplitConfig(margin=64)


def _digits(context):
    return int("".join(map(str, context)) or "0", 4)


def _counted(runs, order):
    """Counts of every order by plain slicing: (context, base) -> times."""
    counts = Counter()
    for run in runs:
        for i, base in enumerate(run):
            for k in range(order + 1):
                context = run[i - k : i]
                if i >= k and base < 4 and all(letter < 4 for letter in context):
                    counts[tuple(context), base] += 1
    return counts


@settings(deadline=None)
@given(
    runs=st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=30), min_size=1, max_size=4),
    order=st.integers(0, 4),
)
def test_counts_are_those_of_plain_slicing(runs, order):
    counts = MarkovCounts(order)
    for run in runs:
        counts.add(np.array(run, dtype=np.uint8))
    counts.finish()
    wanted = _counted(runs, order)
    for k in range(order + 1):
        table = counts.table(k)
        assert table.shape == (4**k, 4)
        assert table.sum() == sum(n for (context, _), n in wanted.items() if len(context) == k)
        for (context, base), n in wanted.items():
            if len(context) == k:
                assert table[_digits(context), base] == n


def _corpus(sequence, *, train, valid, test=()):
    """One contig with the given parts, [start, end) each."""
    genome = MemoryGenome("g", {"c": sequence})
    parts = {
        name: tuple(SplitRegion("g", "c", *where) for where in places)
        for name, places in {"train": train, "valid": valid, "test": test}.items()
    }
    return build_corpus([("S", [genome], None)], Splits(parts, {"g": genome.fingerprint}))


def test_a_long_region_read_in_runs_counts_as_one(monkeypatch):
    sequence = random_dna(5000).copy()
    sequence[2000:2100] = ord("N")
    corpus = _corpus(sequence, train=[(7, 1500), (1600, 4000)], valid=[(4000, 5000)])
    whole = fit_markov(corpus, order=5)
    monkeypatch.setattr("dnamamba.markov._COUNTED_AT_ONCE", 97)
    runs = fit_markov(corpus, order=5)
    tokens = DNA.encode(sequence)
    regions = [tokens[7:1500], tokens[1600:4000]]
    wanted = _counted([list(x) for x in (*regions, *map(DNA.reverse_complement, regions))], 5)
    for k in range(6):
        assert (whole.counts.table(k) == runs.counts.table(k)).all()
        assert whole.counts.table(k).sum() == sum(n for (context, _), n in wanted.items() if len(context) == k)
    assert all(whole.counts.table(5)[_digits(c), base] == n for (c, base), n in wanted.items() if len(c) == 5)


def _probability(model, context, base):
    """p_k of the docstring's formula, worked by recursion."""
    k = len(context)
    lower = 0.25 if k == 0 else _probability(model, context[1:], base)
    row = model.counts.table(k)[_digits(context)].astype(float)
    d, a = model.discount[k], model.strength[k]
    return (max(row[base] - d, 0) + (a + d * np.count_nonzero(row)) * lower) / (row.sum() + a)


def test_losses_are_the_formula_by_hand():
    sequence = random_dna(3000, letters=b"AAACGT").copy()
    sequence[2500] = ord("N")
    corpus = _corpus(sequence, train=[(0, 2000)], valid=[(2000, 2400)], test=[(2400, 3000)])
    model = fit_markov(corpus, order=3, both_strands=False)
    block = TargetBlock(0, "c", 2480, 2520)
    losses = model.losses_by_order(corpus, [block], 42)[:, 0]  # two bases upstream
    tokens = list(DNA.encode(sequence))
    for i, position in enumerate(range(2480, 2520)):
        for k in range(4):
            seen = tokens[2478:position] if position <= 2500 else tokens[2501:position]
            context = seen[max(0, len(seen) - k) :]
            if position == 2500:
                assert np.isnan(losses[k, i])
            else:
                assert losses[k, i] == pytest.approx(-np.log(_probability(model, context, tokens[position])), rel=1e-12)


@pytest.fixture(scope="module")
def repetitive():
    """200 kb in which 40-base words recur, so that order 8 and more pay."""
    words = [random_dna(40, seed=i) for i in range(30)]
    order = np.random.default_rng(1).integers(0, 30, 5000)
    genome = MemoryGenome("g", {"c": np.concatenate([words[i] for i in order])})
    return build_corpus([("S", [genome], None)], SplitConfig())


def test_probabilities_add_up_to_one(repetitive):
    model = fit_markov(repetitive, order=8)
    upstream = random_dna(8, seed=9)
    for letters in (upstream, repetitive.assemblies[0]["c", slice(100, 108)]):
        sums = np.zeros(9)
        for base in b"ACGT":
            found = model.counts.look_up(DNA.encode(np.append(letters, base).astype(np.uint8)), 8)
            genome = MemoryGenome("g", {"c": np.append(letters, base)})
            corpus = build_corpus(
                [("S", [genome], None)], Splits({"train": (), "valid": (), "test": ()}, {"g": genome.fingerprint})
            )
            sums += np.exp(-model.losses_by_order(corpus, [TargetBlock(0, "c", 8, 9)], 9)[:, 0, 0])
            assert found.shape == (3, 9, 1)
        assert sums == pytest.approx(np.ones(9), abs=1e-12)


def test_repeats_are_learned_and_the_winner_is_named(repetitive):
    model = fit_markov(repetitive)
    blocks = evaluation_targets(repetitive, [64, 1024], DNA, part="test", blocks=50)
    losses = np.nanmean(model.losses_by_order(repetitive, blocks, 64), axis=(1, 2))
    assert (
        losses[model.order] < 0.5 < 1.2 < losses[0]
    )  # 30 words of 40 bases: ln(30) / 40 nats a base and the rest is known
    assert model.order == int(np.argmin(model.validation))
    assert model.order >= 6
    best = model.losses(repetitive, blocks, 64)
    assert best.shape == (len(blocks), 32)
    assert np.nanmean(best) == pytest.approx(losses[model.order])


def test_random_dna_costs_two_bits():
    corpus = build_corpus([("S", [random_genome("g", {"c": 400_000})], None)], SplitConfig())
    model = fit_markov(corpus)
    assert model.validation == pytest.approx([np.log(4)] * 13, abs=0.003)


def test_the_other_strand_helps_when_it_is_trained_on():
    sequence = random_dna(20_000)
    mirrored = np.concatenate([sequence, DNA.decode(DNA.reverse_complement(DNA.encode(sequence)))])
    corpus = _corpus(mirrored, train=[(0, 20_000)], valid=[(20_000, 30_000)], test=[(30_000, 40_000)])
    both, one = (fit_markov(corpus, order=10, both_strands=strands) for strands in (True, False))
    assert min(both.validation) < 0.3
    assert min(one.validation) > 1.35


def test_held_out_bases_are_not_counted():
    sequence = np.concatenate([np.full(1000, ord("A")), random_dna(2000)]).astype(np.uint8)
    corpus = _corpus(sequence, train=[(0, 1000)], valid=[(1000, 2000)], test=[(2000, 3000)])
    model = fit_markov(corpus, order=2, both_strands=False)
    assert model.counts.table(0).tolist() == [[1000, 0, 0, 0]]
    assert model.counts.table(2).sum() == 998


def test_the_window_bounds_what_is_seen(repetitive):
    model = fit_markov(repetitive, order=6)
    blocks = evaluation_targets(repetitive, [16, 64], DNA, part="test", blocks=20, block_size=16)
    short, long = (model.losses_by_order(repetitive, blocks, context) for context in (16, 64))
    assert short[:, :, 0] == pytest.approx(np.broadcast_to(long[0, :, 0], (7, 20)))  # nothing upstream: order 0
    assert np.allclose(short[:, :, 6:], long[:, :, 6:], rtol=1e-12)
    assert np.nanmean(short[6, :, :6]) > np.nanmean(long[6, :, :6])


def test_tiny_contigs_can_be_fitted_and_the_choice_is_seeded():
    corpus = build_corpus([("S", [random_genome("g", {f"c{i}": 4 for i in range(3000)})], None)], SplitConfig())
    models = [fit_markov(corpus, order=5, seed=seed) for seed in (0, 0)]
    assert models[0].validation == models[1].validation
    assert isinstance(models[0], MarkovModel)
    assert models[0].counts.table(4).sum() == 0


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"train": [(0, 100)], "valid": []}, "validation part, which is empty"),
        ({"train": [(100, 200)], "valid": [(0, 100)]}, "nothing to count: the training part holds no A, C, G or T"),
        ({"train": [(0, 100)], "valid": [(100, 200)]}, "nothing to be fitted on: the validation part holds no"),
    ],
)
def test_what_cannot_be_fitted_is_said(parts, message):
    sequence = random_dna(200).copy()
    sequence[100:] = ord("N")
    with pytest.raises(InputError, match=message):
        fit_markov(_corpus(sequence, **parts), order=2)


def test_orders_out_of_range():
    with pytest.raises(InputError, match="Markov order: want 0 to 12, got 13"):
        MarkovCounts(13)
