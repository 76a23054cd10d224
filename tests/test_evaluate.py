"""Evaluation: the loss of every target at every context over the four letters; intervals; classes of bases."""

import json
import math

import numpy as np
import pytest
import torch
from memory_genomes import MemoryGenome, random_dna
from random_models import random_model

from dnamamba.corpus import build_corpus
from dnamamba.errors import InputError
from dnamamba.evaluate import (
    EvaluationConfig,
    choose_blocks,
    compare,
    evaluate_command,
    soft_masked,
    summarise,
    table,
    target_losses,
)
from dnamamba.model_directory import save
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.splits import SplitConfig


@pytest.fixture
def corpus():
    contig = random_dna(6000, seed=1).copy()
    contig[5500:5520] = ord("N")
    contig[5000:5400] |= 0x20  # lower case
    genome = MemoryGenome("g", {"a": random_dna(4000), "b": random_dna(3000, seed=2), "c": contig})
    config = SplitConfig(method="contig", valid=("b",), test=("c",))
    return build_corpus([("store", [genome], None)], config)


@pytest.mark.parametrize("batch_tokens", [300, 100], ids=["whole", "long windows in pieces"])
def test_every_target_has_the_loss_that_the_window_alone_gives(batch_tokens, corpus):
    model = random_model(d_model=16, n_layers=2).eval()
    blocks = choose_blocks(corpus, (64, 256), model, "test", 1000, seed=0)
    for context in (64, 256):
        losses = target_losses(model, corpus, blocks, context, batch_tokens=batch_tokens)
        assert losses.shape == (len(blocks), 32)
        for row, block in zip(losses, blocks, strict=True):
            sequence = corpus.assemblies[0]["c", slice(block.end - context, block.end)]
            bases = torch.from_numpy(DNA.encode(sequence)).long()
            tokens = torch.cat([torch.tensor([DNA.start]), bases[:-1]])[None]
            logits = model(tokens)[0][0, -32:, :4].double()
            wanted = -logits.log_softmax(-1).gather(1, bases[-32:, None].clamp_max(3))[:, 0]
            counted = (bases[-32:] < 4).numpy()
            np.testing.assert_allclose(row[counted], wanted.detach().numpy()[counted], atol=1e-5)
            assert np.isnan(row[~counted]).all()


def test_the_targets_are_the_same_at_every_context_and_seed(corpus):
    model = random_model(d_model=16, n_layers=1)
    first = choose_blocks(corpus, (64, 256), model, "test", 1000, seed=0)
    assert first == choose_blocks(corpus, (256, 64), model, "test", 1000, seed=0)
    assert first != choose_blocks(corpus, (64, 256), model, "test", 500, seed=1)
    assert {block.contig for block in first} == {"c"}


def test_soft_masked_tells_lower_case(corpus):
    blocks = choose_blocks(corpus, (64,), random_model(d_model=16, n_layers=1), "test", 10_000, seed=0)
    masked = soft_masked(corpus, blocks)
    for row, block in zip(masked, blocks, strict=True):
        np.testing.assert_array_equal(row, [5000 <= at < 5400 for at in range(block.start, block.end)])


def test_bases_that_are_n_make_no_class_of_their_own(tmp_path):
    """A soft-masked genome whose only upper case is its gaps."""
    letters = np.char.lower(random_dna(20_000).view("S1")).view(np.uint8).copy()
    letters[::50] = ord("N")
    (tmp_path / "g.fa").write_bytes(b">c\n" + letters.tobytes() + b"\n")
    store = tmp_path / "g.zarr"
    ingest(tmp_path / "g.fa", store, assembly="g")
    model = save(random_model(d_model=16, n_layers=1), tmp_path / "model")
    text = evaluate_command(model, [str(store)], "all", "64", "4k", 0, False, True)
    assert set(json.loads(text)["contexts"]["64"]) == {"all"}
    with pytest.raises(InputError, match="assembly 'g' is there twice; its bases would count twice"):
        evaluate_command(model, [str(store), str(store)], "all", "64", "4k", 0, False, True)


def test_a_summary_worked_by_hand():
    losses = np.array([[math.log(2), math.nan], [math.log(4), math.log(4)]])
    score = summarise(losses)
    assert score.bits == pytest.approx(5 / 3)
    assert score.perplexity == pytest.approx(2 ** (5 / 3))
    assert score.targets == 3
    assert 2 <= score.low <= score.perplexity <= score.high <= 4


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        losses = generator.normal(1.3, 0.1, (100, 1)) + generator.normal(0, 0.3, (100, 8))
        score = summarise(losses, seed=trial)
        hits += score.low <= math.exp(1.3) <= score.high
    assert 175 <= hits <= 199


def test_a_paired_difference_is_sharper_than_either_mean():
    generator = np.random.default_rng(0)
    theirs = generator.normal(1.3, 0.5, (50, 1)) + generator.normal(0, 0.01, (50, 8))
    ours = theirs - 0.02 * math.log(2)
    ours[0, 0] = math.nan
    difference = compare(ours, theirs)
    assert difference.bits == pytest.approx(-0.02)
    assert difference.low <= difference.bits <= difference.high < 0


def test_nothing_to_score_is_said():
    with pytest.raises(InputError, match="no target base to score"):
        summarise(np.full((2, 3), math.nan))


def test_the_table_has_a_line_a_context():
    score = summarise(np.full((2, 3), math.log(3.0)))
    text = table({1024: {"model": score}, 2**20: {"model": score}})
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["1k", "1M"]
    assert "3.0000 (3.0000-3.0000) 1.5850" in text
    assert "6 target bases" in text


@pytest.mark.parametrize("bad", [{"contexts": (1,)}, {"targets": 0}, {"points": 0}])
def test_settings_out_of_range_are_named(bad):
    with pytest.raises(InputError, match=f"evaluation.{next(iter(bad))}: want"):
        EvaluationConfig(**bad)
