"""The configuration of a pretraining run: one dataclass a part, from YAML and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

from dnamamba.config import read_config_file
from dnamamba.configs_of_package import find_config, pretraining_configs
from dnamamba.curriculum import CurriculumConfig
from dnamamba.device import Device, Precision
from dnamamba.errors import InputError, UsageError
from dnamamba.evaluate import EvaluationConfig
from dnamamba.memory import MemorySetting
from dnamamba.model import ModelConfig
from dnamamba.model_directory import load
from dnamamba.optimiser import OptimiserConfig
from dnamamba.parallel.launch import Strategy
from dnamamba.pipelines.simulate.config import SimulateConfig
from dnamamba.pipelines.splits import SplitConfig

_LEAST = {
    "seed": 0, "workers": 0, "keep_checkpoints": 1, "micro_batch_tokens": 1, "devices": 1, "nodes": 1,
    "context_parallel": 1,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run is carried out. Only seed, precision, strands and carry_state change what is learned, and rounding by
    what goes through the model at a time."""

    seed: int = 0
    """Fixes weights, windows and strands."""
    device: Device = "auto"
    precision: Precision = "auto"
    """bfloat16 for matrix products where the device has it; weights, residual stream and states are float32 always."""
    memory: float | MemorySetting = "auto"
    """How much goes through the model at a time, found from the device's memory: "fast" takes nearly all that is free,
    "auto" leaves a quarter of it, "lean" takes as little as is possible at good speed; a number is GB of a GPU. Windows
    that do not fit are trained in slices, which changes no gradient."""
    start_from: str | None = None
    """Model directory whose weights the run starts with, in place of fresh ones; `model` is then that model's."""
    micro_batch_tokens: int | None = None
    """Tokens at a time, in place of what `memory` finds."""
    recompute: Literal["auto", "none", "cheap", "all"] = "auto"
    """What a block's backward computes again in place of keeping it (docs/model.md): the same numbers from less memory.
    auto: "cheap" on a GPU, "none" on a CPU."""
    carry_state: bool = False
    """Let every window of a step go on where one of the step before stopped, and hand the model's state on to it: the
    effective context is the chromosome, at the memory of one window. A window is then no random sample."""
    workers: int = 0
    """Processes that read windows. 0 reads ahead in a thread of the training process, ten times as fast as one GPU
    trains; some for stores on a slow disk or behind a URL. What is read is the same."""
    checkpoint_minutes: float = 10.0
    """One is written at the end of a stage, at the best point of the validation curve and on a signal as well."""
    keep_checkpoints: int = 2
    """How many of the last ones are kept, the best one beside them."""
    loggers: tuple[str | dict[str, Any], ...] = ("csv", "tensorboard")
    """csv (always written), tensorboard, or {class: WandbLogger, project: apes}: a class of lightning.pytorch.loggers
    and its arguments."""
    reverse_complement: bool = True
    """Read half of the windows from the other strand."""
    devices: int | None = None
    """Processes of each node, one a GPU; none: as many as torchrun or SLURM started. Any other number is an error."""
    nodes: int | None = None
    """Nodes; none: as many as there are."""
    strategy: Strategy = "auto"
    """Of several processes: "ddp" (auto) has all weights on each, "fsdp" shards weights, gradients and moments."""
    context_parallel: int = 1
    """Processes that share each window, every one a piece of it; the others share the windows of a step. It divides
    their number."""

    def __post_init__(self) -> None:
        for key, least in _LEAST.items():
            value = getattr(self, key)
            if value is not None and value < least:
                raise InputError(f"run.{key}: want {least} or more, got {value}")
        if not isinstance(self.memory, str) and not 0 < self.memory < inf:
            raise InputError(f"run.memory: want fast, auto, lean or GB above 0, got {self.memory}")
        if self.seed >= 2**64:
            raise InputError(f"run.seed: want less than 2^64, got {self.seed}")
        if not 0 < self.checkpoint_minutes < inf:
            raise InputError(f"run.checkpoint_minutes: want above 0, got {self.checkpoint_minutes}")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that a pretraining run is made of."""

    stores: tuple[str, ...] = ()
    """Genome stores, each STORE or STORE:WEIGHT."""
    simulate: SimulateConfig | None = None
    """Genomes to simulate and train on when no store is given."""
    split: SplitConfig | None = None
    """How the genomes are parted. None: simulated ones by contig (the last is the test, the one before it validation),
    since they have families private to contigs; all others by fraction."""
    model: ModelConfig = field(default_factory=ModelConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def split_in_force(self) -> SplitConfig:
        """`split`, its default filled in."""
        if self.split is not None:
            return self.split
        if self.stores or self.simulate is None or self.simulate.contigs < 3:
            return SplitConfig()
        last = self.simulate.contigs
        return SplitConfig(method="contig", valid=(f"chr{last - 1}",), test=(f"chr{last}",))

    @property
    def contexts(self) -> tuple[int, ...]:
        """Contexts that are evaluated."""
        return self.evaluation.contexts or tuple(stage.context for stage in self.curriculum.stages)


def read_config(
    path: str | None, overrides: Sequence[str], stores: Sequence[str], start_from: str | None = None
) -> PretrainConfig:
    """The configuration of a run: a file, or the name of one that comes with the package, under what the line says.

    Raises:
        InputError: no such file, an unknown key, a bad value, or no store and nothing to simulate.
    """
    file = find_config(path or "quick", pretraining_configs())
    config = read_config_file(PretrainConfig, file, overrides)
    if stores:
        config = replace(config, stores=tuple(stores))
    start_from = start_from or config.run.start_from
    if start_from is not None:
        said = [key for key in overrides if key.startswith("model.")]
        if said:
            raise UsageError(f"{said[0]}: the run starts from {start_from}, whose model it takes as it is")
        config = replace(config, run=replace(config.run, start_from=start_from), model=load(start_from).config)
    if not config.stores and config.simulate is None:
        raise UsageError(f"{file}: names no store to train on; give --store S (make one with `dnamamba genome ingest`)")
    return config
