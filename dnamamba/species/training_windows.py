"""The windows of a training step: a pure function of (seed, step), so that a resumed run reads what an unbroken one
would."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import Alphabet
from dnamamba.pipelines.splits import AssemblyLike
from dnamamba.species.finetune_config import FinetuneConfig
from dnamamba.species.insertions import Insertion
from dnamamba.species.pairing import LONGEST_PAIRED, find_place, window_words
from dnamamba.species.region import Region, read_tokens

T = TypeVar("T")

_REDRAWS = 64
"""Windows tried in place of one with too many N."""


class Rows(NamedTuple):
    """Windows as tokens, the shorter ones padded behind their ends with N."""

    bases: NDArray[np.uint8]
    """[B, L]."""
    labels: NDArray[np.int64]
    """Class of each, [B]."""
    lengths: NDArray[np.int64]
    """Bases of each, [B]."""


@dataclass(frozen=True)
class Place:
    """One window."""

    region: Region
    start: int
    end: int
    reverse: bool


class TrainingWindows:
    """All windows of a run, addressed by step."""

    def __init__(
        self,
        regions: Sequence[Region],
        assemblies: Sequence[AssemblyLike],
        classes: int,
        config: FinetuneConfig,
        alphabet: Alphabet,
        insertions: Sequence[Sequence[Insertion]] = (),
    ) -> None:
        """Lay out the regions of the training part; every class has some.

        Args:
            regions: of the training part.
            assemblies: of the run.
            classes: how many.
            config: of the run.
            alphabet: of the model.
            insertions: a list a class, none of them empty, over which `config.insertions` of all windows are laid; or
                nothing, and all windows lie as `config.sampling` says.
        """
        self.assemblies, self.alphabet, self.config, self.classes = assemblies, alphabet, config, classes
        self._by_class = [[r for r in regions if r.label == label] for label in range(classes)]
        ordered = sorted(regions, key=lambda r: (r.locus, r.label))
        self._loci = {
            locus: {label: list(rows) for label, rows in groupby(members, key=lambda r: r.label)}
            for locus, members in groupby(ordered, key=lambda r: r.locus)
        }
        self._names = list(self._loci)
        sizes = [np.mean([r.end - r.start for rows in self._loci[n].values() for r in rows]) for n in self._names]
        self._locus_share = np.asarray(sizes) / np.sum(sizes)
        self._insertions = insertions
        # A draw is one window over an insertion, or else a window of every class where they are paired.
        share, group = config.insertions, classes if config.sampling == "paired" else 1
        self._insertion_draws = share * group / (1 - share + share * group) if insertions else 0.0

    def __getitem__(self, step: int) -> Rows:
        """Draw and read the windows of a step.

        Raises:
            InputError: 64 windows in a row have too many N.
        """
        stage = self.config.stage_at(step)
        places: list[Place] = []
        draw = 0
        bad = 0
        tokens: list[NDArray[np.uint8]] = []
        while len(places) < stage.windows:
            rng = np.random.default_rng([self.config.run.seed, 1, step, draw])
            draw += 1
            group = self._draw(rng, stage.length)
            read = [self.read(place) for place in group]
            if any(self._too_many_n(one) for one in read):
                bad += 1
                if bad == _REDRAWS:
                    name, most = self.assemblies[group[0].region.assembly].name, self.config.data.most_n
                    raise InputError(
                        f"{name}: {_REDRAWS} windows of {stage.length:,} bases in a row hold more than {most:.0%} N; "
                        "raise data.most_n or leave such contigs out"
                    )
                continue
            bad = 0
            room = stage.windows - len(places)
            places += group[:room]
            tokens += read[:room]
        return pad([(p.region.label, one) for p, one in zip(places, tokens, strict=True)], self.alphabet)

    def _draw(self, rng: np.random.Generator, length: int) -> list[Place]:
        """A window of every class (paired), or of one class."""
        reverse = bool(rng.integers(2)) and self.config.reverse_complement
        if self._insertion_draws and rng.random() < self._insertion_draws:
            return [self._over_insertion(rng, length, reverse)]
        if self.config.sampling == "paired":
            return self._pair(rng, length, reverse)
        label = int(rng.integers(self.classes))
        if self.config.sampling == "bases":
            region = self._by_bases(rng, label)
        else:
            contigs: dict[tuple[int, str], list[Region]] = {}
            for one in self._by_class[label]:
                contigs.setdefault((one.assembly, one.contig), []).append(one)
            region = _pick(rng, _pick(rng, list(contigs.values())))
        return [_window(region, length, rng.random(), reverse)]

    def _pair(self, rng: np.random.Generator, length: int, reverse: bool) -> list[Place]:
        """The same place of one locus in every class; a class without the locus is read somewhere else."""
        locus = self._loci[self._names[rng.choice(len(self._names), p=self._locus_share)]]
        share = rng.random()
        words: list[tuple[int, bytes]] = []
        group = []
        # In an order of its own each time: the first is the one the others are laid beside, and a step may end inside a
        # group.
        for label in rng.permutation(self.classes).tolist():
            candidates = locus.get(label)
            region = _pick(rng, candidates) if candidates else self._by_bases(rng, label)
            place = _window(region, length, share if candidates else rng.random(), reverse)
            if candidates and length <= LONGEST_PAIRED:
                if not words:
                    words = window_words(self.assemblies, region, place.start, place.end)
                elif (start := find_place(self.assemblies, words, region, place.start, length)) is not None:
                    place = Place(region, start, min(start + length, region.end), reverse)
            group.append(place)
        return group

    def _over_insertion(self, rng: np.random.Generator, length: int, reverse: bool) -> Place:
        """A window whose middle lies in an insertion, as far as its region lets it; every class as often."""
        region, first, last = _pick(rng, self._insertions[int(rng.integers(self.classes))])
        middle = int(rng.integers(first, last))
        start = max(region.start, min(middle - length // 2, region.end - length))
        return Place(region, start, min(start + length, region.end), reverse)

    def _by_bases(self, rng: np.random.Generator, label: int) -> Region:
        regions = self._by_class[label]
        sizes = np.array([r.end - r.start for r in regions], dtype=np.float64)
        return regions[int(rng.choice(len(regions), p=sizes / sizes.sum()))]

    def read(self, place: Place) -> NDArray[np.uint8]:
        """Tokens of a window on the strand that it is read on."""
        return read_tokens(self.assemblies, place.region, place.start, place.end, self.alphabet, reverse=place.reverse)

    def _too_many_n(self, tokens: NDArray[np.uint8]) -> bool:
        return bool(np.count_nonzero(tokens == self.alphabet.n) > self.config.data.most_n * len(tokens))


def pad(windows: Sequence[tuple[int, NDArray[np.uint8]]], alphabet: Alphabet) -> Rows:
    """Put (class, tokens) of windows of any lengths into one array."""
    lengths = np.array([len(tokens) for _, tokens in windows], dtype=np.int64)
    bases = np.full((len(windows), int(lengths.max())), alphabet.n or 0, np.uint8)
    for row, (_, tokens) in zip(bases, windows, strict=True):
        row[: len(tokens)] = tokens
    return Rows(bases, np.array([label for label, _ in windows], dtype=np.int64), lengths)


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _window(region: Region, length: int, share: float, reverse: bool) -> Place:
    """A window at a share of the way through a region; of a shorter region all of it."""
    room = max(0, region.end - region.start - length)
    start = region.start + min(int(share * (room + 1)), room)
    return Place(region, start, min(start + length, region.end), reverse)
