"""Models by OWNER/NAME, with the Hub's library answering from a folder here: no network."""

import sys

import pytest
import torch
from random_models import random_model

import dnamamba
from dnamamba.errors import InputError
from dnamamba.model_directory import read_record, save

huggingface_hub = pytest.importorskip(
    "huggingface_hub", reason="huggingface_hub is not installed (pip install 'dnamamba[hub]')"
)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What is asked of the Hub, which knows one model."""
    monkeypatch.chdir(tmp_path)
    save(random_model(d_model=16, n_layers=2), tmp_path / "cache")
    names = []

    def snapshot_download(name, *, allow_patterns):
        assert set(allow_patterns) == {"*.json", "*.safetensors"}  # nothing pickled
        names.append(name)
        if name != "lab/apes":
            raise FileNotFoundError("Repository not found\nand more")
        return str(tmp_path / "cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return names


def test_a_model_of_the_hub_is_that_of_its_folder(asked, tmp_path):
    ours, theirs = dnamamba.load("lab/apes").state_dict(), dnamamba.load(tmp_path / "cache").state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert read_record("lab/apes") == read_record(tmp_path / "cache")
    assert set(asked) == {"lab/apes"}


def test_what_is_no_model_is_one_line(asked, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^lab/none: no such model directory, and none .*: Repository not found$"):
        dnamamba.load("lab/none")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"^lab/apes: no such model directory; .* pip install 'dnamamba\[hub\]'$"):
        dnamamba.load("lab/apes")


@pytest.mark.parametrize("path", ["runs/demo", "demo", "a/b/c", "/lab/apes", "lab/apes of mine"])
def test_paths_are_not_looked_for_elsewhere(path, asked, tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match=r"no such model directory$"):
        dnamamba.load(path)
    assert not asked
