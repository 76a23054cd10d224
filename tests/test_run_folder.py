"""The folder of a new run: free, or empty but for hidden files."""

import pytest

from dnamamba.errors import InputError, UsageError
from dnamamba.pretrain_config import PretrainConfig
from dnamamba.run_folder import config_of_run, held, is_held, new_run_folder


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


def test_a_run_is_one_process_s_at_a_time(tmp_path):
    file = tmp_path / "pretrain.yaml"
    file.touch()
    with held(file):
        assert is_held(file)
        with pytest.raises(InputError, match=f"{tmp_path}: another process is at work on this run"), held(file):
            pass
    assert not is_held(file)
    with held(file):
        pass


def test_a_run_to_resume_is_asked_for_and_there(tmp_path):
    with pytest.raises(UsageError, match="say which run with --out"):
        config_of_run(PretrainConfig, None, "pretrain.yaml")
    with pytest.raises(InputError, match=r"holds no pretrain\.yaml, so there is no run to resume"):
        config_of_run(PretrainConfig, tmp_path, "pretrain.yaml")
    (tmp_path / "pretrain.yaml").write_text("run: {seed: 7}\n")
    config, folder = config_of_run(PretrainConfig, tmp_path, "pretrain.yaml")
    assert (config.run.seed, folder) == (7, tmp_path)
