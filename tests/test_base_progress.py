"""Progress over bases: one plain line now and then, with a rate that has digits and the time that is left."""

import pytest

from dnamamba import base_progress
from dnamamba.base_progress import BaseProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(base_progress.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.mark.parametrize(
    "rate, said",
    [(14_230, "14.2 kb/s"), (999_000, "999.0 kb/s"), (2_500_000, "2.50 Mb/s"), (212_000_000, "212 Mb/s")],
)
def test_the_rate_has_digits_whether_a_model_reads_or_a_file_is_read(clock, capsys, rate, said):
    with BaseProgress("read x") as progress:
        progress("chr1", 0, 100 * rate)
        clock.now = 20.0
        progress("chr1", 20 * rate, 100 * rate)
    line = f"read x: chr1, {20 * rate:,} of {100 * rate:,} bases, {said}, 80 s left\n"
    assert capsys.readouterr() == ("", line)


def test_lines_come_ten_seconds_apart(clock, capsys):
    with BaseProgress("read x", "bytes") as progress:
        for second in range(25):
            clock.now = float(second)
            progress("", second, None)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "read x: 10 bytes",
        "read x: 20 bytes",
    ]


def test_what_was_there_before_is_not_of_this_rate(clock, capsys):
    with BaseProgress("ingest x", "alleles") as progress:
        progress("", 1_000, 3_000)
        clock.now = 10.0
        progress("", 2_000, 3_000)
    assert "2,000 of 3,000 alleles, 100/s, 10 s left" in capsys.readouterr().err


def test_a_second_work_has_a_rate_of_its_own(clock, capsys):
    with BaseProgress("download") as progress:
        ingest = progress.stage("ingest", "bases")
        clock.now = 100.0
        ingest("chr1", 0, 4_000)
        clock.now = 110.0
        ingest("chr1", 1_000, 4_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "ingest: chr1, 1,000 of 4,000 bases, 0.1 kb/s, 30 s left"
