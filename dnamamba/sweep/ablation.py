"""`dnamamba sweep ablation`: runs that differ in named overrides, such as what the mixer selects, compared in pairs."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from dnamamba.errors import UsageError
from dnamamba.pictures import pyplot, save_picture
from dnamamba.sweep.bits import between, digits
from dnamamba.sweep.plan import Plan, common_overrides, make_plan
from dnamamba.sweep.results import RunResult
from dnamamba.sweep.runs_report import Findings
from dnamamba.sweep.targets import parse_targets

BASE = "hg38-1.4M"
VARIANTS = (
    "mamba",
    "select-dt model.selective=[dt]",
    "select-B model.selective=[B]",
    "select-C model.selective=[C]",
    "select-none model.selective=[]",
    "s4d model.mixer=s4d",
    "one-state model.d_state=1",
)
"""The default: what selection buys, part by part, and what the state's size does."""


def parse_variants(texts: Sequence[str]) -> dict[str, list[str]]:
    """Read "NAME key.path=value ..." each: the name of a run and what is special about it.

    Raises:
        InputError: no name, a name that is there twice, or a word that is no override.
    """
    found: dict[str, list[str]] = {}
    for text in texts or VARIANTS:
        try:
            name, *overrides = shlex.split(text) or [""]
        except ValueError as error:
            raise UsageError(f"--variant {text!r}: {error}") from None
        odd = next((word for word in overrides if "=" not in word), name if "=" in name or not name else None)
        if odd is not None:
            raise UsageError(f"--variant {text!r}: want a name and then key.path=value, got {odd!r}")
        if name in found:
            raise UsageError(f"--variant {text!r}: there is a run {name!r} already")
        found[name] = overrides
    return found


def ablation_plan(
    base: str | None,
    overrides: Sequence[str],
    stores: Sequence[str],
    variants: Sequence[str],
    tokens: str | None,
    context: str | None,
    targets: str,
    seed: int,
    match: bool,
) -> Plan:
    """A run a variant, the first of them the one that the others are compared with.

    Raises:
        InputError: as parse_variants, parse_targets and make_plan.
    """
    return make_plan(
        "ablation", base or BASE, parse_variants(variants), [*common_overrides(tokens, context), *overrides], stores,
        targets=parse_targets(targets), seed=seed, match=match,
    )  # fmt: skip


def find_ablation(results: Sequence[RunResult], figures: Path) -> Findings:
    """What each variant costs or gains."""
    picture = figures / "ablation.png"
    _draw(results, picture)
    first = results[0]
    said = []
    for one in results[1:]:
        sure = "" if one.difference.low > 0 or one.difference.high < 0 else ", within the interval"
        worse = "worse" if one.difference.bits > 0 else "better"
        said.append(
            f"{one.name} is {digits(abs(one.difference.bits))} bits a base {worse} than {first.name} "
            f"({between(one.difference)}){sure}; "
            f"{one.figures['parameters']:,} parameters."
        )
    caption = f"Bits a base above {first.name}, paired, with 95% intervals."
    return Findings("What parts of the model buy", said, {picture: caption})


def _draw(results: Sequence[RunResult], path: Path) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7, 1 + 0.4 * len(results)), layout="constrained")
    rows = list(range(len(results)))
    values = [one.difference.bits for one in results]
    bars = [
        [one.difference.bits - one.difference.low for one in results],
        [one.difference.high - one.difference.bits for one in results],
    ]
    axes.barh(rows, values, xerr=bars, height=0.6, color="tab:blue", alpha=0.7, capsize=3)
    axes.set_yticks(rows, [f"{one.name} ({one.score.perplexity:.3f})" for one in results])
    axes.axvline(0, color="0.3", lw=0.8)
    axes.invert_yaxis()
    axes.set_xlabel(f"bits a base above {results[0].name} (in brackets: perplexity)")
    save_picture(figure, path)
