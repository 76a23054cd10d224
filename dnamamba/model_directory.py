"""The model directory, `config.json` and `model.safetensors`: written whole or not at all, all checked when read.

    MODEL/config.json          format and its version, package version, kind, model config, alphabet, digest of the
                               weights, and whatever the maker adds under `extra` (training config, stores, splits)
    MODEL/model.safetensors    every parameter, float32, under the names of the module's `state_dict()`

The kind is a language model (`save`, `load`) or one with a head on it (`save_module`, `load_module`; the head's own
config stands under `head`).

The same weights and extra give the same bytes: no time, no host and no path is written.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dnamamba import __version__
from dnamamba.config import from_dict, to_dict
from dnamamba.errors import InputError
from dnamamba.files import folder_beside, sync
from dnamamba.hub import fetch_model, is_hub_id
from dnamamba.letters import vocabulary_of
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.pipelines.alphabet import ALPHABETS

FORMAT = "dnamamba-model"
FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_MAX_CONFIG_BYTES = 2**28  # splits of ten thousand contigs are a few MB
LANGUAGE_MODEL = "language model"
LOADERS = {LANGUAGE_MODEL: "dnamamba.load", "species classifier": "dnamamba.load_classifier"}
"""Kind -> what loads it, for messages."""

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What `config.json` says."""

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    package_version: str = __version__
    """Version of dnamamba that wrote the directory."""
    kind: str = LANGUAGE_MODEL
    """What the weights are; says which loader they want."""
    model: ModelConfig
    head: dict[str, Any] = field(default_factory=dict)
    """Config of what stands on the language model; plain data, empty where nothing does."""
    alphabet: dict[str, Any]
    """The tokens' meaning, spelled out: a reader with other tables must not guess."""
    weights_sha256: str
    """Of the file `model.safetensors`: the two files belong together."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the maker of the model adds; plain data."""


def save(
    model: MambaLM, path: str | os.PathLike[str], extra: Mapping[str, Any] | None = None, *, overwrite: bool = False
) -> Path:
    """Write a model directory.

    A new directory appears by one rename, with both files in it. In a directory that is there already (a run's own)
    each file appears by one rename, config last: until then nothing there passes for a model.

    Args:
        model: its parameters must be float32 and finite.
        path: the directory; its parents are made.
        extra: plain data (or dataclasses) to keep beside the weights.
        overwrite: replace the model that is there. Without it a model is never replaced.

    Returns:
        The directory.

    Raises:
        InputError: a model is there already, `path` is a file, `extra` is no plain data, or a weight is not finite.
    """
    return save_module(model, model.config, path, extra, overwrite=overwrite)


def save_module(
    module: nn.Module,
    config: ModelConfig,
    path: str | os.PathLike[str],
    extra: Mapping[str, Any] | None = None,
    *,
    kind: str = LANGUAGE_MODEL,
    head: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """As `save`, of a language model with something on it.

    Args:
        module: every parameter of it is written.
        config: of the language model inside.
        kind: one of `LOADERS`.
        head: config of what stands on the language model, plain data.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; want a directory to save the model in")
    if not overwrite and any((path / name).exists() for name in (CONFIG, WEIGHTS)):
        raise InputError(f"{path}: holds a model already; choose another directory or pass overwrite=True")
    weights = _weights_bytes(module, path)
    record = ModelRecord(
        kind=kind,
        model=config,
        head=to_dict(dict(head or {})),
        alphabet=_alphabet_table(config.alphabet),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        extra=to_dict(dict(extra or {})),
    )
    try:
        text = json.dumps(to_dict(record), indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: `extra` is no plain data that JSON can hold: {error}") from None
    with folder_beside(path) as aside:
        for name, data in ((WEIGHTS, weights), (CONFIG, text)):
            _write(aside / name, data)
        if path.exists():
            for name in (WEIGHTS, CONFIG):  # a kill between the two is found by the digest
                os.replace(aside / name, path / name)
        else:
            os.rename(aside, path)
    sync(path)
    sync(path.parent)
    return path


def load(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> MambaLM:
    """Read a model directory.

    Args:
        path: a model directory, or a run's directory with the model in its `model/`; or one of transformers or
            mamba-ssm that `dnamamba convert` wrote, since it says its alphabet; or OWNER/NAME, such a one on the
            Hugging Face Hub.
        device: where the weights go.

    Returns:
        The model in eval mode, its alphabet attached: `log_likelihood` takes letters.

    Raises:
        InputError: no such directory, a foreign or newer one, or any damage: one line that says which file and what.
    """
    path = find_model(path)
    if _is_foreign(path):
        from dnamamba.convert.directory import read_foreign  # here: it builds on this module

        return read_foreign(path, device=device)
    model = load_module(path, LANGUAGE_MODEL, lambda record: MambaLM(record.model), device=device)
    model.vocabulary = vocabulary_of(ALPHABETS[model.config.alphabet])
    return model


def load_module(
    path: str | os.PathLike[str],
    kind: str,
    build: Callable[[ModelRecord], Module],
    *,
    device: torch.device | str = "cpu",
) -> Module:
    """As `load`, of any kind.

    Args:
        kind: the one that is wanted.
        build: makes the module of a record; it is called on torch's meta device, where weights take no room.
    """
    path = find_model(path)
    record = read_record(path)
    if record.kind != kind:
        loader = LOADERS.get(record.kind)
        hint = f"; {loader} reads it" if loader else ""
        raise InputError(f"{path}: holds a {record.kind}, and a {kind} is wanted{hint}")
    file = path / WEIGHTS
    data = _read(file, limit=None)
    try:
        # A file gives its tensors in any order; of several faults the same one is to be told every time.
        tensors = dict(sorted(safetensors.torch.load(data).items()))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{file}: {len(data):,} bytes, damaged, cut short or no safetensors: {error}") from None
    if record.model.n_layers > len(tensors):  # before anything is built to the config's claims
        raise InputError(f"{file}: {len(tensors)} tensors for the {record.model.n_layers} blocks that {CONFIG} says")
    with torch.device("meta"):  # shapes alone: nothing is drawn only to be thrown away
        model = build(record)
    _check(tensors, model.state_dict(), file)
    if hashlib.sha256(data).hexdigest() != record.weights_sha256:
        raise InputError(f"{file}: not the weights that {CONFIG} was written with (sha256 differs): damaged or mixed")
    _check_finite(tensors, file)
    # Clones: torch aligns its own memory, so that the same weights give the same bits wherever they came from.
    model.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return model.to(device).eval()


def read_record(path: str | os.PathLike[str]) -> ModelRecord:
    """Read what a model directory says of itself, `extra` included, without its weights.

    Raises:
        InputError: as `load`.
    """
    file = find_model(path) / CONFIG
    text = _read(file, limit=_MAX_CONFIG_BYTES)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        kind = data.get("model_type") or data.get("format") if isinstance(data, dict) else None
        says = f"it says {kind!r}" if kind else f"it has no format {FORMAT!r}"
        raise InputError(f"{file}: not of a dnamamba model; {says}")
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{file}: format version {version!r}, written by dnamamba {data.get('package_version')}; "
            f"this is dnamamba {__version__}, which reads version {FORMAT_VERSION}"
        )
    try:
        record = from_dict(ModelRecord, data)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    if record.alphabet != _alphabet_table(record.model.alphabet):
        raise InputError(f"{file}: its alphabet {record.model.alphabet!r} has other tokens than this version's")
    return record


def _is_foreign(path: Path) -> bool:
    """Whether another library wrote a Mamba there; anything odd is for the reader of ours to say."""
    try:
        data = json.loads((path / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "format" not in data and (data.get("model_type") == "mamba" or "ssm_cfg" in data)


def find_model(path: str | os.PathLike[str]) -> Path:
    """The folder that holds the files of a model: `path`, its `model/`, or a download of the Hub's OWNER/NAME.

    Raises:
        InputError: there is none, or it is a file.
    """
    path = Path(path)
    if not path.exists():
        if not is_hub_id(path):
            raise InputError(f"{path}: no such model directory")
        path = fetch_model(str(path))
    if not path.is_dir():
        raise InputError(f"{path}: is a file; want a model directory ({CONFIG} and {WEIGHTS})")
    if not (path / CONFIG).exists() and (path / "model" / CONFIG).exists():
        return path / "model"
    return path


def _read(file: Path, limit: int | None) -> bytes:
    if not file.is_file():
        raise InputError(f"{file}: missing; a model directory holds {CONFIG} and {WEIGHTS}")
    if limit is not None and file.stat().st_size > limit:
        raise InputError(f"{file}: {file.stat().st_size:,} bytes; want at most {limit:,}")
    return file.read_bytes()


def _weights_bytes(model: nn.Module, path: Path) -> bytes:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise InputError(f"{path}: {name} is {tensor.dtype}; a model directory holds float32")
    _check_finite(tensors, path)
    return safetensors.torch.save(tensors, {"format": "pt"})


def weights_digest(model: MambaLM) -> str:
    """SHA-256 of the weights: `weights_sha256` of the directory that `save` would write.

    Raises:
        InputError: a weight is not float32 or not finite.
    """
    return hashlib.sha256(_weights_bytes(model, Path("the model"))).hexdigest()


def _check(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: Path) -> None:
    """Names, shapes and dtypes; the first difference is told."""
    for name in tensors:
        if name not in wanted:
            near = get_close_matches(name, wanted, n=1)
            raise InputError(f"{file}: unknown tensor {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
    for name, want in wanted.items():
        if name not in tensors:
            raise InputError(f"{file}: tensor {name!r} is missing")
        got = tensors[name]
        if got.shape != want.shape:
            raise InputError(f"{file}: tensor {name!r} is {list(got.shape)}; {CONFIG} wants {list(want.shape)}")
        if got.dtype != torch.float32:
            raise InputError(f"{file}: tensor {name!r} is {got.dtype}; want torch.float32")


def _check_finite(tensors: Mapping[str, Tensor], where: Path) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{where}: tensor {name!r} holds NaN or infinity; the training diverged")


def _alphabet_table(name: str) -> dict[str, Any]:
    alphabet = ALPHABETS[name]
    letters = bytes(alphabet.letters).decode("latin-1")
    return {"name": name, "size": alphabet.size, "letters": letters, "start": alphabet.start}


def _write(file: Path, data: bytes) -> None:
    with open(file, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
