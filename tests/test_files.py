"""Files that are there whole or not at all, and what is told before the work that they are of."""

import os

import pytest

from dnamamba import files
from dnamamba.errors import InputError
from dnamamba.files import check_output, folder_beside, opened_whole, write_whole


def test_the_folder_is_made_and_nothing_is_left_aside(tmp_path):
    out = tmp_path / "new" / "er" / "a.fa"
    check_output(out)
    with opened_whole(out) as file:
        file.write(b">a\nACGT\n")
    assert out.read_bytes() == b">a\nACGT\n"
    assert [path.name for path in out.parent.iterdir()] == ["a.fa"]


def test_a_folder_is_written_beside_and_what_is_left_of_it_removed(tmp_path):
    out = tmp_path / "new" / "model"
    with folder_beside(out) as aside:
        (aside / "a").write_text("A")
        aside.rename(out)
    assert (out / "a").read_text() == "A"
    left = out.with_name(f".model.writing-{os.getpid()}")
    left.mkdir()  # of a process of the same number that was killed
    (left / "b").write_text("B")

    def interrupted():
        with folder_beside(out) as aside:
            assert not list(aside.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_text_that_is_interrupted_leaves_nothing_aside(tmp_path, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    (tmp_path / "a.json").write_text("old")
    monkeypatch.setattr(files, "sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.json", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("use", [check_output, lambda out: opened_whole(out).__enter__()], ids=["check", "open"])
def test_a_folder_is_no_file(tmp_path, use):
    (tmp_path / "a.tsv").mkdir()
    with pytest.raises(InputError, match=r"a\.tsv: is a folder; want the name of a file"):
        use(str(tmp_path / "a.tsv"))
    (tmp_path / "b").write_text("")
    with pytest.raises(InputError, match=r"c\.tsv: its folder cannot be made: "):
        use(str(tmp_path / "b" / "c.tsv"))


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: is no ordinary file, .*; - is standard output"):
        check_output(tmp_path / "pipe")


def test_what_is_read_is_not_written(tmp_path):
    one, other = tmp_path / "one.fa", tmp_path / "other.fa"
    one.write_text(">a\nAC\n")
    other.symlink_to(one)
    with pytest.raises(InputError, match=r"other\.fa: is what is read; write to another file"):
        check_output(other, ["-", str(tmp_path / "none"), str(one)])
    check_output(tmp_path / "third.fa", [str(one)])
    check_output("-", ["-"])
