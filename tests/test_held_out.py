"""The same targets at every context, all of them held out, none mostly N."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from memory_genomes import MemoryGenome, random_dna, random_genome

from dnamamba.corpus import build_corpus
from dnamamba.data import IGNORED
from dnamamba.errors import InputError
from dnamamba.held_out import evaluation_batches, evaluation_targets, read_block, served_contexts
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import SplitConfig

CONTEXTS = (64, 256, 2048)


@pytest.fixture(scope="module")
def corpus():
    return build_corpus([("S", [random_genome("g", {"c": 100_000, "d": 60_000})], None)], SplitConfig(margin=256))


@pytest.mark.parametrize("part", ["valid", "test"])
def test_windows_of_the_longest_context_lie_in_the_part(corpus, part):
    blocks = evaluation_targets(corpus, CONTEXTS, DNA, part=part, blocks=100)
    regions = {r.contig: r for r in corpus.splits.parts[part]}
    assert len(blocks) == 100
    for block in blocks:
        assert block.end - block.start == 32
        assert regions[block.contig].start <= block.end - 2048 < block.end <= regions[block.contig].end
    ordered = sorted((b.contig, b.start, b.end) for b in blocks)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(ordered))


def test_targets_are_the_same_bases_at_every_context(corpus):
    blocks = evaluation_targets(corpus, CONTEXTS, DNA, blocks=10)
    scored = {}
    for context in CONTEXTS:
        batches = list(evaluation_batches(corpus, blocks, context, DNA, batch_tokens=3 * 256))
        assert all(batch["tokens"].shape[1] == context for batch in batches)
        assert all((batch["tokens"][:, 0] == DNA.start).all() and batch["reset"] is None for batch in batches)
        targets = torch.cat([batch["targets"] for batch in batches])
        assert (targets[:, :-32] == IGNORED).all()
        scored[context] = targets[:, -32:]
        tokens = torch.cat([batch["tokens"] for batch in batches])
        assert torch.equal(tokens[:, -31:].long(), targets[:, -32:-1])  # inputs are the targets one place later
    assert torch.equal(scored[64], scored[2048])
    assert torch.equal(scored[256], scored[2048])
    sequence = corpus.assemblies[0]["c", slice(0, 100_000)]
    for block, row in zip(blocks, scored[64], strict=True):
        if block.contig == "c":
            assert row.tolist() == DNA.encode(sequence[block.start : block.end]).tolist()


def test_the_choice_is_seeded_and_spread_by_length(corpus):
    first, again, other = (evaluation_targets(corpus, CONTEXTS, DNA, blocks=100, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert len(set(first) & set(other)) < 60
    share = np.mean([block.contig == "c" for block in first])
    assert 0.45 < share < 0.8  # 100 kb beside 60 kb


def test_fewer_blocks_when_there_are_no_more(corpus):
    blocks = evaluation_targets(corpus, (64, 4096), DNA, blocks=10**6, block_size=64)
    valid = corpus.splits.parts["valid"]
    assert len(blocks) == sum((r.end - r.start - 4096) // 64 + 1 for r in valid)


def test_windows_that_are_mostly_n_are_passed_over():
    sequence = random_dna(100_000).copy()
    sequence[80_000:87_000] = ord("N")
    sequence[89_000:89_040] = ord("n")
    corpus = build_corpus([("S", [MemoryGenome("g", {"c": sequence})], None)], SplitConfig(margin=0))
    blocks = evaluation_targets(corpus, (64, 2048), DNA, blocks=10**6, block_size=32)
    for block in blocks:
        assert (read_block(corpus, block, 2048, DNA) == DNA.n).mean() <= 0.5
        assert (read_block(corpus, block, 32, DNA) == DNA.n).mean() <= 0.5
    assert min(block.end for block in blocks) == 88_032


@pytest.mark.parametrize(
    "contexts, options, message",
    [
        (
            (64, 2**14),
            {},
            r"the valid part has no region as long as the context 16,384: the longest has 9,744 bases; "
            "contexts up to 8,192 can be evaluated",
        ),
        ((64, 256), {"block_size": 65}, "blocks of 65 targets: want 1 to 64, the shortest context"),
    ],
)
def test_what_cannot_be_scored_is_said(corpus, contexts, options, message):
    with pytest.raises(InputError, match=message):
        evaluation_targets(corpus, contexts, DNA, **options)


def test_contexts_that_a_part_cannot_serve_are_left_out_and_said(corpus):
    assert served_contexts(corpus, (256, 64), DNA) == ((256, 64), ())
    kept, notes = served_contexts(corpus, (2**15, 64, 2**14, 256), DNA)
    assert kept == (64, 256)
    assert [note.partition(":")[0] for note in notes] == [
        "context 32k is left out of the evaluation",
        "context 16k is left out of the evaluation",
    ]
    assert notes[0].endswith("the longest has 9,744 bases; contexts up to 8,192 can be evaluated")
    with pytest.raises(InputError, match="contexts: 16k cannot be evaluated: the valid part has no region"):
        served_contexts(corpus, (2**14, 2**15), DNA)


def test_a_context_whose_windows_are_n_is_left_out():
    sequence = random_dna(100_000).copy()
    sequence[80_000:] = ord("N")
    sequence[85_000:85_100] = sequence[95_000:95_100] = ord("A")
    corpus = build_corpus([("S", [MemoryGenome("g", {"c": sequence})], None)], SplitConfig(margin=0))
    kept, notes = served_contexts(corpus, (16, 1024), DNA)
    assert kept == (16,)
    assert notes[0].endswith("the valid part: every window of 1,024 bases is more than half N")


def test_a_part_of_n_alone_is_refused():
    sequence = random_dna(20_000).copy()
    sequence[15_000:] = ord("N")
    corpus = build_corpus([("S", [MemoryGenome("g", {"c": sequence})], None)], SplitConfig(margin=0))
    with pytest.raises(InputError, match="the valid part: every window of 256 bases is more than half N"):
        evaluation_targets(corpus, (64, 256), DNA)
