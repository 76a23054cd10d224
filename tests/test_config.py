"""Configs: YAML and overrides into dataclasses, and the one-line complaints."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from dnamamba.config import format_size, from_dict, parse_size, read_based, read_yaml, to_dict, with_overrides
from dnamamba.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Stage:
    context: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Whole:
    stages: tuple[Stage, ...] = (Stage(context=8),)
    mode: Literal["raw", "packed"] = "raw"
    depth: int | None = None
    fold: bool = True
    out: Path = Path("runs")
    weights: dict[str, float] = field(default_factory=dict)


@pytest.mark.parametrize(
    "text, value", [("1k", 1024), ("16K", 16384), ("1M", 2**20), ("2^20", 2**20), ("1_000", 1000), (7, 7), ("2**3", 8)]
)
def test_sizes_are_powers_of_two(text, value):
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "1kb", "0x10", True])
def test_other_sizes_are_refused(text):
    with pytest.raises(InputError, match="context: want a size such as"):
        parse_size(text, "context")


@pytest.mark.parametrize("value", [0, 1, 1000, 1024, 16384, 3 * 2**20])
def test_sizes_are_spelt_so_that_they_read_back(value):
    assert parse_size(format_size(value)) == value


def test_round_trip_through_plain_data():
    whole = Whole(stages=(Stage(context=4, share=0.5), Stage(context=8, share=0.5)), depth=3, weights={"a": 2.0})
    assert from_dict(Whole, to_dict(whole)) == whole


def test_overrides_reach_nested_keys_and_leave_the_source_alone():
    data = {"weights": {"a": 1}}
    merged = with_overrides(data, ["weights.b=2", "stages=[{context: 1k, share: 1e-3}]", "fold=false"])
    whole = from_dict(Whole, merged)
    assert whole.weights == {"a": 1.0, "b": 2.0}
    assert whole.stages == (Stage(context=1024, share=0.001),)
    assert not whole.fold
    assert data == {"weights": {"a": 1}}


@pytest.mark.parametrize(
    "override, message",
    [
        ("stagse=1", r"stagse: unknown key; is stages meant\?"),
        ("zzz=1", "zzz: unknown key; known here: stages, mode"),
        ("stages=3", "stages: want a list, got 3"),
        ("stages=[{contxt: 3}]", r"stages\[0\].contxt: unknown key; is stages\[0\].context meant\?"),
        ("stages=[{share: 3}]", r"stages\[0\].context: missing"),
        ("mode=zip", "mode: want one of raw, packed, got 'zip'"),
        ("depth=deep", "depth: want a size"),
        ("depth=1.5", "depth: want a whole number, got 1.5"),
        ("fold=1", "fold: want true or false, got 1"),
        ("weights.a=x", "weights.a: want a number, got 'x'"),
        ("mode", "want key.path=value"),
        ("mode.deep.er=1", "'mode' holds 'raw' and has no keys below it"),
    ],
)
def test_a_bad_key_or_value_is_one_line_naming_the_key(override, message):
    with pytest.raises(InputError, match=message) as caught:
        from_dict(Whole, with_overrides({"mode": "raw"}, [override]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text, message", [("a: [1", "line [12]: not YAML"), ("- 1", "want 'key: value'")])
def test_a_bad_yaml_file_names_file_and_line(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_file_is_laid_over_its_base(tmp_path):
    (tmp_path / "low.yaml").write_text("a: 1\nb: {c: 2, d: 3}\ne: [1, 2]\n")
    (tmp_path / "middle.yaml").write_text("base: low.yaml\nb: {d: 4}\n")
    (tmp_path / "high.yaml").write_text("base: middle.yaml\ne: [3]\nb: {f: {g: 5}}\n")
    assert read_based(tmp_path / "high.yaml") == {"a": 1, "b": {"c": 2, "d": 4, "f": {"g": 5}}, "e": [3]}
    assert read_based(tmp_path / "low.yaml") == {"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]}


def test_a_base_that_cannot_be_is_said(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    with pytest.raises(InputError, match=r"a\.yaml: base: there is no .*b\.yaml"):
        read_based(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(InputError, match=r"base: a\.yaml is based on itself"):
        read_based(tmp_path / "a.yaml")
