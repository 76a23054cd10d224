"""`dnamamba sweep context --train --task species`: a species classifier fine-tuned at each length, equal bases each."""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnamamba.config import format_size, from_dict, parse_size, read_json, to_dict
from dnamamba.errors import InputError, UsageError
from dnamamba.files import write_whole
from dnamamba.html_report import Picture, Section, Table, Text, write_report
from dnamamba.model_directory import read_record
from dnamamba.pictures import pyplot, save_picture
from dnamamba.pipelines.text_table import aligned
from dnamamba.say import say
from dnamamba.species.finetune_config import FinetuneConfig, Stage, read_config
from dnamamba.sweep.context_report import typed_command
from dnamamba.sweep.kept import claim_folder
from dnamamba.sweep.plan import PLAN, RUNS
from dnamamba.sweep.runner import find_slots, run_all
from dnamamba.sweep.runs_report import REPORT, TABLE
from dnamamba.sweep.targets import parse_contexts
from dnamamba.sweep.worker import RESULT

WORKER = (sys.executable, "-m", "dnamamba.sweep.species_worker")


@dataclass(frozen=True, kw_only=True)
class SpeciesPlan:
    """A fine-tuning at each length."""

    sweep: str = "species"
    runs: dict[str, FinetuneConfig]
    """By name, shortest first; all are measured at all lengths."""


def species_plan(
    base: str | None,
    overrides: Sequence[str],
    stores: Sequence[str],
    model: str | None,
    contexts_text: str,
    tokens: str | None,
) -> SpeciesPlan:
    """A run a length: windows of that length alone, as many bases a step and in all as the configuration's.

    Args:
        base: configuration, species-quick unless one is named.
        overrides: `key.path=value`.
        stores: of genomes; each assembly is a class.
        model: a pretrained model, or the folder of a `sweep context --train`: then each length starts from the model
            that was pretrained at it.
        contexts_text: lengths, as "1k,4k,16k".
        tokens: bases of every run; None: those of the configuration.

    Raises:
        InputError: no lengths, no store, or a configuration or model that will not do.
    """
    contexts = parse_contexts(contexts_text) if contexts_text.strip() else ()
    lengths = [one for one in contexts if one is not None]
    if not lengths or len(lengths) < len(contexts):
        raise UsageError("sweep context --train: want --contexts such as 1k,4k,16k; a run has windows of so many bases")
    if not stores:
        raise UsageError("--task species: give --store S; its assemblies are the classes")
    if not model:
        raise UsageError("--task species: give --model M, a pretrained model or the folder of a sweep context --train")
    common = read_config(base, overrides, str(model), stores, ())
    step = max(stage.length * stage.windows for stage in common.stages)
    whole = sum(stage.length * stage.windows * stage.steps for stage in common.stages)
    budget = parse_size(tokens, "--tokens") if tokens else whole
    runs = {}
    for length in lengths:
        name = format_size(length)
        if budget < length:
            raise UsageError(f"run {name}: one window has more bases than --tokens gives a run, {budget:,}")
        windows = max(1, min(step, budget) // length)
        stage = Stage(length=length, windows=windows, steps=max(1, round(budget / (windows * length))))
        start = Path(model) / RUNS / name if (Path(model) / PLAN).exists() else Path(model)
        read_record(start)  # a model that is not there is said now
        try:
            config = replace(common, model=str(start), stages=(stage,))
        except InputError as error:
            raise InputError(f"run {name}: {error}") from None
        runs[name] = replace(config, measure=replace(config.measure, lengths=tuple(lengths)))
    return SpeciesPlan(runs=runs)


def read_species_plan(out: Path) -> SpeciesPlan:
    """The plan that a sweep left in its folder."""
    return from_dict(SpeciesPlan, read_json(out / PLAN), str(out / PLAN))


def carry_out_species(plan: SpeciesPlan, out: Path, jobs: int | None, echo: Callable[[str], None]) -> None:
    """Run what is left of the sweep, write its report and echo its table.

    Raises:
        InputError: as open_store, claim_folder and run_all; or, when the report of the others is written, that some
            runs failed.
    """
    from dnamamba.pipelines.store import open_store  # zarr takes 0.3 s to import

    for store in next(iter(plan.runs.values())).data.stores:
        open_store(store)  # one that cannot be read is said before the folder is claimed
    slots = find_slots(jobs, all(config.run.device == "cpu" for config in plan.runs.values()))
    if claim_folder(out, PLAN, to_dict(plan)):
        say(f"{out}: going on with the sweep that is there")
    # All train on equal bases; what longer windows cost more is not known beforehand.
    costs = {name: float(config.stages[0].length) for name, config in plan.runs.items()}
    failed = run_all(costs, out, slots, say, WORKER)
    done = {name: read_json(out / RUNS / name / RESULT) for name in plan.runs if (out / RUNS / name / RESULT).exists()}
    if not done:
        raise InputError(f"no run of the sweep is done: {'; '.join(f'{n}: {e}' for n, e in failed.items())}")
    _leave(plan, done, failed, out)
    header, rows = _table(done)
    lines = [*aligned([header, *rows], left=()), *_not_measured(done)]
    echo("\n".join([*lines, "", f"{out / REPORT}, {out / TABLE}"]))
    if failed:
        each = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise InputError(f"{len(failed)} of {len(plan.runs)} runs failed, the report holds the others: {each}")


def _not_measured(done: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each run whose own length the held-out parts have no windows of."""
    return [
        f"run {name} could not be measured at its own length: the held-out parts hold no such windows in every class"
        for name, one in done.items()
        if str(parse_size(name)) not in one["lengths"]
    ]


def _table(done: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """A row a run: right calls at every length, and what it took."""
    lengths = sorted({int(length) for one in done.values() for length in one["lengths"]})
    header = ["trained at", *(f"right calls at {format_size(n)} (95%)" for n in lengths), "M bases", "minutes", "GB"]
    rows = []
    for name, one in done.items():
        calls = [one["lengths"].get(str(n)) for n in lengths]
        cells = [f"{c['accuracy']:.3f} ({c['interval'][0]:.3f}-{c['interval'][1]:.3f})" if c else "-" for c in calls]
        took = [f"{one['tokens'] / 1e6:.1f}", f"{one['seconds'] / 60:.1f}", f"{one['peak_memory'] / 1e9:.2f}"]
        rows.append([name, *cells, *took])
    return header, rows


def _leave(plan: SpeciesPlan, done: dict[str, dict[str, Any]], failed: dict[str, str], out: Path) -> None:
    """report.html, runs.csv and the picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("accuracy", "low", "high", "windows", "kmer_accuracy", "bound")
    writer.writerow(["trained_length", "length", *columns, "tokens", "seconds", "peak_memory", "device"])
    for name, one in done.items():
        for length, row in one["lengths"].items():
            values = [row["accuracy"], *row["interval"], row["windows"], row["kmer_accuracy"], one["bound"].get(length)]
            writer.writerow([name, format_size(int(length)), *values, *(one[k] for k in _TOOK)])
    write_whole(out / TABLE, text.getvalue())
    picture = out / "figures" / "species_contexts.png"
    _draw(done, picture)
    first = next(iter(done.values()))
    notes = [f"Run {name} failed and is not in the table: {error}" for name, error in failed.items()]
    notes += _not_measured(done)
    header, rows = _table(done)
    method = (
        "Right calls on held-out windows, as dnamamba finetune species measures them; 95% intervals, widened where "
        "windows share a place. Every run was fine-tuned on windows of one length, equal bases in all. Minutes are of "
        "the last part of a run, measurement included; memory is the allocator's peak on a GPU, the process's on a CPU."
    )
    caption = "Each run at its own length, beside k-mers and, for simulated genomes, the best there can be."
    sections = [
        Section("What was measured", [Text(first["task"]), Text(method), *map(Text, notes)]),
        Section("Right calls", [Picture(picture, caption), Table(header, rows)]),
        Section("Runs", [Text(f"{name}: {config.model}") for name, config in plan.runs.items()]),
        Section("Command", [Text(typed_command(sys.argv), code=True)]),
    ]
    write_report(out / REPORT, "What longer windows buy in telling species", sections)


_TOOK = ("tokens", "seconds", "peak_memory", "device")


def _draw(done: dict[str, dict[str, Any]], path: Path) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    own = [(parse_size(name), one["lengths"].get(str(parse_size(name)))) for name, one in done.items()]
    points = [(length, row) for length, row in own if row]
    if points:
        lengths = [length for length, _ in points]
        values = [row["accuracy"] for _, row in points]
        bars = [
            [row["accuracy"] - row["interval"][0] for _, row in points],
            [row["interval"][1] - row["accuracy"] for _, row in points],
        ]
        axes.errorbar(lengths, values, yerr=bars, marker="o", capsize=3, label="trained and read at this length")
        kmers = [(length, row["kmer_accuracy"]) for length, row in points if row["kmer_accuracy"] is not None]
        if kmers:
            axes.plot(*zip(*kmers, strict=True), "--", marker="s", ms=4, label="k-mers")
    bound = {int(n): value for n, value in next(iter(done.values()))["bound"].items()}
    if bound:
        axes.plot(list(bound), list(bound.values()), ":", color="0.3", label="the best there can be (simulated)")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="bases", ylabel="right calls")
    axes.legend(fontsize=8)
    save_picture(figure, path)
