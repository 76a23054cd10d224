"""The split's section of a config file under the options of a command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamamba.config import from_layers, read_based
from dnamamba.errors import InputError, UsageError
from dnamamba.pipelines.splits import SplitConfig

_IMPLIED = {
    "valid": "contig",
    "test": "contig",
    "bed": "bed",
    "valid_fraction": "fraction",
    "test_fraction": "fraction",
    "margin": "fraction",
}
"""Option -> the method that alone reads it."""


def read_split(file: Path | None, options: Mapping[str, Any], preset: bool = False) -> SplitConfig:
    """Lay options over the `split:` section of a file.

    Args:
        file: YAML; other sections are not looked at. None: the defaults.
        options: keys of SplitConfig; None and () are not given. Without `method` it is the one they belong to.
        preset: a published split is asked for, which brings its own method.

    Raises:
        InputError: no such file or section, an unknown key, a bad value, or options of two methods.
    """
    given = {key: value for key, value in options.items() if value is not None and value != ()}
    if preset and given:
        raise UsageError(f"--{_dashed(next(iter(given)))}: a preset brings its own; give one or the other")
    section: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise InputError(f"{file}: no such file; want YAML with a `split:` section")
        section = dict(read_based(file).get("split") or {})
        if not section:
            raise InputError(f"{file}: has no `split:` section")
    if "method" not in given and given:
        given["method"] = _IMPLIED[next(iter(given))]
    for key in given:
        if key != "method" and _IMPLIED[key] != given["method"]:
            raise UsageError(
                f"--{_dashed(key)}: belongs to method {_IMPLIED[key]}, and the method is {given['method']}"
            )
    if preset:  # what the file holds out is replaced, and its homologs count
        section = {key: section[key] for key in ("homologs",) if key in section}
    return from_layers(SplitConfig, section, {**section, **given}, file, "split")


def _dashed(key: str) -> str:
    return key.replace("_", "-")
