"""`dnamamba sweep context --train`: a run at each context, equal tokens, compared on the same bases."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dnamamba.config import format_size
from dnamamba.errors import InputError, UsageError
from dnamamba.html_report import Table
from dnamamba.pictures import pyplot, save_picture
from dnamamba.pretrain_config import read_config
from dnamamba.sweep import published
from dnamamba.sweep.bits import between, digits, with_interval
from dnamamba.sweep.carry_out import carry_out
from dnamamba.sweep.curve import Point, curve_of, verdict
from dnamamba.sweep.oracle import Oracle, oracle_curve
from dnamamba.sweep.plan import RUNS, Plan, common_overrides, make_plan, read_plan
from dnamamba.sweep.results import RunResult
from dnamamba.sweep.runs_report import Findings
from dnamamba.sweep.targets import Context, context_name, parse_contexts, parse_targets
from dnamamba.sweep.worker import served_targets

BASE = "hg38-1.4M-contexts"


def context_plan(
    base: str | None,
    overrides: Sequence[str],
    stores: Sequence[str],
    contexts_text: str,
    tokens: str | None,
    targets: str,
    seed: int,
) -> tuple[Plan, tuple[str, ...]]:
    """A run a context, and a line for each context that the configuration cannot be trained at.

    A config with a doubling curriculum warms up to each context; others train at it alone.

    Raises:
        InputError: no contexts, "full" among them, none that can be trained at, or as parse_targets and make_plan.
    """
    contexts = parse_contexts(contexts_text) if contexts_text.strip() else ()
    sizes = [context for context in contexts if context is not None]
    if not sizes or len(sizes) < len(contexts):
        raise UsageError(
            "sweep context --train: want --contexts such as 1k,4k,16k; a run has a context of so many bases"
        )
    base, overrides = base or BASE, [*common_overrides(tokens, None), *overrides]
    doubling = _doubling(base, overrides, stores)
    variants: dict[int, list[str]] = {}
    errors: dict[int, InputError] = {}
    for context in sizes:
        if doubling is not None and context >= doubling and _is_double(context, doubling):
            own = [f"curriculum.doubling.last={context}", f"evaluation.contexts=[{context}]"]
        else:
            own = common_overrides(None, str(context))
        variants[context] = own
        try:
            read_config(base, [*overrides, *own], stores)
        except InputError as error:
            errors[context] = error
    # The runs differ in their context alone: what only some of them fail at is that. What all do, make_plan says.
    if len(errors) == len(sizes):
        errors = {}
    trained = [context for context in sizes if context not in errors]
    plan = make_plan(
        "context",
        base,
        {format_size(context): variants[context] for context in trained},
        overrides,
        stores,
        contexts=trained,
        targets=parse_targets(targets),
        seed=seed,
    )
    return plan, tuple(f"run {format_size(context)} is left out: {error}" for context, error in errors.items())


def carry_out_contexts(
    plan: Plan, out: Path, jobs: int | None, echo: Callable[[str], None], left_out: Sequence[str]
) -> None:
    """Train, score and report, as `carry_out`; over simulated genomes an oracle stands beside."""

    def find(results: Sequence[RunResult], figures: Path) -> Findings:
        settled, name = read_plan(out), results[0].name
        corpus, targets = served_targets(settled, name, out / RUNS / name)
        return find_contexts(results, figures, settled.seed, oracle_curve(corpus, targets, settled.seed))

    carry_out(plan, out, jobs, find, echo, left_out)


def find_contexts(results: Sequence[RunResult], figures: Path, seed: int = 0, oracle: Oracle | None = None) -> Findings:
    """What training at a longer context buys.

    Args:
        results: of the runs, the shortest context first.
        figures: folder to draw into.
        seed: of the bootstrap.
        oracle: what a reader of far context could gain on the same targets.
    """
    picture = figures / "trained_contexts.png"
    perfect = {} if oracle is None else {context: point.total.bits for context, point in oracle.points.items()}
    _draw(results, perfect, picture)
    own = curve_of({one.context: one.losses[one.context] for one in results}, seed=seed)
    first, best = results[0], min(results, key=lambda one: one.score.bits)
    gain = best.difference
    said = [
        f"Trained on {first.figures['tokens'] / 1e6:,.1f} M tokens each. The best is the run at "
        f"{format_size(best.context)}: perplexity {best.score.perplexity:.4f}, {digits(gain.bits, '+')} bits a base "
        f"({between(gain)}) against the run at {format_size(first.context)}.",
        f"Each run read at its own context: {verdict(own)}.",
    ]
    caption = "Perplexity against the context each run was trained and read at; bars are 95% intervals."
    contexts = list(first.scores)
    matrix = Table(
        ("trained at", *(f"read at {format_size(context)}" for context in contexts)),
        [(one.name, *(f"{one.scores[context].perplexity:.4f}" for context in contexts)) for one in results],
        "Perplexity of every run read at every context, the same bases throughout.",
    )
    return Findings(
        "What training at longer context buys",
        said,
        {picture: caption},
        (_steps(own, perfect), matrix),
        (published.EXPLAINED, *([oracle.note] if oracle is not None and oracle.note else [])),
    )


def _steps(own: Sequence[Point], perfect: Mapping[Context, float]) -> Table:
    """What each run gains over the one before, both at their own context."""
    header = ("trained and read at", "bits a base", "gain of the step, bits (95%)", *(["oracle"] if perfect else []))
    rows = []
    for number, point in enumerate(own):
        row = [context_name(point.context), f"{point.score.bits:.4f}", with_interval(point.gain) if number else ""]
        if perfect:
            step = perfect[point.context] - perfect[own[number - 1].context]
            row.append(digits(step, "+") if number else "")
        rows.append(tuple(row))
    return Table(
        header,
        rows,
        "Gains over the row before, paired over the same bases."
        + (" The oracle knows the map of the planted far repeats, and them alone." if perfect else ""),
    )


def _draw(results: Sequence[RunResult], perfect: Mapping[Context, float], path: Path) -> None:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    values = [one.score.perplexity for one in results]
    bars = [
        [one.score.perplexity - one.score.low for one in results],
        [one.score.high - one.score.perplexity for one in results],
    ]
    contexts = [one.context for one in results]
    left.errorbar(contexts, values, yerr=bars, marker="o", capsize=3, label="trained and read at this context")
    longest = results[-1]
    left.plot(
        list(longest.scores), [score.perplexity for score in longest.scores.values()], ":", marker=".",
        label=f"the run at {format_size(longest.context)}, read at each",
    )  # fmt: skip
    if perfect:
        start = results[0].context
        best = [results[0].score.perplexity * 2 ** (perfect[start] - perfect[context]) for context in contexts]
        left.plot(
            contexts, best, "--", color="0.3", marker="s", ms=4, label="what the oracle would gain from the first on"
        )
    # Beside and not among the runs: of another genome and level, they would flatten what differs here.
    for name, points in published.CONTEXT_PERPLEXITY.items():
        right.plot(published.CONTEXTS, points, "--", marker="x", ms=4, lw=0.8, label=f"{name} ({published.MARK})")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set(xlabel="context (bases)", ylabel="perplexity over A, C, G, T")
        axes.legend(fontsize=8)
    left.set_title("these runs", fontsize=9)
    right.set_title(published.MARK, fontsize=9)
    save_picture(figure, path)


def _doubling(base: str, overrides: Sequence[str], stores: Sequence[str]) -> int | None:
    """First context of the config's doubling curriculum, if it has one. Other overrides may fit the runs alone."""
    own = [one for one in overrides if one.startswith("curriculum.doubling")]
    doubling = read_config(base, own, stores).curriculum.doubling
    return None if doubling is None else doubling.first


def _is_double(context: int, first: int) -> bool:
    ratio = context // first
    return ratio * first == context and ratio & (ratio - 1) == 0
