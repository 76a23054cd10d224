"""Foreign model directories, both ways, and `dnamamba convert`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from dnamamba.convert.configs import ALPHABET_KEY, Style, foreign_config, read_foreign_config, style_of
from dnamamba.convert.vocabulary import in_dna_order, parse_tokens
from dnamamba.errors import InputError, UsageError
from dnamamba.files import folder_beside, sync
from dnamamba.letters import vocabulary_of
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model.config import ALPHABET_SIZE
from dnamamba.model_directory import find_model, load, read_record, save
from dnamamba.pipelines.alphabet import ALPHABETS

CONFIG, SAFE, PICKLED = "config.json", "model.safetensors", "pytorch_model.bin"
OURS, THEIRS, HEAD = "backbone.embedding.weight", "backbone.embeddings.weight", "lm_head.weight"


def convert(
    source: Path, target: Path, to: Style | None = None, *, alphabet: str | None = None, tokens: str | None = None
) -> str:
    """Write a model for others, or theirs for us.

    Args:
        source: a model directory of ours, of transformers or of mamba-ssm.
        target: a folder that is not there yet.
        to: who shall read it; None: we, or transformers where the model is ours.
        alphabet: of a foreign model whose tokens are in our order: "dna" or "bytes".
        tokens: the row of each letter of DNA in a foreign model, as `parse_tokens` reads it.

    Returns:
        One line that says what was written.

    Raises:
        InputError: a source that is no such model or is damaged, one that the target cannot hold, or a target that is
            there.
    """
    if target.exists():
        raise InputError(f"{target}: is there already; want a new folder")
    source = find_model(source)
    style = style_of(_read_config(source), source / CONFIG)
    if style == "dnamamba":
        if alphabet or tokens:
            raise InputError(f"{source}: a model of ours knows its alphabet; leave --alphabet and --tokens out")
        model, extra = load(source), read_record(source).extra
    else:
        model, extra = read_foreign(source, alphabet=alphabet, tokens=tokens), {"converted_from": style}
    to = to or ("huggingface" if style == "dnamamba" else "dnamamba")
    if to == "dnamamba":
        save(model, target, extra)
    else:
        write_foreign(model, target, to)
    parameters = sum(p.numel() for p in model.parameters())
    return f"{target}: {parameters:,} parameters, {model.config.vocab_size} tokens, from {style} for {to}"


def read_foreign(
    path: Path, *, alphabet: str | None = None, tokens: str | None = None, device: torch.device | str = "cpu"
) -> MambaLM:
    """The model of a directory of transformers or mamba-ssm, in float32.

    Raises:
        InputError: as `convert`.
    """
    path = find_model(path)
    file = path / CONFIG
    data = _read_config(path)
    style = style_of(data, file)
    shape, written = read_foreign_config(data, style, file)
    weights = {name.replace(THEIRS, OURS): tensor for name, tensor in _read_weights(path).items()}
    if OURS not in weights:
        raise InputError(f"{path}: its weights hold no {THEIRS if style == 'huggingface' else OURS!r}")
    head = weights.pop(HEAD, None)
    if head is not None and not torch.equal(head, weights[OURS]):
        raise InputError(f"{path}: its head is not its embedding (untied); our models have one matrix for both")
    rows = None if tokens is None else parse_tokens(tokens)
    if rows is not None:
        alphabet, weights[OURS] = "dna", in_dna_order(weights[OURS], rows)
    alphabet = alphabet or written
    if alphabet is None:
        raise InputError(
            f"{path}: which of its {len(weights[OURS])} tokens are A, C, G and T? Give `dnamamba convert` --tokens "
            "A=..,C=..,G=..,T=..,N=..,^=.., or --alphabet dna or bytes where they stand in our order"
        )
    if alphabet not in ALPHABET_SIZE:
        raise UsageError(f"--alphabet: want one of {', '.join(ALPHABET_SIZE)}, got {alphabet!r}")
    try:
        config = ModelConfig(**shape, vocab_size=len(weights[OURS]), alphabet=alphabet)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return _built(config, weights, path).to(device)


def write_foreign(model: MambaLM, path: Path, style: Style) -> None:
    """Write a directory for transformers or mamba-ssm, which appears by one rename.

    Raises:
        InputError: a model that they do not have.
    """
    config = {**foreign_config(model.config, style), ALPHABET_KEY: model.config.alphabet}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with folder_beside(path) as aside:
        if style == "huggingface":
            renamed = {name.replace(OURS, THEIRS): tensor for name, tensor in weights.items()}
            safetensors.torch.save_file(renamed, aside / SAFE, {"format": "pt"})
        else:  # mamba-ssm reads nothing else; a pickle of plain tensors
            torch.save({**weights, HEAD: weights[OURS].clone()}, aside / PICKLED)
        (aside / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        for file in aside.iterdir():
            sync(file)
        os.rename(aside, path)
    sync(path.parent)


def _read_config(path: Path) -> Any:
    if not (path / CONFIG).is_file():
        raise InputError(f"{path / CONFIG}: missing; want a model directory")
    try:
        return json.loads((path / CONFIG).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path / CONFIG}: not JSON: {error}") from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor in float32. A pickle is read as plain tensors or not at all: nothing in it is run."""
    file = path / (SAFE if (path / SAFE).exists() else PICKLED)
    if not file.exists():
        raise InputError(f"{path}: holds neither {SAFE} nor {PICKLED}; weights in several files are not read")
    try:
        if file.name == SAFE:
            tensors = safetensors.torch.load(file.read_bytes())
        else:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, KeyError, ValueError, RuntimeError, EOFError, OSError, UnpicklingError) as error:
        raise InputError(f"{file}: damaged, cut short or no plain weights: {str(error).splitlines()[0]}") from None
    if not isinstance(tensors, dict) or not all(isinstance(one, Tensor) for one in tensors.values()):
        raise InputError(f"{file}: want a mapping of names to tensors")
    return {str(name): tensor.float() for name, tensor in tensors.items()}


def _built(config: ModelConfig, weights: Mapping[str, Tensor], path: Path) -> MambaLM:
    if config.n_layers > len(weights):  # before anything is built to the config's claims
        raise InputError(f"{path}: {len(weights)} tensors for the {config.n_layers} blocks that {CONFIG} says")
    with torch.device("meta"):
        model = MambaLM(config)
    wanted = model.state_dict()
    for name in sorted({*weights, *wanted}):  # a file's order is not fixed: the same one is named every time
        if name not in wanted or name not in weights:
            raise InputError(f"{path}: tensor {name!r} " + ("is missing" if name in wanted else "does not belong"))
        if weights[name].shape != wanted[name].shape:
            raise InputError(
                f"{path}: tensor {name!r} is {list(weights[name].shape)}; {CONFIG} wants {list(wanted[name].shape)}"
            )
        if not weights[name].isfinite().all():
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinity")
    model.load_state_dict({name: tensor.clone() for name, tensor in weights.items()}, assign=True)
    model.vocabulary = vocabulary_of(ALPHABETS[config.alphabet])
    return model.eval()
