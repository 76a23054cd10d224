"""Loggers by config: the CSV log always, Lightning's own classes and nothing else, one line for what cannot be."""

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from dnamamba.errors import InputError
from dnamamba.loggers import make_loggers


def test_csv_is_always_there_and_a_start_has_a_folder_of_its_own(tmp_path):
    for part in range(3):
        first, second = make_loggers(["tensorboard"], tmp_path)
        assert isinstance(first, CSVLogger)
        assert isinstance(second, TensorBoardLogger)
        assert first.log_dir == second.log_dir == str(tmp_path / "logs" / f"part-{part}")
        first.log_metrics({"loss": 1.0}, 1)
        first.save()
    assert [type(one) for one in make_loggers(["csv"], tmp_path)] == [CSVLogger]
    assert [type(one) for one in make_loggers([], tmp_path)] == [CSVLogger]


def test_any_logger_of_lightning_with_its_arguments(tmp_path):
    _, other = make_loggers([{"class": "CSVLogger", "save_dir": str(tmp_path / "more"), "name": "x"}], tmp_path)
    assert other.log_dir.startswith(str(tmp_path / "more" / "x"))


@pytest.mark.parametrize(
    "wanted, message",
    [
        ("wandb", r"want csv, tensorboard or \{class: NAME, ...\}, got 'wandb'"),
        ({"class": "os.system"}, "want class: one of CSVLogger, .*WandbLogger, got 'os.system'"),
        ({"class": "Logger"}, "want class: one of .*, got 'Logger'"),
        ({"project": "apes"}, "want class: one of .*, got None"),
        ({"class": "CSVLogger", "colour": "red", "save_dir": "."}, "CSVLogger: .*colour"),
        ({"class": "CometLogger"}, "CometLogger needs a package that is not installed"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(wanted, message, tmp_path):
    with pytest.raises(InputError, match=f"run.loggers: {message}"):
        make_loggers([wanted], tmp_path)
