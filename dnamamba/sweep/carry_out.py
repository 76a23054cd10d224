"""From a plan to a report: what all sweeps over runs do alike."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dnamamba.errors import InputError
from dnamamba.say import say
from dnamamba.simulated import GENOMES
from dnamamba.sweep.context_report import typed_command
from dnamamba.sweep.plan import PLAN, Plan, as_figures, settle
from dnamamba.sweep.results import RunResult, read_results
from dnamamba.sweep.runner import find_slots, run_all
from dnamamba.sweep.runs_report import REPORT, TABLE, Findings, leave_report, text_table
from dnamamba.sweep.served import served_plan

Find = Callable[[Sequence[RunResult], Path], Findings]
"""Draws into a folder what the results say."""


def carry_out(
    plan: Plan, out: Path, jobs: int | None, find: Find, echo: Callable[[str], None], left_out: Sequence[str] = ()
) -> None:
    """Run what is left of a sweep, write its report and echo its table.

    Args:
        plan: of make_plan.
        out: the sweep's folder.
        jobs: runs at a time; None: one a GPU, one on the CPU.
        find: of the kind of sweep.
        echo: told the text for standard output.
        left_out: runs that were wanted and are not in the plan, a line each.

    Raises:
        InputError: as settle, served_plan and run_all; or, when the report of the others is written, that some runs
            failed.
    """
    # Before the folder is claimed: of all runs that are wanted.
    slots = find_slots(jobs, all(config.run.device == "cpu" for config in plan.runs.values()))
    plan, unserved = _begin(plan, out)
    no_runs = (*left_out, *unserved)
    for line in no_runs:
        say(line)
    costs = {name: float(as_figures(config)["flops"]) for name, config in plan.runs.items()}
    failed = run_all(costs, out, slots, say)
    if len(failed) == len(plan.runs):
        name, error = next(iter(failed.items()))
        raise InputError(f"all {len(failed)} runs failed; {name}: {error}")
    results, not_scored = read_results(plan, out)
    lines = (*no_runs, *not_scored)
    found = find(results, out / "figures")
    leave_report(plan, results, out, found, failed=failed, left_out=lines, command=typed_command(sys.argv))
    echo("\n".join([text_table(results), *lines, *found.said, "", f"{out / REPORT}, {out / TABLE}"]))
    if failed:
        each = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise InputError(f"{len(failed)} of {len(plan.runs)} runs failed, the report holds the others: {each}")


def _begin(plan: Plan, out: Path) -> tuple[Plan, tuple[str, ...]]:
    """Both of `settle` and `served_plan`, so that a sweep which cannot be leaves no claim on the folder."""
    if next(iter(plan.runs.values())).stores:
        served, unserved = served_plan(plan)
        settle(plan, out, say)
        return served, unserved
    is_new = not (out / PLAN).exists()
    settled = settle(plan, out, say)
    try:
        return served_plan(settled)
    except InputError:
        if is_new:  # then the folder was empty; the genomes are of this plan
            shutil.rmtree(out / GENOMES)
            (out / PLAN).unlink()
        raise
