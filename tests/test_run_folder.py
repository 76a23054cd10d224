"""The folder of a new run: free, or empty but for hidden files."""

import pytest

from dnamamba.errors import InputError
from dnamamba.run_folder import new_run_folder


def test_the_next_free_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(3):
        folder = new_run_folder(None, "species")
        folder.mkdir(parents=True)
        names.append(str(folder))
    assert names == ["runs/species", "runs/species-2", "runs/species-3"]


def test_a_folder_with_files_is_refused_and_hidden_ones_do_not_count(tmp_path):
    (tmp_path / ".nfs1").touch()
    assert new_run_folder(tmp_path, "pretrain") == tmp_path
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match="is not empty; --resume goes on with a run"):
        new_run_folder(tmp_path, "pretrain")
