"""From genomes to batches: shifted inputs, resets, resumption by number, ranks, workers."""

import pickle

import numpy as np
import pytest
import torch
from memory_genomes import MemoryGenome, random_dna, random_genome

from dnamamba.corpus import build_corpus, open_corpus, parse_store
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.data import IGNORED, TrainingData, make_batch
from dnamamba.errors import InputError
from dnamamba.loader import training_loader
from dnamamba.pipelines.alphabet import BYTES, DNA
from dnamamba.pipelines.ingest import ingest, ingest_arrays
from dnamamba.pipelines.splits import SplitConfig, plan_splits
from dnamamba.pipelines.store import open_store

CURRICULUM = CurriculumConfig(
    stages=(Stage(context=64, share=0.5), Stage(context=256, share=0.3), Stage(context=1024, share=0.2)),
    tokens_per_step=2048,
    total_tokens=2048 * 20,
)


@pytest.fixture(scope="module")
def corpus():
    small = random_genome("small", {f"s{i}": 60 + i for i in range(80)}, seed=5)
    genome = random_genome("large", {"chr1": 30_000, "chr2": 9_000})
    return build_corpus([("A", [genome], 2.0), ("B", [small], 1.0)], SplitConfig(margin=64))


def _data(corpus, **options):
    return TrainingData(corpus, CURRICULUM, DNA, **{"seed": 3, "micro_batch": {64: 7, 256: 4, 1024: 1}, **options})


def _same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.step, a.stage, a.micro, a.micros) == (b.step, b.stage, b.micro, b.micros)
        assert torch.equal(a.samples, b.samples)
        assert torch.equal(a.bases, b.bases)
        assert (a.reset is None) == (b.reset is None)
        assert a.reset is None or torch.equal(a.reset, b.reset)


def test_inputs_are_the_bases_one_place_later():
    bases = torch.from_numpy(DNA.encode(np.frombuffer(b"ACGNTRAC", np.uint8))).reshape(2, 4)
    batch = make_batch(bases, None, DNA)
    assert batch["tokens"].tolist() == [[15, 0, 1, 2], [15, 3, 5, 0]]
    assert batch["targets"].tolist() == [[0, 1, 2, IGNORED], [3, IGNORED, 0, 1]]
    assert batch["tokens"].dtype == torch.uint8
    assert batch["targets"].dtype == torch.int64
    assert batch["reset"] is None


def test_a_start_token_stands_at_each_piece():
    bases = torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8)
    batch = make_batch(bases, torch.tensor([[True, False, True, False]]), DNA)
    assert batch["tokens"].tolist() == [[15, 0, 15, 2]]
    assert batch["targets"].tolist() == [[0, 1, 2, 3]]


def test_every_byte_is_a_target_of_the_bytes_alphabet():
    bases = torch.tensor([[0, 200, 255]], dtype=torch.uint8)
    assert make_batch(bases, None, BYTES)["targets"].tolist() == [[0, 200, 255]]


def test_steps_have_all_their_tokens_and_stages_begin_on_time(corpus):
    data = _data(corpus)
    tokens, contexts = {}, {}
    for one in training_loader(data):
        tokens[one.step] = tokens.get(one.step, 0) + one.bases.numel()
        contexts[one.step] = one.bases.shape[1]
        assert one.bases.shape[0] <= data.micro_batch[one.context]
    assert list(tokens.values()) == [2048] * 20
    assert list(contexts.values()) == [64] * 10 + [256] * 6 + [1024] * 4


def test_samples_of_a_stage_are_numbered_from_its_first_step(corpus):
    seen = {}
    for one in training_loader(_data(corpus)):
        seen.setdefault(one.stage, []).extend(one.samples.tolist())
    assert {stage: numbers == list(range(len(numbers))) for stage, numbers in seen.items()} == {
        0: True,
        1: True,
        2: True,
    }


def test_no_base_comes_from_a_held_out_part(corpus):
    data = _data(corpus)
    held = {
        (r.assembly, r.contig): (r.start, r.end) for r in corpus.splits.parts["valid"] + corpus.splits.parts["test"]
    }
    train = {(r.assembly, r.contig): r for r in corpus.splits.parts["train"]}
    seen = set()
    for order in data.orders:
        for window in order.windows(np.arange(2000)):
            for piece in window.pieces:
                where = corpus.assemblies[piece.assembly].name, piece.contig
                seen.add(where)
                assert train[where].start <= piece.start < piece.end <= train[where].end
    assert seen == set(train)
    assert held


def test_reset_marks_each_piece_and_nothing_else(corpus):
    data = _data(corpus)
    samples = np.arange(200)
    bases, reset, _ = data.read(0, samples)
    for row, mark, window in zip(bases, reset, data.orders[0].windows(samples), strict=True):
        lengths = [piece.end - piece.start for piece in window.pieces]
        lengths = lengths[::-1] if window.reverse else lengths
        assert torch.nonzero(mark).ravel().tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
        letters = b"".join(bytes(corpus.assemblies[p.assembly][p.contig, p.start : p.end]) for p in window.pieces)
        tokens = DNA.encode(np.frombuffer(letters, np.uint8))
        tokens = DNA.reverse_complement(tokens) if window.reverse else tokens
        assert row.tolist() == tokens.tolist()


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 16, 19, 20])
def test_resumes_at_any_step_by_its_number(corpus, start):
    whole = [one for one in training_loader(_data(corpus)) if one.step >= start]
    _same(list(training_loader(_data(corpus), start_step=start)), whole)


def test_two_workers_deliver_what_none_does(corpus):
    _same(list(training_loader(_data(corpus), workers=2)), list(training_loader(_data(corpus))))


@pytest.mark.parametrize("ranks", [2, 4])
def test_all_ranks_together_read_what_one_reads(corpus, ranks):
    curriculum = CurriculumConfig(
        stages=(Stage(context=64, share=0.5), Stage(context=256, share=0.5)),
        tokens_per_step=2048,
        total_tokens=2048 * 6,
    )
    one = TrainingData(corpus, curriculum, DNA, seed=3)
    parts = [TrainingData(corpus, curriculum, DNA, seed=3, rank=rank, world_size=ranks) for rank in range(ranks)]
    for step in range(6):
        whole, shards = one[step, 0], [part[step, 0] for part in parts]
        order = torch.argsort(torch.cat([shard.samples for shard in shards]))
        assert torch.equal(torch.cat([shard.samples for shard in shards])[order], whole.samples)
        assert torch.equal(torch.cat([shard.bases for shard in shards])[order], whole.bases)
        assert all((shard.samples % ranks == rank).all() for rank, shard in enumerate(shards))


def test_micro_batch_size_does_not_change_the_data(corpus):
    for step in (0, 12):
        whole = _data(corpus, micro_batch=None)[step, 0]
        data = _data(corpus)
        pieces = [data[step, micro].bases for micro in range(data.micros(step))]
        assert torch.equal(torch.cat(pieces), whole.bases)


def test_seeds_and_the_strand_switch_matter(corpus):
    one, other, forward = (
        _data(corpus)[0, 0],
        _data(corpus, seed=4)[0, 0],
        _data(corpus, reverse_complement=False)[0, 0],
    )
    assert not torch.equal(one.bases, other.bases)
    assert not torch.equal(one.bases, forward.bases)


def test_bytes_have_no_other_strand():
    text = np.frombuffer(b"never read backwards. " * 200, np.uint8)
    corpus = build_corpus([("S", [MemoryGenome("text", {"c": text})], None)], SplitConfig())
    curriculum = CurriculumConfig(stages=(Stage(context=128, share=1.0),), tokens_per_step=1280, total_tokens=2560)
    bases = TrainingData(corpus, curriculum, BYTES, seed=0)[0, 0].bases
    assert all(b"never read" in bytes(row.numpy()) for row in bases)


def test_the_layout_says_epochs_and_packing(corpus):
    rows = _data(corpus).layout()
    assert [(row.context, row.source) for row in rows] == [(c, s) for c in (64, 256, 1024) for s in "AB"]
    large, small = rows[0], rows[5]
    assert large.bases == corpus.splits.bases("train", "large")
    assert large.epochs == pytest.approx(10 * 2048 * 2 / 3 / large.bases)
    assert large.packed < 0.01
    assert small.packed == 1.0


def test_the_data_set_is_picklable(corpus):
    data = pickle.loads(pickle.dumps(_data(corpus)))
    _same([data[15, 0]], [_data(corpus)[15, 0]])


def test_no_window_is_more_than_half_n():
    sequence = random_dna(40_000).copy()
    for start in range(0, 40_000, 500):  # gaps that no block of 1,024 is half full of, but a window of 256 may be
        sequence[start : start + 180] = ord("N")
    genome = MemoryGenome("g", {"c": sequence})
    corpus = build_corpus([("S", [genome], None)], SplitConfig())
    curriculum = CurriculumConfig(stages=(Stage(context=256, share=1.0),), tokens_per_step=2560, total_tokens=256_000)
    data = TrainingData(corpus, curriculum, DNA, seed=0)
    first = data.orders[0].windows(np.arange(1000))
    assert any(np.mean(genome["c", slice(w.pieces[0].start, w.pieces[0].end)] == ord("N")) > 0.5 for w in first)
    for one in training_loader(data):
        assert ((one.bases == DNA.n).float().mean(dim=1) <= 0.5).all()


def test_a_stand_in_brings_its_own_resets():
    contigs = {f"s{i}": random_dna(100 + i, seed=i) for i in range(60)}
    contigs |= {f"n{i}": np.full(400, ord("N"), np.uint8) for i in range(20)}
    genome = MemoryGenome("g", contigs)
    genome.n_count = lambda contig: np.zeros(1, np.uint16)  # as if the gaps were too short to be cut out
    corpus = build_corpus([("S", [genome], None)], SplitConfig())
    curriculum = CurriculumConfig(stages=(Stage(context=256, share=1.0),), tokens_per_step=2560, total_tokens=25600)
    data, samples = TrainingData(corpus, curriculum, DNA, seed=0), np.arange(40)
    bases, reset, _ = data.read(0, samples)
    redrawn = 0
    for i in samples.tolist():
        for attempt in range(64):
            window = data.orders[0].windows(samples[i : i + 1], attempt)[0]
            if 2 * sum(p.end - p.start for p in window.pieces if p.contig.startswith("n")) <= 256:
                break
        redrawn += attempt > 0
        lengths = [p.end - p.start for p in window.pieces][:: -1 if window.reverse else 1]
        assert torch.nonzero(reset[i]).ravel().tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
        assert int((bases[i] == DNA.n).sum()) <= 128
    assert redrawn > 5


def test_a_source_of_n_alone_is_refused():
    genome = MemoryGenome("g", {"c": np.tile(np.frombuffer(b"NNNNNNNNNNACGTACGT", np.uint8), 3000)[:50_000]})
    genome.n_count = lambda contig: np.zeros(49, np.uint16)  # as if the gaps were too scattered to be cut out
    corpus = build_corpus([("S", [genome], None)], SplitConfig())
    curriculum = CurriculumConfig(stages=(Stage(context=256, share=1.0),), tokens_per_step=256, total_tokens=2560)
    with pytest.raises(
        InputError, match=r"g: 64 windows of 256 bases in a row are more than half N \(one of them at c:"
    ):
        TrainingData(corpus, curriculum, DNA, seed=0)[0, 0]


@pytest.mark.parametrize("start_method, workers", [("fork", 2), ("spawn", 1)])
def test_a_store_on_disk_gives_what_memory_gives(tmp_path, start_method, workers):
    genome = random_genome("g", {"chr1": 30_000, "chr2": 9_000, **{f"s{i}": 50 for i in range(40)}})
    ingest_arrays(((name, "", bases) for name, bases in genome.contigs.items()), tmp_path / "s.zarr", assembly="g")
    on_disk = _data(open_corpus([f"{tmp_path}/s.zarr:2"], SplitConfig()))
    in_memory = _data(build_corpus([("S", [genome], None)], SplitConfig()))
    wanted = list(training_loader(in_memory))
    _same(list(training_loader(on_disk)), wanted)
    loader = training_loader(on_disk, start_step=15, workers=workers)
    loader.multiprocessing_context = start_method
    _same(list(loader), [one for one in wanted if one.step >= 15])


def test_real_orthologues(real_data, tmp_path):
    """One locus of human and chimpanzee under two names: told so, the split holds the same stretch out in both."""
    store = tmp_path / "apes.zarr"
    ingest(real_data / "nuclear" / "human.ENm001.hg16.fa.gz", store, assembly="human", names="full")
    chimp = real_data / "nuclear" / "chimp.ENm001.panTro1.fa.gz"
    ingest(chimp, store, assembly="chimp", names="full", exclude=["*chr6_random*"])
    ingest(real_data / "twobit" / "gmod" / "out2.2bit", store, assembly="tiny")
    opened = open_store(store)
    locus = {name: dict.fromkeys(opened[name].sizes, "ENm001") for name in ("human", "chimp")}
    leaky = SplitConfig(method="contig", valid=("human:*",), homologs=locus)
    with pytest.raises(InputError, match="the same sequence in both"):
        plan_splits([opened["human"], opened["chimp"]], leaky)
    corpus = open_corpus([str(store)], SplitConfig(homologs=locus))
    curriculum = CurriculumConfig(
        stages=(Stage(context=2**10, share=0.5), Stage(context=2**20, share=0.5)),
        tokens_per_step=2**20,
        total_tokens=2**22,
    )
    data = TrainingData(corpus, curriculum, DNA, seed=0)
    _same(list(training_loader(data, workers=2)), list(training_loader(data)))
    held = {r.assembly: r.end - r.start for r in corpus.splits.parts["test"] if r.assembly != "tiny"}
    assert held == {"human": 187_743 - 2**14, "chimp": 188_813 - 2**14}
    assert {corpus.assemblies[p.assembly].name for w in data.orders[0].windows(np.arange(3000)) for p in w.pieces} == {
        "human",
        "chimp",
        "tiny",
    }


def test_what_cannot_be_trained_is_said(corpus):
    with pytest.raises(InputError, match="2,048 is 2 windows of 1,024 bases, which 4 processes cannot share evenly"):
        _data(corpus, world_size=4)
    with pytest.raises(InputError, match="micro-batch of context 256: want 1 window or more, got 0"):
        _data(corpus, micro_batch={64: 1, 256: 0, 1024: 1})


@pytest.mark.parametrize(
    "text, expected",
    [
        ("apes.zarr", ("apes.zarr", None)),
        ("apes.zarr:2.5", ("apes.zarr", 2.5)),
        ("s3://bucket/apes.zarr", ("s3://bucket/apes.zarr", None)),
        ("s3://bucket/apes.zarr:3", ("s3://bucket/apes.zarr", 3.0)),
        ("http://host:8080/apes", ("http://host:8080/apes", None)),
        ("odd:name", ("odd:name", None)),
    ],
)
def test_parse_store(text, expected):
    assert parse_store(text) == expected


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_weights_must_be_positive(weight):
    with pytest.raises(InputError, match=f"weight must be above 0, got {weight}"):
        parse_store(f"apes.zarr:{weight}")


def test_stores_get_their_weight_and_assemblies_their_size():
    genomes = [random_genome(name, {name: size}) for name, size in (("a", 40_000), ("b", 10_000), ("c", 20_000))]
    for weights, shares in (((1.0, 4.0), (0.16, 0.04, 0.8)), ((None, None), (4 / 7, 1 / 7, 2 / 7))):
        corpus = build_corpus([("AB", genomes[:2], weights[0]), ("C", genomes[2:], weights[1])], SplitConfig())
        order = TrainingData(corpus, CURRICULUM, DNA, seed=0).orders[0]
        bases = np.zeros(3)
        for window in order.windows(np.arange(10_000)):
            for piece in window.pieces:
                bases[piece.assembly] += piece.end - piece.start
        assert bases / bases.sum() == pytest.approx(shares, abs=0.01)


def test_weights_are_for_all_stores_or_none():
    one, other = random_genome("one", {"c": 9000}), random_genome("other", {"c": 30_000})
    with pytest.raises(InputError, match="B: give every store a weight"):
        build_corpus([("A", [one], 1.0), ("B", [other], None)], SplitConfig(valid=(), method="fraction"))
    by_size = build_corpus(
        [("A", [one], None), ("B", [other], None)],
        SplitConfig(homologs={"one": {"c": "x"}, "other": {"c": "y"}}),
    )
    assert [group.assemblies for group in by_size.groups] == [("one", "other")]
    named = build_corpus(
        [("A", [one], None), ("B", [other], None)],
        SplitConfig(homologs={"one": {"c": "x"}, "other": {"c": "y"}}),
        assembly_weights={"other": 1.0, "one": 4.0},
    )
    assert [(group.name, group.weight) for group in named.groups] == [("other", 1.0), ("one", 4.0)]
    with pytest.raises(InputError, match="want one for each of one, other"):
        build_corpus([("A", [one, other], None)], named.splits, assembly_weights={"one": 1.0})
    with pytest.raises(InputError, match="A: the store holds no assembly"):
        build_corpus([("A", [], None)], SplitConfig())
