"""Windows of training and measurement: where they lie, that they are the same every time, what they pass over."""

import time
from dataclasses import replace
from multiprocessing import active_children

import numpy as np
import pytest
from memory_genomes import MemoryGenome, random_dna

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.finetune_config import DataConfig, FinetuneConfig, Stage
from dnamamba.species.held_windows import held_windows
from dnamamba.species.read_ahead import read_ahead
from dnamamba.species.region import Region
from dnamamba.species.training_windows import TrainingWindows

STAGES = (Stage(length=64, steps=5, windows=24), Stage(length=256, steps=5, windows=6))


def _data(n=0, every=10):
    """Three classes of two loci; they differ in the letter at every tenth base."""
    genomes = []
    for label in range(3):
        contigs = {f"c{c}": random_dna(2000 + 500 * c, c) for c in range(2)}
        for sequence in contigs.values():
            sequence[::every] = ord("ACG"[label])
            if n and label == 0:
                sequence[300 : 300 + n] = ord("N")
        genomes.append(MemoryGenome(f"g{label}", contigs))
    regions = [
        Region(i, i, contig, 100, length - 100, f"{contig}/0")
        for i, g in enumerate(genomes)
        for contig, length in g.sizes.items()
    ]
    return genomes, regions


def _windows(sampling="paired", n=0, **changes):
    genomes, regions = _data(n)
    config = FinetuneConfig(stages=STAGES, sampling=sampling, loss=replace(FinetuneConfig().loss, first=16), **changes)
    return TrainingWindows(regions, genomes, 3, config, DNA)


@pytest.mark.parametrize("sampling", ["paired", "chromosome", "bases"])
def test_a_step_is_the_same_every_time_and_no_other(sampling):
    windows = _windows(sampling)
    first, again, other = windows[3], _windows(sampling)[3], windows[4]
    assert first.bases.shape == (24, 64)
    assert windows[5].bases.shape == (6, 256)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.bases, other.bases)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_reading_ahead_gives_every_step_in_its_order(workers):
    windows = _windows()
    found = list(read_ahead(windows, 2, 9, workers))
    assert len(found) == 7
    for step, rows in enumerate(found, 2):
        assert all(np.array_equal(a, b) for a, b in zip(rows, windows[step], strict=True))
    assert list(read_ahead(windows, 9, 9, workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_told_when_its_step_comes(workers, monkeypatch):
    windows, read = _windows(), TrainingWindows.__getitem__

    def rows(self, step):
        if step == 2:
            raise InputError("g0: the disk is gone")
        return read(self, step)

    monkeypatch.setattr(TrainingWindows, "__getitem__", rows)
    ahead = read_ahead(windows, 0, 4, workers)
    assert [len(next(ahead).labels) for _ in range(2)] == [24, 24]
    before = len(active_children())
    with pytest.raises(InputError, match=r"^g0: the disk is gone$"):
        next(ahead)
    assert len(active_children()) == before - workers  # although the traceback is still here


def test_a_reading_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)  # not five seconds
    read = TrainingWindows.__getitem__

    def rows(self, step):
        if step == 3:
            time.sleep(1000)
        return read(self, step)

    monkeypatch.setattr(TrainingWindows, "__getitem__", rows)
    ahead = read_ahead(_windows(), 0, 4, 2)
    before = len(active_children())
    for _ in range(3):
        next(ahead)
    ahead.close()
    assert len(active_children()) == before


@pytest.mark.parametrize("sampling", ["paired", "chromosome", "bases"])
def test_classes_have_equal_shares(sampling):
    windows = _windows(sampling)
    labels = np.concatenate([windows[step % 5].labels for step in range(5)])
    counts = np.bincount(labels, minlength=3)
    assert counts.tolist() == [40, 40, 40] if sampling == "paired" else counts.min() > 25


def test_pairs_lie_at_one_place_of_one_locus():
    rows = _windows()[0]
    for group in rows.bases.reshape(8, 3, 64):
        # All but the marked bases are the same in all classes; they are on one strand too.
        assert (group[0] == group[1]).mean() > 0.85
        assert (group[0] == group[2]).mean() > 0.85
    assert sorted(rows.labels[:3].tolist()) == [0, 1, 2]


def test_pairs_are_found_past_insertions():
    genomes, regions = _data(every=60)
    moved = MemoryGenome("g2", {c: np.concatenate([random_dna(700, 9), s]) for c, s in genomes[2].contigs.items()})
    mixed = np.char.lower(moved.contigs["c0"].view("S1")).view(np.uint8)  # the soft mask is no difference
    moved.contigs["c0"] = np.where(np.arange(len(mixed)) % 2 == 0, mixed, moved.contigs["c0"])
    genomes[2] = moved
    regions = [r._replace(end=moved.sizes[r.contig]) if r.label == 2 else r for r in regions]
    config = FinetuneConfig(
        stages=(Stage(length=200, steps=1, windows=90),), loss=replace(FinetuneConfig().loss, first=16)
    )
    rows = TrainingWindows(regions, genomes, 3, config, DNA)[0]
    alike = []
    for group, labels in zip(rows.bases.reshape(30, 3, 200), rows.labels.reshape(30, 3), strict=True):
        ordered = group[np.argsort(labels)]
        alike.append((ordered[0] == ordered[2]).mean())
    # By chance a quarter of the bases agree. What falls into the insertion cannot be found.
    assert np.mean(np.array(alike) > 0.85) > 0.6


def test_windows_stay_inside_their_regions_and_cover_them():
    genomes, regions = _data()
    marked = [MemoryGenome(g.name, {c: np.full(n, ord("A"), np.uint8) for c, n in g.sizes.items()}) for g in genomes]
    for genome in marked:
        for name, sequence in genome.contigs.items():
            sequence[100 : genome.sizes[name] - 100] = ord("C")
    config = FinetuneConfig(
        stages=(Stage(length=500, steps=1, windows=30),), loss=replace(FinetuneConfig().loss, first=16)
    )
    rows = TrainingWindows(regions, marked, 3, config, DNA)[0]
    assert set(np.unique(rows.bases)) <= {1, 2}  # C, or G on the other strand


def test_shorter_regions_are_read_whole_and_padded():
    genomes, regions = _data()
    short = [r._replace(end=r.start + 40) for r in regions]
    config = FinetuneConfig(
        stages=(Stage(length=64, steps=1, windows=6),), loss=replace(FinetuneConfig().loss, first=16)
    )
    rows = TrainingWindows(short, genomes, 3, config, DNA)[0]
    assert rows.lengths.tolist() == [40] * 6
    assert rows.bases.shape == (6, 40)


def test_windows_with_many_n_are_passed_over():
    rows = [_windows(n=400)[step] for step in range(5)]
    assert max((one.bases == DNA.n).mean(1).max() for one in rows) <= 0.1
    allowed = [_windows(n=400, data=DataConfig(most_n=1.0))[step] for step in range(5)]
    assert max((one.bases == DNA.n).mean(1).max() for one in allowed) > 0.1
    with pytest.raises(InputError, match="64 windows of 64 bases in a row hold more than 10% N"):
        _all_n()[0]


def _all_n():
    genomes, regions = _data()
    for sequence in genomes[2].contigs.values():
        sequence[:] = ord("N")
    return TrainingWindows(
        regions, genomes, 3, FinetuneConfig(stages=STAGES, loss=replace(FinetuneConfig().loss, first=16)), DNA
    )


def _held(length, n=0, **changes):
    genomes, regions = _data(n)
    settings = {"windows": 10, "bases": 10**6, "most_n": 0.1, "seed": 0, "both_strands": False, **changes}
    return held_windows(regions, genomes, 3, length, DNA, **settings)


def test_held_windows_are_the_same_places_in_every_class():
    found = _held(100)
    assert found.tokens.shape == (30, 100)
    assert np.bincount(found.labels).tolist() == [10, 10, 10]
    by_class = [found.tokens[found.labels == label] for label in range(3)]
    clusters = [found.clusters[found.labels == label].tolist() for label in range(3)]
    assert clusters[0] == clusters[1] == clusters[2]
    assert len(set(clusters[0])) == 10
    assert (by_class[0] == by_class[2]).mean() > 0.85
    assert np.array_equal(found.tokens, _held(100).tokens)


def test_held_windows_do_not_overlap_unless_asked():
    _, regions = _data()
    everything = _held(100, windows=1000)
    assert len(everything.labels) == 3 * sum((r.end - r.start) // 100 for r in regions if r.label == 0)
    rows = {row.tobytes() for row in everything.tokens[everything.labels == 0]}
    assert len(rows) == (everything.labels == 0).sum()
    overlapping = _held(100, windows=1000, overlap=4)
    assert len(overlapping.labels) > 3.5 * len(everything.labels)
    assert len(np.unique(overlapping.clusters)) <= len(np.unique(everything.clusters)) + 2


def test_held_windows_have_limits():
    assert _held(3000) is None
    assert len(_held(100, bases=1500).labels) == 15
    few = np.bincount(_held(100, windows=1000, n=400).labels)
    assert few.tolist() == [few[0]] * 3  # the class with fewer places sets the number of all
    assert len(_held(1000, windows=50, n=400).labels) < len(_held(1000, windows=50).labels)
