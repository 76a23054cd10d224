"""The console script itself: exit codes, and what is said when a command is interrupted or misspelt."""

import signal
import sys

import pytest

from dnamamba import cli
from dnamamba.commands.doctor import doctor


def _main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["dnamamba", *arguments])
    monkeypatch.setattr("warnings.showwarning", cli.warnings.showwarning)  # put back after main
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("words", ["", "run: everything is kept; --resume goes on"])
def test_an_interrupt_is_one_line_and_says_how_to_go_on(words, monkeypatch, capsys):
    def interrupted(**options):
        raise KeyboardInterrupt(words) if words else KeyboardInterrupt

    monkeypatch.setattr(doctor, "callback", interrupted)
    assert _main(monkeypatch, "doctor") == 130
    said = capsys.readouterr()
    assert said.err.strip() == "dnamamba: interrupted" + (f"; {words}" if words else "")
    assert "Aborted" not in said.err + said.out


def test_sigterm_is_heard_as_an_interrupt(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(doctor, "callback", lambda: signal.raise_signal(signal.SIGTERM))
    assert _main(monkeypatch, "doctor") == 143
    assert capsys.readouterr().err.strip() == "dnamamba: interrupted"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "arguments, code, word",
    [
        (("--version",), 0, "dnamamba"),
        (("doctor", "--help"), 0, "Usage"),
        (("docter",), 2, "No such command"),
        (("generate",), 2, "Missing argument"),
        (("generate", "m", "--start", "A", "--prompt", "f"), 2, "give one"),
        (("generate", "no-such-model"), 1, "dnamamba: error: no-such-model"),
    ],
)
def test_exit_codes(arguments, code, word, monkeypatch, capsys):
    assert _main(monkeypatch, *arguments) == code
    said = capsys.readouterr()
    assert word in (said.err if code else said.out)
