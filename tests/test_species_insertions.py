"""Insertions between genomes, found without an alignment; and training windows laid over them."""

from dataclasses import replace

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_dna

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species import insertions as module
from dnamamba.species.finetune_config import FinetuneConfig, Stage
from dnamamba.species.insertions import find_insertions
from dnamamba.species.region import Region
from dnamamba.species.training_windows import TrainingWindows

PLACES = ((3_000, 300), (9_000, 1_200), (15_000, 60))  # where in the ancestor, how many bases


def _substituted(sequence, share, seed):
    rng = np.random.default_rng(seed)
    out = sequence.copy()
    hit = rng.random(len(out)) < share
    out[hit] = rng.choice(np.frombuffer(b"ACGT", np.uint8), int(hit.sum()))
    return out


def _genomes(divergence=0.02, classes=3):
    """Class 0 has an insertion at each of PLACES; where in its contig they lie now. Offsets move all regions by 500."""
    ancestor = random_dna(20_000, 1)
    genomes, lies = [], []
    for label in range(classes):
        sequence, moved = _substituted(ancestor, divergence, 10 + label), 0
        if label == 0:
            for at, size in PLACES:
                sequence = np.insert(sequence, at + moved, random_dna(size, at))
                lies.append((500 + at + moved, 500 + at + moved + size))
                moved += size
        genomes.append(MemoryGenome(f"g{label}", {"c": np.concatenate([random_dna(500, 90 + label), sequence])}))
    regions = [Region(i, i, "c", 500, g.sizes["c"], "c/0") for i, g in enumerate(genomes)]
    return genomes, regions, lies


def test_insertions_are_found_where_they_lie():
    genomes, regions, lies = _genomes()
    found = find_insertions(regions, genomes, 3)
    assert [(len(one)) for one in found] == [3, 0, 0]
    for insertion, (start, end) in zip(found[0], lies, strict=True):
        assert insertion.region == regions[0]
        assert start - 150 < insertion.start <= start
        assert end <= insertion.end < end + 150


def test_of_two_classes_the_other_one_decides():
    genomes, regions, _ = _genomes(classes=2)
    found = find_insertions(regions, genomes, 2)
    assert [len(one) for one in found] == [3, 0]


def test_what_one_of_four_others_lacks_is_no_insertion():
    """A deletion: everybody else would have an insertion."""
    genomes, regions, _ = _genomes(classes=5)
    text = genomes[4].contigs["c"]
    genomes[4].contigs["c"] = np.concatenate([text[:6_000], text[6_500:]])
    regions[4] = regions[4]._replace(end=len(genomes[4].contigs["c"]))
    assert [len(one) for one in find_insertions(regions, genomes, 5)] == [3, 0, 0, 0, 0]


def _with(genomes, regions, label, at, bases):
    """Put bases into a genome."""
    genomes[label].contigs["c"] = np.insert(genomes[label].contigs["c"], at, bases)
    regions[label] = regions[label]._replace(end=len(genomes[label].contigs["c"]))


def test_what_two_of_five_share_both_have():
    genomes, regions, _ = _genomes(classes=5)
    for label in (1, 2):
        _with(genomes, regions, label, 13_000, random_dna(300, 7))
    assert [len(one) for one in find_insertions(regions, genomes, 5)] == [3, 1, 1, 0, 0]


def test_half_of_three_others_are_two():
    genomes, regions, _ = _genomes(classes=4)
    for label in (1, 2, 3):  # each lacks nothing that only one other lacks
        _with(genomes, regions, label, 13_000, random_dna(300, 7))
    assert [len(one) for one in find_insertions(regions, genomes, 4)] == [3, 0, 0, 0]


@pytest.mark.parametrize("size,found", [(20, 0), (60, 1), (19_000, 1), (21_000, 0)])
def test_neither_too_short_nor_too_long(size, found):
    genomes, regions, _ = _genomes()
    _with(genomes, regions, 1, 13_000, random_dna(size, 7))
    assert [len(one) for one in find_insertions(regions, genomes, 3)] == [3, found, 0]


def test_an_insertion_may_copy_what_stands_further_on():
    genomes, regions, _ = _genomes(divergence=0.0)
    text = genomes[1].contigs["c"]
    _with(genomes, regions, 1, 6_000, text[12_000:12_300].copy())
    (one,) = find_insertions(regions, genomes, 3)[1]
    assert 5_900 < one.start <= 6_000 < 6_300 <= one.end < 6_400


def test_a_word_that_its_neighbours_do_not_bear_out_is_none():
    """A piece that lies 150 bases nearer in one genome, in the midst of what the two do not share."""
    genomes, regions, _ = _genomes(divergence=0.0, classes=2)
    text = genomes[1].contigs["c"]
    piece = text[7_200:7_300].copy()
    text[7_000:7_400] = random_dna(400, 3)
    text[7_050:7_150] = piece
    assert [len(one) for one in find_insertions(regions, genomes, 2)] == [3, 0]


def test_a_repeat_that_moved_is_none():
    genomes, regions, _ = _genomes(classes=2)
    text = genomes[1].contigs["c"]
    piece = text[4_000:4_200].copy()  # unique in both genomes, in another place of the second
    text[4_000:4_200], text[12_000:12_200] = text[12_000:12_200].copy(), piece
    assert [len(one) for one in find_insertions(regions, genomes, 2)] == [3, 0]


def test_unlike_and_short_and_lonely_sequence_has_none():
    genomes = [MemoryGenome(f"g{i}", {"c": random_dna(5_000, i), "d": random_dna(10, i)}) for i in range(2)]
    regions = [Region(i, i, c, 0, n, c) for i in range(2) for c, n in (("c", 5_000), ("d", 10))]
    assert find_insertions([*regions, Region(0, 0, "c", 0, 5_000, "alone")], genomes, 2) == [[], []]


def test_pieces_of_a_region_make_no_difference(monkeypatch):
    genomes, regions, _ = _genomes()
    whole = module._landmarks(regions[0], genomes, 8)
    monkeypatch.setattr(module, "_AT_ONCE", 77)
    pieces = module._landmarks(regions[0], genomes, 8)
    assert np.array_equal(pieces.codes, whole.codes)
    assert np.array_equal(pieces.places, whole.places)


def test_fewer_landmarks_in_long_regions(monkeypatch):
    genomes, regions, lies = _genomes()
    monkeypatch.setattr(module, "_MOST", 400)  # one in 64, and few of them agree: intervals grow, none is lost but the
    found = find_insertions(regions, genomes, 3)  # one of 60 bases, perhaps
    assert len(found[0]) >= 2
    assert all(any(one.start <= start and end <= one.end for one in found[0]) for start, end in lies[:2])
    assert max(one.end - one.start for one in found[0]) > 1_300


def _windows(share, sampling="paired", length=200, windows=60):
    genomes, regions, lies = _genomes(divergence=0.0)
    marked = genomes[0].contigs["c"]
    for start, end in lies:
        marked[start:end] = ord("N")  # so that a window shows whether it lies over one
    found = [[module.Insertion(regions[0], *place) for place in lies]]
    found += [[module.Insertion(region, 1_500, 1_600)] for region in regions[1:]]
    defaults = FinetuneConfig()
    config = FinetuneConfig(
        stages=(Stage(length=length, steps=20, windows=windows),),
        sampling=sampling,
        insertions=share,
        loss=replace(defaults.loss, first=16),
        data=replace(defaults.data, most_n=1.0),
    )
    return TrainingWindows(regions, genomes, 3, config, DNA, found)


@pytest.mark.parametrize("sampling", ["paired", "bases"])
def test_the_share_of_windows_over_insertions(sampling):
    """A third of them is of class 0, whose insertions are marked."""
    rows = [_windows(0.6, sampling)[step] for step in range(20)]
    over = np.concatenate([(one.bases == DNA.n).mean(1) > 0.2 for one in rows])
    labels = np.concatenate([one.labels for one in rows])
    assert not over[labels != 0].any()
    # 0.6 of 1,200 windows, a third of them of class 0: 240, and some of its other 160 by chance.
    assert 205 < over.sum() < 290
    assert np.bincount(labels).min() > 330


def test_without_insertions_or_share_windows_lie_as_before():
    genomes, regions, _ = _genomes()
    config = FinetuneConfig(
        stages=(Stage(length=64, steps=2, windows=12),), loss=replace(FinetuneConfig().loss, first=16)
    )
    plain = TrainingWindows(regions, genomes, 3, replace(config, insertions=0.0), DNA)[1]
    none = TrainingWindows(regions, genomes, 3, config, DNA)[1]
    assert np.array_equal(plain.bases, none.bases)


def test_windows_over_insertions_stay_inside_their_regions():
    genomes, regions, _ = _genomes()
    at_the_ends = [[module.Insertion(r, r.start, r.start + 5), module.Insertion(r, r.end - 5, r.end)] for r in regions]
    config = FinetuneConfig(
        stages=(Stage(length=300, steps=1, windows=200),), insertions=0.9, loss=replace(FinetuneConfig().loss, first=16)
    )
    rows = TrainingWindows(regions, genomes, 3, config, DNA, at_the_ends)[0]
    assert set(rows.lengths.tolist()) == {300}
    ends = {g.contigs["c"][r.start : r.start + 300].tobytes() for g, r in zip(genomes, regions, strict=True)}
    ends |= {g.contigs["c"][r.end - 300 : r.end].tobytes() for g, r in zip(genomes, regions, strict=True)}
    forward = {DNA.decode(row).tobytes() for row in rows.bases} | {
        DNA.decode(DNA.reverse_complement(row)).tobytes() for row in rows.bases
    }
    assert ends <= forward


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_is_wanted(share):
    with pytest.raises(InputError, match="insertions: want a share from 0 to below 1"):
        FinetuneConfig(insertions=share)
