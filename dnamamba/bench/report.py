"""Tables of what was measured, for the terminal and for the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dnamamba.bench.figure import length_of
from dnamamba.bench.results import Result
from dnamamba.config import format_size
from dnamamba.html_report import Picture, Section, Table, Text, write_report
from dnamamba.pipelines.text_table import aligned

Grid = tuple[list[str], list[list[str]]]
"""Header and rows."""


def length_table(results: Sequence[Result], metric: str) -> Grid:
    """Milliseconds by length; "-" where a contender had stopped."""
    rows = [row for row in results if row.metric == metric]
    names = list(dict.fromkeys(name for row in rows for name in (*row.rivals, *row.notes) if name != "scan"))
    header = ["length", "scan", *names, "scan's limit", "which is"]
    body = [
        [format_size(length_of(row)), _number(row.ours), *(_number(row.rivals.get(name)) for name in names),
         _number(row.limit), row.limit_is or "-"]
        for row in rows
    ]  # fmt: skip
    return header, body


def stops(results: Sequence[Result], metric: str) -> list[str]:
    """Why contenders stopped, a line each."""
    found: dict[str, str] = {}
    for row in results:
        if row.metric == metric:
            found |= dict(row.notes)
    return [f"{name} stopped: {why}" for name, why in found.items()]


def training_table(results: Sequence[Result]) -> Grid:
    """Tokens a second and bytes a token, a row a case."""
    rates = {row.case: row for row in results if row.metric == "tokens_per_s"}
    sizes = {row.case: row.ours for row in results if row.metric == "bytes_per_token"}
    body = []
    for case, row in rates.items():
        model, windows, *mode = case.split()
        batch, context = windows.split("x")
        rate = row.notes.get("ours", "-") if row.ours is None else f"{row.ours:,.0f}"
        size = sizes.get(case)
        body.append([model, format_size(int(context)), batch, mode[0] if mode else "fast", rate,
                     "-" if size is None else f"{size:,.0f}"])  # fmt: skip
    return ["model", "context", "windows", "memory", "tokens/s", "bytes a token"], body


def decoding_table(results: Sequence[Result]) -> Grid:
    """Tokens a second by batch."""
    names = list(dict.fromkeys(name for row in results for name in row.rivals))
    body = []
    for row in results:
        model, batch, _ = row.case.split()
        rates = [row.ours, *(row.rivals.get(name) for name in names), row.limit]
        body.append([model, batch, *("-" if rate is None else f"{rate:,.0f}" for rate in rates)])
    return ["model", "batch", "Decoder", *names, "limit by bytes"], body


def as_text(grid: Grid) -> str:
    """Columns side by side, the first to the left, the rest to the right."""
    header, body = grid
    return "\n".join(aligned([header, *body]))


SCAN_WORDS = {
    "forward_ms": "Scan by length, forward, ms",
    "forward_backward_ms": "Scan by length, forward + backward, ms",
}


def tables(results: Sequence[Result]) -> list[tuple[str, Grid, list[str]]]:
    """Title, table and remarks of every part that was measured."""
    found: list[tuple[str, Grid, list[str]]] = []
    scans = [row for row in results if row.bench == "selective_scan"]
    if scans:
        found += [(words, length_table(scans, key), stops(scans, key)) for key, words in SCAN_WORDS.items()]
    training = [row for row in results if row.bench == "train_step"]
    if training:
        found.append(("Training, one optimiser step", training_table(training), []))
    decoding = [row for row in results if row.bench == "decode"]
    if decoding:
        found.append(("Decoding, tokens a second of all sequences together", decoding_table(decoding), []))
    return found


def report_text(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """All tables for a terminal, the machine first."""
    parts = [", ".join(f"{key} {value}" for key, value in machine.items())]
    for title, grid, remarks in tables(results):
        parts.append("\n".join([title, as_text(grid), *remarks]))
    return "\n\n".join(parts)


def write_html(
    path: Path, results: Sequence[Result], machine: Mapping[str, str], settings: str, pictures: Mapping[str, Path]
) -> None:
    """One page with all tables and pictures.

    Args:
        path: of the page.
        results: of all parts.
        machine: what they were measured on.
        settings: what was measured, in words.
        pictures: caption -> PNG.
    """
    sections = [
        Section("Machine", [Table(["", ""], list(machine.items())), Text(settings)]),
        Section("Figures", [Picture(file, caption) for caption, file in pictures.items()]),
    ]
    for title, (header, body), remarks in tables(results):
        sections.append(Section(title, [Table(header, body), *map(Text, remarks)]))
    write_report(path, "dnamamba bench", sections)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"
