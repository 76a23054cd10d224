"""One HTML file for people to look at: headings, text, tables and pictures inside it, readable without a network."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dnamamba.files import write_whole

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}th,td{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}th{border-bottom:2px solid #888}img{max-width:100%}
figcaption,caption{color:#666;text-align:left;padding:.3em 0}pre{background:#f5f5f5;padding:.6em;overflow-x:auto}"""


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` keeps its line breaks, for commands and configurations."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table; cells are printed with `str`, so the caller chooses the digits."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG file, taken into the report."""

    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Text | Table | Picture]


def write_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write a report. The same contents give the same bytes: no date is inside.

    Args:
        path: the HTML file; it is there whole or not at all.
        title: of the page.
        sections: in the order they are read.
    """
    body = "\n".join(
        f"<h2>{html.escape(section.title)}</h2>\n" + "\n".join(map(_part, section.parts)) for section in sections
    )
    escaped = html.escape(title)
    write_whole(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escaped}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escaped}</h1>\n{body}\n</body></html>\n",
    )


def _part(part: Text | Table | Picture) -> str:
    if isinstance(part, Text):
        tag = "pre" if part.code else "p"
        return f"<{tag}>{html.escape(part.text)}</{tag}>"
    if isinstance(part, Picture):
        data = base64.b64encode(part.path.read_bytes()).decode()
        caption = html.escape(part.caption)
        return (
            f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in part.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in part.rows
    )
    caption = f"<caption>{html.escape(part.caption)}</caption>" if part.caption else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
