"""The configuration of a fine-tuning for species: one dataclass a part, from YAML and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import inf
from typing import Literal

from dnamamba.config import read_config_file
from dnamamba.configs_of_package import find_config, species_configs
from dnamamba.device import Device, Precision
from dnamamba.errors import InputError, UsageError
from dnamamba.optimiser import OptimiserConfig
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.splits import SplitConfig
from dnamamba.species.classifier_config import Pool

Excluded = Literal["Y", "mitochondrion", "unplaced", "alt"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is read, what counts as one class, and how it is parted."""

    stores: tuple[str, ...] = ()
    """Genome stores; every assembly in them is a class unless `classes` says otherwise."""
    fasta: tuple[str, ...] = ()
    """Labelled files, CLASS=FILE: FASTA or 2bit. A class may have several."""
    simulate: SimulateConfig | None = None
    """Genomes to simulate when neither is given."""
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Class -> its assemblies; assemblies in none of them are left out. Empty: each assembly is a class."""
    locus: str = ""
    r"""Regular expression: what it finds in a contig's name (or description) is the name of its locus, and contigs of
    one locus are orthologous: "^[^|]+" for genes called ENSG..|species. Empty: homologs as pretraining knows them."""
    one_locus: bool = False
    """Every contig is the same locus: a region cut out of several genomes, mitogenomes."""
    contigs: tuple[str, ...] = ()
    """Names or patterns of contigs to use; empty: all."""
    shortest: int = 0
    """Contigs of fewer bases are left out."""
    individuals: bool = False
    """Every record of a labelled file is one individual. Of a class with several, those in the test are in no other
    part."""
    circular: bool = False
    """Contigs are circles: they are turned to a common origin, found by shared 16-mers, so that the same arcs are held
    out in all of them, and windows cross the point where a record happens to start."""
    turn: float = 0.0
    """Share of the circle by which the common origin is moved; other values hold out other arcs."""
    exclude: tuple[Excluded, ...] = ("Y", "mitochondrion", "unplaced", "alt")
    """Contigs that give the label away and are left out."""
    most_n: float = 0.1
    """Windows with a larger share of N are passed over."""
    gaps: Literal["error", "drop"] = "error"
    """Alignment gaps in labelled files."""
    split: SplitConfig | None = None
    """How the genomes are parted. None: as the pretraining parted them, where it knows them all; else by fraction."""
    whole_loci: bool = False
    """Deal whole loci out to the parts, by the split's two fractions: for genes. Contigs are not cut."""

    def __post_init__(self) -> None:
        if not 0 <= self.most_n <= 1:
            raise InputError(f"data.most_n: a share from 0 to 1, got {self.most_n}")
        if not 0 <= self.turn < 1:
            raise InputError(f"data.turn: a share of the circle from 0 to below 1, got {self.turn}")
        if self.locus and self.one_locus:
            raise InputError("data.locus and data.one_locus: give one or the other")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of steps with windows of one length."""

    length: int
    """Of the windows, in bases."""
    steps: int
    """Optimiser steps."""
    windows: int
    """Windows a step."""

    def __post_init__(self) -> None:
        for key in ("length", "steps", "windows"):
            if getattr(self, key) < 1:
                raise InputError(f"stage.{key}: want 1 or more, got {getattr(self, key)}")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The head and what is trained under it."""

    pool: Pool = "sum"
    """As in the classifier's own config."""
    hidden: int = 0
    """Width of a ReLU layer between features and evidence; 0: none."""
    train: Literal["full", "frozen", "lora"] = "full"
    """All weights, the head alone, or the head and low-rank adapters of in_proj, x_proj and out_proj."""
    rank: int = 8
    """Of the adapters."""
    alpha: float = 16.0
    """Adapters are scaled by alpha / rank."""
    probe: int | None = 2**12
    """Length of the windows by which a first head is fitted to the pretrained features, in bases (at most the longest
    stage's); none: the head starts at zero, as it always does with pool "last"."""
    refit: int | None = None
    """Length of the windows by which the head is fitted once more after the training, to the features as they have
    become; kept where it tells validation windows of that length and longer ones better. None: the head stays as it
    was trained. Not with pool "last"."""
    probe_windows: int = 1000
    """Windows a class for `probe` and `refit`, at most."""
    lr_factor: float = 1.0
    """The head's learning rate over that of everything else."""

    def __post_init__(self) -> None:
        for key in ("rank", "alpha", "lr_factor", "probe_windows"):
            if not getattr(self, key) > 0:
                raise InputError(f"head.{key}: want above 0, got {getattr(self, key)}")
        for key in ("probe", "refit"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise InputError(f"head.{key}: want a length of 1 or more, or null, got {value}")
        if self.refit and self.pool == "last":
            raise InputError("head.refit: one position's features are no mean; want pool mean or sum, or refit null")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Where the loss stands, and what else is learned."""

    at: Literal["powers", "end"] = "powers"
    """powers: after every 2^k bases of a window, so that one model serves all lengths; end: after the last base."""
    first: int = 2**6
    """Shortest length at which the loss stands."""
    lm_weight: float = 0.2
    """Weight of the language model's loss (nats a base) beside it, which keeps the likelihood that tells sequences
    unlike all classes."""

    def __post_init__(self) -> None:
        for key, least in {"first": 1, "lm_weight": 0}.items():
            if not getattr(self, key) >= least:
                raise InputError(f"loss.{key}: want {least} or more, got {getattr(self, key)}")


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What is measured on validation and test part."""

    lengths: tuple[int, ...] = ()
    """Bases; none: every 2^k from loss.first (at least 2^8) to the longest stage. Longer ones than the parts hold are
    left out and named."""
    windows: int = 256
    """Windows a class at each length, at most."""
    overlap: int = 1
    """Windows that begin within a window's length; 1: none overlap. More where the parts are small; the intervals count
    what overlaps as one place."""
    bases: int = 2**26
    """Bases of all windows of one length, at most."""
    points: int = 10
    """Points of the validation curve."""
    valid_windows: int = 128
    """Windows a class at each point, at most."""
    early_stop: int | None = 5
    """Stop after so many points in a row without a better one; none: go to the end. The best point's weights count."""
    ks: tuple[int, ...] = (3, 4, 5, 6)
    """Lengths of k-mers among which the baseline chooses on the validation part; none: no k-mer baseline."""
    kmer_windows: int = 2000
    """Windows a class that the k-mer baseline is fitted on at each length, at most."""
    unlike: tuple[str, ...] = ()
    """NAME=FILE: sequences of no class, for the measurement of the flag; shuffled and random ones are made anyway."""

    def __post_init__(self) -> None:
        for key in ("windows", "overlap", "bases", "points", "valid_windows", "kmer_windows", "early_stop"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise InputError(f"measure.{key}: want 1 or more, got {value}")
        if any(not 1 <= k <= 12 for k in self.ks):
            raise InputError(f"measure.ks: want 1 to 12, got {list(self.ks)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How the run is carried out."""

    seed: int = 0
    """Fixes the head, windows and strands."""
    device: Device = "auto"
    precision: Precision = "auto"
    micro_tokens: int | None = None
    """Tokens that go through the model at a time in training; none: what the device's memory holds."""
    workers: int | None = None
    """Processes that read windows ahead; 0: a thread of this one; none: 2 beside a GPU, else a thread. The same windows
    in any case."""
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        for key, least in {"workers": 0, "seed": 0, "keep_checkpoints": 1, "micro_tokens": 1}.items():
            value = getattr(self, key)
            if value is not None and value < least:
                raise InputError(f"run.{key}: want {least} or more, got {value}")
        if self.seed >= 2**64:
            raise InputError(f"run.seed: want less than 2^64, got {self.seed}")
        if not 0 < self.checkpoint_minutes < inf:
            raise InputError(f"run.checkpoint_minutes: want above 0, got {self.checkpoint_minutes}")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything that a fine-tuning is made of."""

    model: str = ""
    """Directory of the pretrained language model."""
    data: DataConfig = field(default_factory=DataConfig)
    sampling: Literal["paired", "chromosome", "bases"] = "paired"
    """Where training windows lie; the classes always have equal shares. paired: each place of a locus is read in every
    class (found near the same share of its length by a word of 24 bases), so that what the classes have in common drops
    out of the gradient; chromosome: class, then contig, then position, each uniform (the paper's); bases: class, then
    position, uniform over its bases."""
    insertions: float = 0.5
    """Share of the training windows that are laid over insertions: sequence that a class has and at least half of the
    others lack at the same place. They tell species apart and are rare. Where a class has too few of them, as with
    genes and mitogenomes, all windows lie as `sampling` says, and the result says so. 0: none are looked for."""
    reverse_complement: bool = True
    """Read half of the windows from the other strand; both of a pair alike."""
    stages: tuple[Stage, ...] = (Stage(length=2**10, steps=500, windows=64), Stage(length=2**12, steps=500, windows=32))
    """In the order they are trained: the length warm-up."""
    head: HeadConfig = field(default_factory=HeadConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(lr=1e-4))
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("stages: want at least one")
        if not 0 <= self.insertions < 1:
            raise InputError(f"insertions: want a share from 0 to below 1, got {self.insertions}")
        if self.loss.at == "powers" and any(stage.length < self.loss.first for stage in self.stages):
            raise InputError(f"loss.first: {self.loss.first} is longer than the windows of a stage")

    @property
    def borders(self) -> tuple[int, ...]:
        """First step after each stage; the last entry is the number of all steps."""
        return tuple(accumulate(stage.steps for stage in self.stages))

    def stage_at(self, step: int) -> Stage:
        """The stage of a step, counted from 0."""
        return next(stage for stage, border in zip(self.stages, self.borders, strict=True) if step < border)

    @property
    def longest(self) -> int:
        """Bases of the longest training window."""
        return max(stage.length for stage in self.stages)

    @property
    def furthest(self) -> int:
        """Longest windows on which the training is judged: those that the head is fitted on too."""
        return max(self.longest, self.head.refit or 0)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths that are measured."""
        if self.measure.lengths:
            return tuple(sorted(set(self.measure.lengths)))
        first = self.loss.first if self.loss.at == "powers" else self.longest
        return powers_between(min(max(2**8, first), self.longest), self.longest)


def powers_between(first: int, last: int) -> tuple[int, ...]:
    """The powers of two from `first` to `last`, both included; `last` alone where there is none."""
    powers = tuple(2**k for k in range(41) if first <= 2**k <= last)
    return powers or (last,)


def read_config(
    path: str | None, overrides: Sequence[str], model: str | None, stores: Sequence[str], fasta: Sequence[str]
) -> FinetuneConfig:
    """The configuration of a run: a file, or the name of one that comes with the package, under what the line says.

    Raises:
        InputError: no such file, an unknown key, a bad value, no model, or nothing to train on.
    """
    file = find_config(path or "species-quick", species_configs())
    config = read_config_file(FinetuneConfig, file, overrides)
    if model:
        config = replace(config, model=model)
    if stores or fasta:
        config = replace(config, data=replace(config.data, stores=tuple(stores), fasta=tuple(fasta)))
    if not config.model:
        raise UsageError("no model to fine-tune: give --model M, a directory that `dnamamba pretrain` made")
    data = config.data
    if not (data.stores or data.fasta or data.simulate):
        raise UsageError(f"{file}: names nothing to train on; give --store S or --fasta CLASS=FILE")
    return config
