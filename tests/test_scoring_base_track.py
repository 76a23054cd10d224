"""Tracks: each base's value from a window of its own, strands that mirror each other to the base, files read back."""

import math

import numpy as np
import pybigtools
import pysam
import pytest
import torch
from random_models import random_model

from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.regions import Region
from dnamamba.scoring.base_track import BaseTrack
from dnamamba.scoring.strand import stream_start
from dnamamba.scoring.track_files import is_bigwig, write_track

LENGTH = 163


@pytest.fixture(scope="module")
def model():
    return random_model(1)


def _write(path, contigs):
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in contigs.items()))
    return open_reference(path)


def _random(length, seed):
    letters = np.random.default_rng(seed).choice(list("ACGTacgt"), length)
    letters[50:60] = "N"
    letters[100] = "r"
    return "".join(letters)


def _turn(sequence):
    return sequence.translate(str.maketrans("ACGTacgtNr", "TGCAtgcaNy"))[::-1]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    sequence = _random(LENGTH, 0)
    return _write(folder / "g.fa", {"a": sequence}), _write(folder / "turned.fa", {"a": _turn(sequence)})


def _all(track, start=0, end=LENGTH):
    blocks = list(track.blocks(Region("a", start, end)))
    at = start
    for first, values in blocks:
        assert first == at
        at += len(values)
    assert at == end
    return np.concatenate([values for _, values in blocks])


def _naive(model, sequence, context, what):
    """One window a base, in float64 from the logits on."""
    tokens = DNA.encode(np.frombuffer(sequence.encode(), np.uint8))
    values = np.full(len(tokens), np.nan)
    for p, target in enumerate(tokens):
        if target < 4:
            window = np.concatenate([[DNA.start], tokens[stream_start(p, context) : p]]).astype(np.uint8)
            log_p = model(torch.from_numpy(window)[None])[0][0, -1, :4].double().log_softmax(-1).detach().numpy()
            values[p] = {
                "likelihood": log_p[target],
                "entropy": -(np.exp(log_p) * log_p).sum(),
                "surprise": -log_p[target] / math.log(2),
            }[what]
    return values


def test_where_streams_start():
    assert [stream_start(p, 16) for p in (0, 7, 8, 15, 16, 23, 24)] == [0, 0, 0, 0, 8, 8, 16]


CASES = [(64, 100_000, "entropy"), (64, 48, "surprise"), (16, 200, "likelihood"), (None, 50, "likelihood")]


@pytest.mark.parametrize("context, tokens, what", [*CASES, (1000, 64, "likelihood")])
def test_each_base_as_its_own_window_says(model, genome, context, tokens, what):
    sequence = genome[0].fetch("a", 0, LENGTH).tobytes().decode()
    forward = _naive(model, sequence, context, what)
    reverse = _naive(model, _turn(sequence), context, what)[::-1]
    options = {"what": what, "context": context, "batch_tokens": tokens}
    for strands, wanted in (("forward", forward), ("reverse", reverse), ("both", (forward + reverse) / 2)):
        got = _all(BaseTrack(model, genome[0], strands=strands, **options))
        np.testing.assert_allclose(got, wanted, atol=2e-5)
        assert np.isnan(got[50:60]).all()
        assert np.isnan(got[100])
        some = _all(BaseTrack(model, genome[0], strands=strands, **options), 37, 122)
        np.testing.assert_allclose(some, wanted[37:122], atol=2e-5)


@pytest.mark.parametrize("context", [32, None])
def test_the_turned_genome_has_the_mirrored_track(model, genome, context):
    for strands, others in (("forward", "reverse"), ("reverse", "forward"), ("both", "both")):
        ours = _all(BaseTrack(model, genome[0], strands=strands, context=context, batch_tokens=96))
        turned = _all(BaseTrack(model, genome[1], strands=others, context=context, batch_tokens=96))
        np.testing.assert_array_equal(ours, turned[::-1])
        shifted = np.abs(ours[1:] - turned[::-1][:-1])
        assert np.nanmax(shifted) > 0.1  # off by one would show


def _blocks(model, reference, regions):
    track = BaseTrack(model, reference, context=64, strands="forward")
    return ((region, at, values) for region in regions for at, values in track.blocks(region))


@pytest.fixture(scope="module")
def two(tmp_path_factory, genome):
    path = tmp_path_factory.mktemp("two") / "two.fa"
    return _write(path, {"b": _random(200, 5), "a": _random(LENGTH, 0), "n": "N" * 20})


@pytest.mark.parametrize("name", ["t.bw", "t.bedgraph", "t.bedgraph.gz"])
def test_files_read_back(model, two, tmp_path, name):
    regions = [Region("b", 20, 200), Region("a", 0, LENGTH), Region("n", 0, 20)]
    out = tmp_path / name
    count = write_track(str(out), two.contigs, _blocks(model, two, regions))
    assert count == 180 - 11 + LENGTH - 11
    wanted = _all(BaseTrack(model, two, context=64, strands="forward"))
    if name == "t.bw":
        file = pybigtools.open(str(out))
        assert file.chroms() == {"b": 200, "a": LENGTH}
        np.testing.assert_array_equal(file.values("a", 0, LENGTH, fillna=None), wanted.astype(np.float64))
        assert np.isnan(file.values("b", 0, 20, fillna=None)).all()
    else:
        lines = (pysam.BGZFile if name.endswith("gz") else open)(str(out)).read()
        rows = [line.split() for line in (lines if isinstance(lines, str) else lines.decode()).splitlines()]
        of_a = {int(row[1]): float(row[3]) for row in rows if row[0] == "a"}
        assert all(int(row[2]) == int(row[1]) + 1 for row in rows)
        assert sorted(of_a) == np.flatnonzero(~np.isnan(wanted)).tolist()
        np.testing.assert_allclose([of_a[i] for i in sorted(of_a)], wanted[sorted(of_a)], rtol=1e-5)
    if name.endswith("gz"):
        with pysam.TabixFile(str(out), index=f"{out}.csi") as file:
            assert len(list(file.fetch("a", 10, 20))) == 10
    again = tmp_path / "again" / name
    again.parent.mkdir()
    write_track(str(again), two.contigs, _blocks(model, two, regions))
    assert again.read_bytes() == out.read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["t.bw", "t.bedgraph"])
def test_an_error_leaves_nothing_and_is_ours(model, two, tmp_path, name, capfd):
    def broken():
        yield from _blocks(model, two, [Region("a", 0, 90)])
        raise InputError("mine")

    with pytest.raises(InputError, match=r"^mine$"):
        write_track(str(tmp_path / name), two.contigs, broken())
    with pytest.raises(InputError, match="no base of the region has a value"):
        write_track(str(tmp_path / name), two.contigs, _blocks(model, two, [Region("n", 0, 20)]))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_names_and_mistakes(model, genome):
    assert is_bigwig("a.BW")
    assert not is_bigwig("-")
    with pytest.raises(InputError, match=r"t.wig: want a name that ends in .bw"):
        is_bigwig("t.wig")
    with pytest.raises(InputError, match="context: want at least 2"):
        BaseTrack(model, genome[0], context=1)
    with pytest.raises(InputError, match="a model of the dna alphabet, this one reads 'bytes'"):
        BaseTrack(random_model(1, alphabet="bytes", vocab_size=256), genome[0])
