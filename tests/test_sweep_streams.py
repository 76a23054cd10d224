"""Targets and their streams: each base at each context as a window read by itself gives it, whatever the pieces."""

import numpy as np
import pytest
import torch
from memory_genomes import MemoryGenome, random_dna
from random_models import random_model

from dnamamba.corpus import build_corpus
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.sweep.streams import context_losses
from dnamamba.sweep.targets import BLOCK, choose_targets, parse_contexts


@pytest.fixture(scope="module")
def corpus():
    contig = random_dna(9000, seed=1).copy()
    contig[8500:8520] = ord("N")
    first = MemoryGenome("g", {"a": random_dna(4000), "b": random_dna(3000, seed=2), "c": contig})
    second = MemoryGenome("h", {"a": random_dna(4000, seed=3), "b": random_dna(3000, seed=4), "c": random_dna(7000)})
    config = SplitConfig(method="contig", valid=("b",), test=("c",))
    return build_corpus([("store", [first, second], None)], config)


CONTEXTS = (3, 64, 1024, None)


@pytest.mark.parametrize("batch_tokens", [10_000, 300])
def test_every_target_has_the_loss_of_its_own_window(batch_tokens, corpus):
    model = random_model(d_model=16, n_layers=2).train()
    targets = choose_targets(corpus, CONTEXTS, DNA, targets=20 * BLOCK, seed=1)
    assert {block.assembly for block in targets.blocks} == {0, 1}
    seen = []
    for context in CONTEXTS:
        read = []
        losses = context_losses(model, corpus, targets, context, batch_tokens=batch_tokens, tick=read.append)
        assert losses.shape == (len(targets.blocks), BLOCK)
        assert sum(read) == targets.bases_read(context)
        for row in range(0, len(targets.blocks), 7):
            block = targets.blocks[row]
            for column in (0, 1, 100, BLOCK - 1):
                at = block.start + column
                start = 0 if context is None else (at - context) // max(1, context // 4) * max(1, context // 4)
                upstream = at - start
                assert context is None or context <= upstream < max(1.25 * context, context + 1)
                bases = torch.from_numpy(
                    DNA.encode(corpus.assemblies[block.assembly]["c", slice(start, at + 1)])
                ).long()
                tokens = torch.cat([torch.tensor([DNA.start]), bases[:-1]])[None]
                with torch.no_grad():
                    wanted = -model.eval()(tokens)[0][0, -1, :4].double().log_softmax(-1)[bases[-1].clamp_max(3)]
                model.train()
                if bases[-1] < 4:
                    assert losses[row, column] == pytest.approx(float(wanted), abs=2e-5)
                else:
                    assert np.isnan(losses[row, column])
        seen.append(losses)
    assert model.training
    assert not np.allclose(seen[0], seen[2], equal_nan=True)
    assert all((np.isnan(one) == np.isnan(seen[0])).all() for one in seen)  # the same bases count everywhere


def test_memory_follows_the_batch_and_not_the_context(corpus, monkeypatch):
    model = random_model(d_model=16, n_layers=1)
    targets = choose_targets(corpus, (64, 4096, None), DNA, targets=16 * BLOCK)
    sizes, forward = [], model.backbone.forward

    def spy(tokens, state=None, reset=None):
        sizes.append(tokens.numel())
        return forward(tokens, state, reset)

    monkeypatch.setattr(model.backbone, "forward", spy)
    for context in targets.contexts:
        context_losses(model, corpus, targets, context, batch_tokens=512)
    assert max(sizes) == 512


def test_a_region_costs_five_times_its_bases_at_most(corpus):
    targets = choose_targets(corpus, (64, 512), DNA, targets=10**6)
    bases = corpus.splits.bases("test")
    for context in (64, 512):
        assert targets.bases_read(context) <= 5.01 * bases
    assert targets.bases_read(None) <= bases


def test_targets_are_drawn_by_seed_and_lie_apart(corpus):
    first, again, other = (choose_targets(corpus, (64,), DNA, targets=20 * BLOCK, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    for a, b in zip(first.blocks[:-1], first.blocks[1:], strict=True):
        assert (a.assembly, a.contig) != (b.assembly, b.contig) or a.end <= b.start
    assert all(block.start - origin >= 64 for block, origin in zip(first.blocks, first.origins, strict=True))
    one = choose_targets(corpus, (64,), DNA, targets=20 * BLOCK, assemblies=["h"])
    assert {block.assembly for block in one.blocks} == {1}


def test_what_the_data_cannot_serve_is_left_out_and_said(corpus):
    targets = choose_targets(corpus, (64, 4096, 2**13, 2**20, None), DNA)
    assert targets.contexts == (64, 4096, None)
    assert len(targets.left_out) == 2
    assert "context 1M is left out: the test part has 0 bases with so much upstream" in targets.left_out[1]
    with pytest.raises(InputError, match=r"context 64k is left out.*its longest piece: 9,000 bases"):
        choose_targets(corpus, (2**16,), DNA)
    with pytest.raises(InputError, match="--assembly: the stores hold no 'hg38'; they hold g, h"):
        choose_targets(corpus, (64,), DNA, assemblies=["hg38"])


def test_a_context_that_only_n_have_upstream_is_left_out(corpus):
    """3,000 bases, 60,000 N, 9,000 bases: 16,384 upstream of all but the last 700 is mostly N."""
    contig = np.concatenate([random_dna(3000), np.full(60_000, ord("N"), np.uint8), random_dna(9000, seed=1)])
    genome = MemoryGenome("g", {"a": random_dna(4000), "b": random_dna(3000, seed=2), "c": contig})
    gappy = build_corpus([("store", [genome], None)], SplitConfig(method="contig", valid=("b",), test=("c",)))
    targets = choose_targets(gappy, (64, 2**14, None), DNA, targets=20 * BLOCK)
    assert targets.contexts == (64, None)
    assert targets.left_out == (
        "context 16k is left out: the test part has 3 blocks of 256 bases with so much upstream that are not mostly N, "
        "16 are wanted",
    )


def test_contexts_as_the_line_has_them():
    assert parse_contexts("16k,1k,full,1k") == (1024, 16384, None)
    assert parse_contexts("")[0] == 64
    assert parse_contexts("")[-2:] == (2**20, None)
    for text, message in (
        ("0", "want 1 base or more, got 0"),
        ("long", "got 'long'"),
        ("1k,-4", "got '-4'"),
        (",", "want sizes"),
    ):
        with pytest.raises(InputError, match=message):
            parse_contexts(text)
