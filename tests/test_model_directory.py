"""The model directory: what is saved comes back bit for bit; damage of any kind is one line that names the file."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
from random_models import random_model, random_tokens

import dnamamba
from dnamamba import model_directory
from dnamamba.errors import InputError
from dnamamba.model_directory import load, read_record, save

NORM = "backbone.layers.1.norm.weight"


@pytest.fixture(scope="module")
def model():
    return random_model(d_model=16, n_layers=2)


@pytest.fixture
def saved(model, tmp_path):
    return save(model, tmp_path / "demo", {"seed": 1})


def _edit_config(path, **changes):
    data = json.loads((path / "config.json").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        here = data
        for parent in parents:
            here = here[parent]
        here[last] = value
    (path / "config.json").write_text(json.dumps(data))


def _edit_weights(path, change):
    tensors = safetensors.torch.load_file(path / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, path / "model.safetensors")


def _refusal(path):
    with pytest.raises(InputError) as error:
        load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@torch.no_grad()
def test_round_trip_bit_for_bit(model, saved):
    back = load(saved)
    assert back.config == model.config
    assert not back.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))
    assert all(p.requires_grad for p in back.parameters())
    tokens = random_tokens(1, 20)
    assert torch.equal(back(tokens)[0], model(tokens)[0])
    assert back.log_likelihood("ACGTN").count == 4
    assert sorted(os.listdir(saved)) == ["config.json", "model.safetensors"]
    assert os.listdir(saved.parent) == ["demo"]


def test_the_package_loads_it_by_its_first_name(saved):
    assert dnamamba.load(saved).config.d_model == 16


def test_a_run_directory_stands_for_its_model(saved, tmp_path):
    assert load(tmp_path / "demo").config == load(shutil.copytree(saved, tmp_path / "run" / "model").parent).config


@dataclass(frozen=True)
class _Section:
    store: Path
    shares: tuple[float, ...]


def test_extra_is_kept(model, tmp_path):
    extra = {"data": _Section(Path("a.zarr"), (0.5, 0.5)), "splits": {"train": [["hg38", "chr1", 0, 10]]}, "none": None}
    record = read_record(save(model, tmp_path / "m", extra))
    assert record.extra == {
        "data": {"store": "a.zarr", "shares": [0.5, 0.5]},
        "splits": {"train": [["hg38", "chr1", 0, 10]]},
        "none": None,
    }
    assert record.package_version == dnamamba.__version__
    assert record.alphabet["letters"] == "ACGTNRYSWKMBDHV^"


def test_the_same_weights_give_the_same_bytes(model, saved, tmp_path):
    again = save(load(saved), tmp_path / "elsewhere", {"seed": 1})
    for name in ("config.json", "model.safetensors"):
        assert (saved / name).read_bytes() == (again / name).read_bytes()


def test_saving_refuses_to_replace_unless_told(model, saved):
    with pytest.raises(InputError, match=r"demo: holds a model already; .*overwrite=True"):
        save(model, saved)
    other = random_model(seed=9, d_model=16, n_layers=2)
    save(other, saved, overwrite=True)
    assert torch.equal(load(saved).state_dict()[NORM], other.state_dict()[NORM])


def test_saving_into_a_run_directory_leaves_its_files(model, tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    save(model, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.json", "metrics.json", "model.safetensors"]
    assert load(tmp_path).config == model.config


def test_what_cannot_be_saved(model, tmp_path):
    with pytest.raises(InputError, match="`extra` is no plain data"):
        save(model, tmp_path / "m", {"key": object()})
    with pytest.raises(InputError, match="`extra` is no plain data"):
        save(model, tmp_path / "m", {"loss": float("nan")})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file; want a directory"):
        save(model, tmp_path / "file")
    with pytest.raises(InputError, match=r"embedding\.weight is torch\.float64"):
        save(random_model(dtype=torch.float64), tmp_path / "m")
    broken = random_model()
    with torch.no_grad():
        broken.backbone.norm_f.weight[3] = torch.inf
    with pytest.raises(InputError, match=r"norm_f\.weight' holds NaN or infinity"):
        save(broken, tmp_path / "m")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_a_failing_disk_leaves_nothing_half_made(model, tmp_path, monkeypatch, broken):
    write = model_directory._write

    def full(file, data):
        if file.name == broken:
            raise OSError(28, "No space left on device")
        write(file, data)

    save(model, tmp_path / "old", {"seed": 1})
    before = (tmp_path / "old" / "config.json").read_bytes()
    monkeypatch.setattr(model_directory, "_write", full)
    for path in ("new", "old"):
        with pytest.raises(OSError, match="No space left"):
            save(random_model(), tmp_path / path, overwrite=True)
    assert os.listdir(tmp_path) == ["old"]
    assert load(tmp_path / "old").config == model.config
    assert (tmp_path / "old" / "config.json").read_bytes() == before


def test_no_such_directory(tmp_path):
    assert _refusal(tmp_path / "none").endswith("none: no such model directory")
    (tmp_path / "file").touch()
    assert "file: is a file; want a model directory" in _refusal(tmp_path / "file")
    assert "config.json: missing; a model directory holds" in _refusal(tmp_path)


def test_missing_weights(saved):
    (saved / "model.safetensors").unlink()
    (saved / "pytorch_model.bin").write_bytes(b"\x80\x04never unpickled")
    assert "model.safetensors: missing; a model directory holds" in _refusal(saved)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights(saved, keep):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "model.safetensors: " in _refusal(saved)
    assert "damaged, cut short or no safetensors" in _refusal(saved)


def test_a_header_that_lies_about_its_size(saved):
    file = saved / "model.safetensors"
    file.write_bytes((2**62).to_bytes(8, "little") + file.read_bytes()[8:])
    assert "damaged, cut short or no safetensors" in _refusal(saved)


def test_one_flipped_bit(saved):
    file = saved / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    assert "not the weights that config.json was written with (sha256 differs)" in _refusal(saved)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop(NORM), f"tensor {NORM!r} is missing"),
        (lambda t: t.update({NORM: torch.ones(17)}), f"tensor {NORM!r} is [17]; config.json wants [16]"),
        (lambda t: t.update({NORM: torch.ones(16).half()}), f"tensor {NORM!r} is torch.float16; want torch.float32"),
        (lambda t: t.update({"backbone.norm_f.weigth": torch.ones(16)}), "is 'backbone.norm_f.weight' meant?"),
        (dict.clear, "0 tensors for the 2 blocks"),
    ],
    ids=["missing", "shape", "dtype", "unknown", "empty"],
)
def test_wrong_tensors(saved, change, message):
    _edit_weights(saved, change)
    assert message in _refusal(saved)


def test_weights_that_are_not_finite(saved):
    _edit_weights(saved, lambda tensors: tensors[NORM].fill_(torch.nan))
    digest = hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest()
    _edit_config(saved, weights_sha256=digest)
    assert f"tensor {NORM!r} holds NaN or infinity" in _refusal(saved)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, b"\xff\xfe\x00", '"text"', "[]", "null"],
    ids=["empty", "open", "deep", "binary", "string", "list", "null"],
)
def test_a_config_that_is_none(saved, text):
    (saved / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "config.json: not " in _refusal(saved)


def test_a_foreign_directory(saved):
    (saved / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    assert _refusal(saved).endswith("config.json: not of a dnamamba model; it says 'gpt2'")


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"format_version": 2, "package_version": "9.0"},
            "format version 2, written by dnamamba 9.0; this is dnamamba",
        ),
        ({"format_version": None}, "format version None"),
        ({"model__d_modle": 16}, "model.d_modle: unknown key; is model.d_model meant?"),
        ({"wieghts_sha256": ""}, "wieghts_sha256: unknown key; is weights_sha256 meant?"),
        ({"model__d_model": "wide"}, "model.d_model: want a size"),
        ({"model__d_model": -3}, "d_model: want a whole number in 1..65536, got -3"),
        ({"model__n_layers": 60_000}, "tensors for the 60000 blocks that config.json says"),
        ({"model__d_model": 65_536}, "is [16, 16]; config.json wants [16, 65536]"),
        ({"model": 5}, "model: want"),
        ({"extra": 5}, "extra: want"),
        ({"alphabet__letters": "TGCANRYSWKMBDHV^"}, "alphabet 'dna' has other tokens than this version's"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_config_that_does_not_fit(saved, changes, message):
    _edit_config(saved, **changes)
    assert "config.json: " in _refusal(saved) or "model.safetensors: " in _refusal(saved)
    assert message in _refusal(saved)


def test_a_config_without_a_key(saved):
    data = json.loads((saved / "config.json").read_text())
    del data["weights_sha256"]
    (saved / "config.json").write_text(json.dumps(data))
    assert "weights_sha256: missing" in _refusal(saved)
