"""A sweep over runs: a list of named configurations that differ in some keys, and how they are compared.

Everything is settled and checked before the first run begins, and written into the sweep's folder: `runner` starts
processes that read it there (`worker`), and the same command goes on with what is done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dnamamba.config import from_dict, parse_size, read_json, to_dict
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model.mixers import UNDECAYED
from dnamamba.model.parameters import count_parameters, match_parameters
from dnamamba.outcome import Say
from dnamamba.pretrain_config import PretrainConfig, read_config
from dnamamba.simulated import GENOMES, simulate_genomes
from dnamamba.sweep.kept import claim_folder

PLAN = "sweep.json"
RUNS = "runs"
"""The simulated genomes of a sweep without stores."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep does."""

    sweep: str
    """"context", "size" or "ablation"."""
    runs: dict[str, PretrainConfig]
    """By name, in the order of the report; the first is what the others are compared with."""
    overrides: dict[str, tuple[str, ...]]
    """What is special about each run, as `key.path=value`; for the report."""
    contexts: tuple[int, ...]
    """At which every model is scored, shortest first."""
    targets: int
    """Target bases, about."""
    seed: int
    """Of the targets and of the intervals; the runs have theirs in `run.seed`."""

    def context_of(self, name: str) -> int:
        """The context that a run is judged at: the longest of those it was trained at that is scored."""
        trained = self.runs[name].curriculum.stages[-1].context
        return max((context for context in self.contexts if context <= trained), default=self.contexts[0])


def make_plan(
    sweep: str,
    base: str,
    variants: Mapping[str, Sequence[str]],
    overrides: Sequence[str],
    stores: Sequence[str],
    *,
    contexts: Sequence[int] = (),
    targets: int,
    seed: int,
    match: bool = False,
) -> Plan:
    """Read every run's configuration.

    Args:
        sweep: which one.
        base: config file, or the name of one of the package.
        variants: name of each run -> its own overrides, laid over the common ones.
        overrides: of all runs.
        stores: of all runs; none takes those of the config.
        contexts: at which models are scored; none takes those of the configs.
        targets, seed: as of Plan.
        match: give every model the width at which it has as many parameters as the first.

    Raises:
        InputError: no run, a name that is no folder name, a configuration that cannot be, or runs that differ in
            genomes, split or alphabet, so that they could not be compared.
    """
    if not variants:
        raise InputError(f"sweep {sweep}: no run is wanted; name at least one")
    runs: dict[str, PretrainConfig] = {}
    special = {name: tuple(own) for name, own in variants.items()}
    for name, own in variants.items():
        if not name or not all(letter.isalnum() or letter in "-_.+" for letter in name) or name.startswith("."):
            raise InputError(f"run {name!r}: want a name of letters, digits, - _ . +")
        try:
            config = read_config(base, ["evaluation.markov=false", *overrides, *own], stores)
        except InputError as error:
            raise type(error)(f"run {name}: {error}") from None
        if match and runs:
            wanted = count_parameters(next(iter(runs.values())).model)
            matched = match_parameters(config.model, wanted)
            if matched.d_model != config.model.d_model:
                special[name] += (f"model.d_model={matched.d_model}",)
                config = replace(config, model=matched)
        runs[name] = config
    first_name, first = next(iter(runs.items()))
    for name, config in runs.items():
        for key, what in (("stores", "stores"), ("split_in_force", "split"), ("simulate", "simulate")):
            if getattr(config, key) != getattr(first, key):
                raise InputError(f"run {name}: has another {what} than run {first_name}; all are scored on one genome")
        if config.model.alphabet != first.model.alphabet:
            raise InputError(f"run {name}: has another alphabet than run {first_name}; bits could not be compared")
    scored = sorted(set(contexts) or {context for config in runs.values() for context in config.contexts})
    return Plan(
        sweep=sweep, runs=runs, overrides=special, contexts=tuple(scored), targets=targets, seed=seed
    )  # fmt: skip


def common_overrides(tokens: str | None, context: str | None) -> list[str]:
    """`--tokens` and `--context` as overrides of a configuration."""
    found = []
    if context:
        size = parse_size(context, "--context")
        found += [
            "curriculum.doubling=null", f"curriculum.stages=[{{context: {size}, share: 1}}]",
            f"evaluation.contexts=[{size}]",
        ]  # fmt: skip
    if tokens:
        found.append(f"curriculum.total_tokens={parse_size(tokens, '--tokens')}")
    return found


def settle(plan: Plan, out: Path, say: Say) -> Plan:
    """Claim the sweep's folder, and simulate its genomes, once for all runs, where no store is named.

    Returns:
        The plan whose runs all name stores.

    Raises:
        InputError: as claim_folder.
    """
    first = next(iter(plan.runs.values()))
    if not first.stores:
        path, split = str(out / GENOMES), first.split_in_force
        plan = replace(
            plan,
            runs={name: replace(config, stores=(path,), split=split) for name, config in plan.runs.items()},
        )
    if claim_folder(out, PLAN, to_dict(plan)):
        say(f"{out}: going on with the sweep that is there")
    if not (out / GENOMES).exists() and first.stores != plan.runs[next(iter(plan.runs))].stores:
        simulate_genomes(first.simulate, out / GENOMES, say)
    return plan


def read_plan(out: Path) -> Plan:
    """The plan that `settle` left in a sweep's folder."""
    return from_dict(Plan, read_json(out / PLAN), str(out / PLAN))


def training_flops(config: ModelConfig) -> int:
    """Floating-point operations that training spends on a token.

    Forward: two for each weight of a matrix (the head is the embedding's, whose look-up costs nothing) and of the
    convolution, and nine for each of the d_inner * d_state states of a block (decay, its exponential, input, update
    and output: as mamba-ssm's own tests count them), whatever computes them. The backward costs twice as much; what it
    computes again is left out, and so are norms, gates and activations.
    """
    with torch.device("meta"):  # shapes alone
        named = dict(MambaLM(config).named_parameters())
    matrices = sum(
        weight.numel() for name, weight in named.items() if weight.ndim > 1 and name.rsplit(".", 1)[-1] not in UNDECAYED
    )
    states = config.n_layers * config.d_inner * config.d_state
    return 3 * (2 * matrices + 9 * states)


def tokens_of(config: PretrainConfig) -> int:
    """Tokens that a run is trained on."""
    return config.curriculum.total_steps * config.curriculum.tokens_per_step


def as_figures(config: PretrainConfig) -> dict[str, Any]:
    """What the report says of a run before it has begun."""
    return {
        "parameters": count_parameters(config.model),
        "tokens": tokens_of(config),
        "flops": training_flops(config.model) * tokens_of(config),
    }
