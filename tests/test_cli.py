"""The console script itself: exit codes, and what is said when a command is interrupted or misspelt."""

import shlex
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


@pytest.mark.parametrize(
    "line, words",
    [
        ("generate m --temperature -1", "temperature: want 0 or more, got -1.0"),
        ("classify m f.fa --window 0", "window: want one base or more, got 0"),
        ("embed m f.fa --out e.zarr --window x", "window: want a size"),
        ("evaluate m --store s --context 1", "--context: want 2 bases or more, got 1"),
        ("score m v.vcf --reference g --context 1.5k", "--context: want a size"),
        ("bench --lengths 0", "lengths: want growing numbers of at least 1, got 0"),
        ("task induction-heads --steps 0", "steps: want 1 or more, got 0"),
        ("task induction-heads --selective E", "selective: want some of dt, B, C"),
        ("genome simulate --store s bases=-1", "simulate.bases: "),
        ("genome simulate --store s base=1", "is simulate.bases meant?"),
        ("genome split s --valid-fraction 2", "split.valid_fraction"),
        ("genome split s --valid a --margin 1k", "--margin: belongs to method fraction"),
        ("pretrain optimiser.lr=-1", "optimiser.lr: "),
        ("pretrain quick optimiser.rl=1", "optimiser.rl: unknown key; is optimiser.lr meant?"),
        ("pretrain --resume", "--resume: say which run with --out RUN"),
        ("finetune species optimiser.lr=-1", "optimiser.lr: "),
        ("finetune species", "no model to fine-tune: give --model M"),
        ("sweep size --sizes x", "--sizes: want some of"),
        ("sweep ablation --variant a=1", "--variant 'a=1': want a name"),
        ("sweep ablation quick --variant a --variant 'b optimiser.lr=-1'", "run b: optimiser.lr: "),
    ],
)
def test_a_value_on_the_line_that_will_not_do_is_usage(line, words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert _main(monkeypatch, *shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert said.startswith("dnamamba: error: ")
    assert words in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_value_in_a_file_is_no_usage(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("optimiser: {lr: -1}\n")
    for more in ([], ["optimiser.warmup=0.1"]):
        assert _main(monkeypatch, "pretrain", "bad.yaml", *more) == 1
        assert capsys.readouterr().err.startswith("dnamamba: error: bad.yaml: optimiser.lr: ")
    assert _main(monkeypatch, "pretrain", "bad.yaml", "optimiser.lr=-2") == 1  # neither will do
