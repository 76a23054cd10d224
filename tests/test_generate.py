"""Sampling: the draws follow the model, the prompt is seen, the seed decides, the batch does not."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from random_models import random_model

from dnamamba import model_directory
from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.generate import GenerateOptions, generate
from dnamamba.model.decoder import Decoder
from dnamamba.model.state import ModelState
from dnamamba.pipelines.alphabet import DNA
from dnamamba.stream.given import HowToRead, given_sequences


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return random_model(d_model=16, n_layers=2)


def _draw(model, prompts=None, **options):
    given = None if prompts is None else given_sequences(prompts, HowToRead())
    return list(generate(model, given, GenerateOptions(**options)))


def _probabilities(model, sequence, letters=b""):
    """[len(letters) + 1, 4]: of each base after `sequence`, and of the one after all, by one plain pass."""
    tokens = np.concatenate([[DNA.start], DNA.encode(np.frombuffer(sequence + letters, np.uint8))]).astype(np.int64)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(tokens)[None])
    return logits[0, len(sequence) :, :4].double().softmax(-1).numpy()


def test_temperature_0_takes_the_likeliest(model):
    (found,) = _draw(model, {"p": "ACGTNA"}, length=40, temperature=0)
    p = _probabilities(model, b"ACGTNA", found.letters)
    assert found.letters == bytes(b"ACGT"[i] for i in p[:-1].argmax(1))
    cost = -np.log(p[np.arange(40), DNA.encode(np.frombuffer(found.letters, np.uint8))]).mean()
    assert found.nats_per_base == pytest.approx(cost, abs=1e-5)


def test_the_least_temperature_takes_the_likeliest_too(model):
    cold, coldest = (_draw(model, {"p": "ACGTNA"}, length=40, temperature=t) for t in (0.0, 1e-320))
    assert coldest == cold


def test_draws_follow_the_model(model):
    found = _draw(model, {"p": "ACG"}, length=2, number=4000, batch=512)
    first = np.array([one.letters[:1].decode() for one in found])
    p = _probabilities(model, b"ACG")[0]
    for letter, wanted in zip("ACGT", p, strict=True):
        assert abs((first == letter).mean() - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / 4000)
    follow = np.array([one.letters[1:].decode() for one in found if one.letters[:1] == b"A"])
    for letter, wanted in zip("ACGT", _probabilities(model, b"ACG", b"A")[1], strict=True):
        assert abs((follow == letter).mean() - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / len(follow))


def test_temperature_sharpens(model):
    p = _probabilities(model, b"")[0]
    wanted = p**2 / (p**2).sum()
    first = np.array([one.letters.decode() for one in _draw(model, length=1, number=4000, temperature=0.5, batch=2000)])
    for letter, share in zip("ACGT", wanted, strict=True):
        assert abs((first == letter).mean() - share) < 4 * np.sqrt(share * (1 - share) / 4000)


@pytest.mark.parametrize("top_p", [0.3, 0.7])
def test_top_p_draws_from_the_nucleus_and_from_all_of_it(top_p, model):
    seen = set()
    for one in _draw(model, length=60, number=20, top_p=top_p):
        for row, letter in zip(_probabilities(model, b"", one.letters)[:-1], one.letters, strict=True):
            order = np.argsort(-row)
            size = int((np.cumsum(row[order]) < top_p - 1e-6).sum()) + 1
            place = int(np.flatnonzero(order == b"ACGT".index(letter))[0])
            assert place < size
            seen.add((place, size))
    assert all((size - 1, size) in seen for _, size in seen)


def test_the_seed_decides_and_the_batch_does_not(model):
    first = _draw(model, ["ACG", "TTTT"], length=50, number=3, seed=5, batch=64)
    assert [(one.prompt, one.number) for one in first] == [
        (name, i) for name in ("sequence 1", "sequence 2") for i in (1, 2, 3)
    ]
    assert first == _draw(model, ["ACG", "TTTT"], length=50, number=3, seed=5, batch=64)
    # Float rounding differs between batches, and a draw could fall on either side of it; here none does.
    for batch in (1, 4):
        other = _draw(model, ["ACG", "TTTT"], length=50, number=3, seed=5, batch=batch)
        assert [one.letters for one in other] == [one.letters for one in first]
    assert len({one.letters for one in first}) == 6
    assert [one.letters for one in _draw(model, ["ACG"], length=50, seed=6)] != [first[0].letters]


def test_a_long_prompt_is_read_in_chunks(model, monkeypatch):
    monkeypatch.setattr("dnamamba.generate.PROMPT_CHUNK", 7)
    prompt = "ACGGTNATTACA" * 3
    chunked = _draw(model, {"p": prompt}, length=30, temperature=0)
    monkeypatch.undo()
    assert chunked[0].letters == _draw(model, {"p": prompt}, length=30, temperature=0)[0].letters


def test_more_steps_than_a_block(model, monkeypatch):
    whole = _draw(model, length=100, seed=1)
    monkeypatch.setattr("dnamamba.generate._BLOCK", 33)
    assert [one.letters for one in _draw(model, length=100, seed=1)] == [one.letters for one in whole]


def test_a_decoder_takes_up_another_state(model):
    _, state = model(torch.tensor([[15, 0, 1], [15, 2, 3]]))
    decoder = Decoder(model, state)
    first = decoder.step(torch.tensor([1, 2]))
    decoder.step(torch.tensor([3, 3]))
    decoder.restart(state)
    torch.testing.assert_close(decoder.step(torch.tensor([1, 2])), first, rtol=0, atol=0)
    with pytest.raises(ValueError, match="want 2 sequences, got 3"):
        decoder.restart(ModelState.zeros(model.config, 3))


def test_the_command_writes_fasta(model, tmp_path):
    model_directory.save(model, tmp_path / "m")
    (tmp_path / "p.fa").write_text(">x y\nACGT\n>z\nTT\n")
    command = ["generate", str(tmp_path / "m"), "--length", "130", "--number", "2", "--seed", "3"]
    answer = CliRunner().invoke(cli, [*command, "--prompt", str(tmp_path / "p.fa"), "--out", str(tmp_path / "o.fa")])
    assert answer.exception is None, answer.output
    lines = (tmp_path / "o.fa").read_text().splitlines()
    assert [line.split()[0] for line in lines if line.startswith(">")] == [">x_1", ">x_2", ">z_1", ">z_2"]
    assert [len(line) for line in lines[1:4]] == [60, 60, 10]
    want = _draw(model, {"x": "ACGT", "z": "TT"}, length=130, number=2, seed=3)
    assert "".join(lines[1:4]) == want[0].letters.decode()
    assert lines[0] == f">x_1 nats_per_base={want[0].nats_per_base:.4f}"
    answer = CliRunner().invoke(cli, [*command, "--start", "ACGT"])
    assert answer.stdout.startswith(">start_1 nats_per_base=")
    assert CliRunner().invoke(cli, command).stdout.startswith(">sample_1 ")
    assert CliRunner().invoke(cli, [*command, "--start", "A", "--prompt", "x"]).exit_code == 2


def test_letters_of_a_prompt(model, tmp_path):
    model_directory.save(model, tmp_path / "m")
    command = ["generate", str(tmp_path / "m"), "--length", "9", "--start"]
    answer = CliRunner().invoke(cli, [*command, "ACGX"])
    assert isinstance(answer.exception, InputError)
    assert "'X'" in str(answer.exception)
    as_n = CliRunner().invoke(cli, [*command, "ACGX", "--unknown", "N"])
    assert as_n.stdout == CliRunner().invoke(cli, [*command, "ACGN"]).stdout != ""
    rna = CliRunner().invoke(cli, [*command, "acgu", "--rna"])
    assert rna.stdout == CliRunner().invoke(cli, [*command, "ACGT"]).stdout != ""


def test_the_prompt_is_not_written_over(model, tmp_path):
    model_directory.save(model, tmp_path / "m")
    prompt = tmp_path / "p.fa"
    prompt.write_text(">x\nACGT\n")
    answer = CliRunner().invoke(
        cli, ["generate", str(tmp_path / "m"), "--length", "9", "--prompt", str(prompt), "--out", str(prompt)]
    )
    assert "is what is read" in str(answer.exception)
    assert prompt.read_text() == ">x\nACGT\n"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"length": 0}, "length: want 1 or more, got 0"),
        ({"temperature": -1.0}, "temperature: want 0 or more"),
        ({"top_p": 0.0}, "top_p: want a probability above 0"),
        ({"seed": -1}, "seed: want 0 or more"),
        ({"length": "1k"}, "length: want a whole number, got '1k'"),
        ({"number": 2.5}, "number: want a whole number, got 2.5"),
        ({"seed": None}, "seed: want a whole number, got None"),
        ({"temperature": "hot"}, "temperature: want a number, got 'hot'"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        GenerateOptions(**options)
