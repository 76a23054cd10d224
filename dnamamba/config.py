"""From YAML and `key.path=value` to frozen dataclasses, and back. Every complaint names its key."""

import dataclasses
import json
import re
import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from dnamamba.errors import InputError, UsageError, usage

T = TypeVar("T")

NULL = "null"
"""Key of a field's metadata: what a null in YAML stands for, where the field itself cannot hold None."""

_SIZE_SUFFIX = {"": 0, "k": 10, "m": 20, "g": 30}


def parse_size(text: str | int, key: str = "size") -> int:
    """Read a size in bases or tokens; suffixes are powers of two, as everywhere on the command line.

    Args:
        text: 4096, "4096", "4_096", "1k" (2**10), "16k" (2**14), "1M" (2**20) or "2^20".
        key: what the error message calls it: the key of a file, or "--option" of the command line.

    Raises:
        InputError: anything else, or a negative number; of an option a UsageError.
    """
    power = re.fullmatch(r"2(?:\^|\*\*)(\d{1,2})", str(text).strip())
    if power:
        return 1 << int(power[1])
    match = re.fullmatch(r"(\d[\d_,]*)([kKmMgG]?)", str(text).strip())
    if match is None or isinstance(text, bool):
        kind = UsageError if key.startswith("--") else InputError
        raise kind(f"{key}: want a size such as 4096, 16k (= 2^14) or 1M (= 2^20), got {text!r}")
    return int(re.sub("[_,]", "", match[1])) << _SIZE_SUFFIX[match[2].lower()]


def format_size(value: int) -> str:
    """The shortest exact spelling of a size: 16384 is "16k", 1000 is "1000"."""
    for suffix, bits in (("M", 20), ("k", 10)):
        if value and value % (1 << bits) == 0:
            return f"{value >> bits}{suffix}"
    return str(value)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError when it is none."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: want a JSON object, got a {type(data).__name__}")
    return data


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises InputError with file and line when it is none."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{path}, line {line}: not YAML: {error.problem}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a YAML text file: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: want 'key: value' lines, got a {type(data).__name__}")
    return data


def read_based(path: Path) -> dict[str, Any]:
    """Read a YAML mapping and lay it over the one that its key `base` names, a file beside it, if there is such a key.

    Raises:
        InputError: as read_yaml, a base that is not there, or one that is based on itself.
    """
    data, seen = read_yaml(path), [path.resolve()]
    while "base" in data:
        file = seen[-1].parent / str(data.pop("base"))
        if not file.is_file():
            raise InputError(f"{seen[-1]}: base: there is no {file}")
        if file.resolve() in seen:
            raise InputError(f"{path}: base: {file.name} is based on itself")
        seen.append(file.resolve())
        data = _laid_over(data, read_yaml(file))
    return data


def _laid_over(data: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in data.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = _laid_over(value, below) if both else value  # type: ignore[arg-type]
    return merged


def with_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Lay `key.path=value` texts over a nested mapping; the value is read as YAML. Returns a new mapping."""
    merged: dict[str, Any] = {key: dict(value) if isinstance(value, Mapping) else value for key, value in data.items()}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{text!r}: want key.path=value, for example optimiser.lr=0.002")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"{key}: {value!r} is not a YAML value") from None
        *parents, last = key.strip().split(".")
        here = merged
        for parent in parents:
            below = here.get(parent)
            if below is not None and not isinstance(below, Mapping):
                raise InputError(f"{key}: {parent!r} holds {below!r} and has no keys below it")
            here[parent] = dict(below or {})
            here = here[parent]
        here[last] = read
    return merged


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build a dataclass from plain data, nested dataclasses and tuples of them included.

    Args:
        cls: the dataclass. Fields may be int (sizes such as "16k" are read), float, bool, str, Path, Literal, X | None,
            tuple[X, ...], dict[str, X] and other dataclasses.
        data: one entry a field; fields with a default may be missing.
        where: path of `data` inside the whole configuration, for messages.

    Raises:
        InputError: an unknown key (the nearest known one is named), a missing one, or a value of the wrong kind.
    """
    prefix = f"{where}." if where else ""
    if not isinstance(data, Mapping):
        raise InputError(f"{where or cls.__name__}: want 'key: value' lines, got {data!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            near = get_close_matches(str(key), fields, n=1, cutoff=0.5)
            known = f"is {prefix}{near[0]} meant?" if near else f"known here: {', '.join(fields)}"
            raise InputError(f"{prefix}{key}: unknown key; {known}")
    hints = get_type_hints(cls)
    data = {key: fields[key].metadata.get(NULL) if value is None else value for key, value in data.items()}
    values = {key: _convert(hints[key], value, f"{prefix}{key}") for key, value in data.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise InputError(f"{prefix}{name}: missing; it has no default")
    return cls(**values)


def read_config_file(cls: type[T], file: Path, overrides: Sequence[str]) -> T:
    """Build a dataclass from a YAML file, laid over its base, under `key.path=value` texts.

    Raises:
        InputError: what the file says will not do.
        UsageError: what only the overrides say.
    """
    data = read_based(file)
    with usage():
        changed = with_overrides(data, overrides)
    return from_layers(cls, data, changed, file)


def from_layers(
    cls: type[T], below: Mapping[str, Any], above: Mapping[str, Any], file: Path | None, where: str = ""
) -> T:
    """Build a dataclass from a file's data that were changed by what the command line says.

    Args:
        cls, where: as of from_dict.
        below: what the file says alone.
        above: the same under what the command line says.
        file: for messages.

    Raises:
        InputError: what the file says will not do.
        UsageError: it would do without what the command line says.
    """
    try:
        return from_dict(cls, above, where)
    except InputError as error:
        try:
            from_dict(cls, below, where)
        except InputError:
            raise InputError(f"{file}: {error}") from None
        raise UsageError(str(error)) from None


def to_dict(config: Any) -> Any:
    """The inverse of `from_dict`: plain data that YAML and JSON can hold."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def _convert(kind: Any, value: Any, key: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, key)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{key}: want one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{key}: want a list, got {value!r}")
        return tuple(_convert(arguments[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{key}: want 'key: value' lines, got {value!r}")
        return {str(name): _convert(arguments[1], item, f"{key}.{name}") for name, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, cast(type, kind)) else from_dict(cast(type, kind), value, key)
    return _convert_scalar(kind, value, key)


def _convert_union(arguments: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    kinds = [kind for kind in arguments if kind is not types.NoneType]
    for kind in kinds[:-1]:
        try:
            return _convert(kind, value, key)
        except InputError:
            continue
    return _convert(kinds[-1], value, key)


def _convert_scalar(kind: Any, value: Any, key: str) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise InputError(f"{key}: want true or false, got {value!r}")
    if kind is int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return value if isinstance(value, int) else parse_size(value, key)
        raise InputError(f"{key}: want a whole number, got {value!r}")
    if kind is float:
        try:  # text too: YAML reads 1e-3 as text, since it has no point
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError):
            pass
        raise InputError(f"{key}: want a number, got {value!r}")
    if kind in (str, Path):
        if isinstance(value, str | Path | int | float) and not isinstance(value, bool):
            return kind(str(value))
        raise InputError(f"{key}: want text, got {value!r}")
    return value
