"""Embeddings: equal to the features of one plain pass, pooled by hand; written whole, in order, in bounded memory."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import zarr
from click.testing import CliRunner
from random_classifiers import random_classifier, random_sequence, reverse_complement
from random_models import random_model

import dnamamba
from dnamamba import model_directory
from dnamamba.cli import cli
from dnamamba.embedding import writers
from dnamamba.embedding.embedder import Part
from dnamamba.embedding.options import EmbedOptions
from dnamamba.embedding.writers import ZarrEmbeddings
from dnamamba.errors import InputError
from dnamamba.pipelines import compression
from dnamamba.pipelines.alphabet import DNA
from dnamamba.species.classifier import save_classifier

CLOSE = 2e-5  # float32 rounding in batches of other shapes
LENGTHS = (5, 1, 300, 40, 41, 1000, 7)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return random_model(d_model=16, n_layers=2)


@pytest.fixture(scope="module")
def sequences():
    return {f"s{i}": random_sequence(length, i) for i, length in enumerate(LENGTHS)}


@pytest.fixture
def fasta(tmp_path, sequences):
    path = tmp_path / "in.fa"
    path.write_bytes(b"".join(b">%s\n%s\n" % (name.encode(), one) for name, one in sequences.items()))
    return path


def _features(model, sequence):
    """[L, d_model] after each base."""
    tokens = np.concatenate([[DNA.start], DNA.encode(np.frombuffer(sequence, np.uint8))]).astype(np.int64)
    with torch.no_grad():
        return model.backbone(torch.from_numpy(tokens)[None])[0][0, 1:].numpy()


def _pooled(model, sequence, pool):
    features = _features(model, sequence)
    return features[-1] if pool == "last" else features.astype(np.float64).mean(0)


@pytest.mark.parametrize("batch_bases", [100, 10**6], ids=["streamed", "batch"])
@pytest.mark.parametrize("strands", ["both", "forward"])
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_a_vector_is_that_of_the_sequence_alone(pool, strands, batch_bases, model, sequences):
    found = dnamamba.embed(model, sequences, pool=pool, strands=strands, batch_bases=batch_bases)
    assert found.names == list(sequences)
    assert found.lengths.tolist() == list(LENGTHS)
    for vector, sequence in zip(found.values, sequences.values(), strict=True):
        want = _pooled(model, sequence, pool)
        if strands == "both":
            want = (want + _pooled(model, reverse_complement(sequence), pool)) / 2
        np.testing.assert_allclose(vector, want, atol=CLOSE)


@pytest.mark.parametrize("batch_bases", [100, 10**6], ids=["streamed", "batch"])
def test_every_base(batch_bases, model, sequences):
    found = dnamamba.embed(model, sequences, pool="none", batch_bases=batch_bases)
    want = np.concatenate([_features(model, sequence) for sequence in sequences.values()])
    np.testing.assert_allclose(found.values, want, atol=CLOSE)
    assert found.lengths.tolist() == list(LENGTHS)


def test_windows(model):
    sequence = random_sequence(250)
    for batch_bases in (60, 10**6):
        found = dnamamba.embed(model, [sequence], window=100, strands="forward", batch_bases=batch_bases)
        assert found.starts.tolist() == [0, 100, 200]
        assert found.lengths.tolist() == [100, 100, 50]
        for vector, start in zip(found.values, found.starts, strict=True):
            np.testing.assert_allclose(vector, _pooled(model, sequence[start : start + 100], "mean"), atol=CLOSE)


def test_a_sequence_without_bases_has_no_vector(model):
    found = dnamamba.embed(model, ["", "ACGT"])
    assert np.isnan(found.values).all(1).tolist() == [True, False]
    windows = dnamamba.embed(model, {"none": "", "x": "ACGTAC", "": b""}, window=4)
    assert (windows.names, windows.lengths.tolist()) == (["none", "x", "x", ""], [0, 4, 2, 0])
    assert np.isnan(windows.values).all(1).tolist() == [True, False, False, True]
    assert dnamamba.embed(model, ["", "ACGT"], pool="none", window=3).values.shape == (4, 16)
    assert dnamamba.embed(model, ["", "ACGT"], pool="none").values.shape == (4, 16)
    assert dnamamba.embed(model, []).values.shape == (0, 16)


def test_a_classifier_embeds_with_the_model_inside_it(sequences):
    classifier = random_classifier()
    found = dnamamba.embed(classifier, sequences)
    np.testing.assert_array_equal(found.values, dnamamba.embed(classifier.model.lm, sequences).values)


def _run(*arguments):
    return CliRunner().invoke(cli, ["embed", *map(str, arguments)])


@pytest.fixture(params=["language model", "classifier"])
def directory(request, tmp_path, model):
    if request.param == "language model":
        model_directory.save(model, tmp_path / "m")
        return tmp_path / "m", model
    classifier = random_classifier()
    save_classifier(classifier.model, tmp_path / "m")
    return tmp_path / "m", classifier


def test_files(directory, fasta, tmp_path, sequences):
    path, loaded = directory
    want = dnamamba.embed(loaded, sequences)
    for name in ("out.parquet", "out.zarr"):
        answer = _run(path, fasta, "--out", tmp_path / name)
        assert answer.exception is None, answer.output
        assert f"7 sequences, {sum(LENGTHS):,} bases" in answer.stderr
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert list(table.columns) == ["name", "start", "length", "file", "embedding"]
    assert list(table["name"]) == want.names
    assert list(table["length"]) == list(LENGTHS)
    np.testing.assert_array_equal(np.stack(table["embedding"]), want.values)
    assert pq.read_schema(tmp_path / "out.parquet").field("embedding").type.list_size == 16
    assert pq.read_schema(tmp_path / "out.parquet").metadata[b"pool"] == b"mean"
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(group["embedding"][:], want.values)
    ends = group["name_end"][:].tolist()
    text = group["name"][:].tobytes()
    assert [text[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)] == want.names
    assert group["length"][:].tolist() == list(LENGTHS)
    assert group["row"][:].tolist() == list(range(8))
    assert group.attrs["pool"] == "mean"
    assert not [one for one in tmp_path.iterdir() if "writing" in one.name]


@pytest.mark.parametrize("chunk_floats", [16 * 10, 2**22], ids=["small chunks", "one chunk"])
def test_every_base_to_zarr_in_chunks(chunk_floats, model, fasta, tmp_path, sequences, monkeypatch):
    monkeypatch.setattr(writers, "_CHUNK_FLOATS", chunk_floats)
    model_directory.save(model, tmp_path / "m")
    answer = _run(tmp_path / "m", fasta, "--pool", "none", "--batch-bases", 200, "--out", tmp_path / "o.zarr")
    assert answer.exception is None, answer.output
    group = zarr.open_group(tmp_path / "o.zarr", mode="r")
    want = dnamamba.embed(model, sequences, pool="none", batch_bases=200)
    np.testing.assert_array_equal(group["embedding"][:], want.values)
    assert group["row"][:].tolist() == [0, *np.cumsum(LENGTHS)]


def test_a_bad_file_does_not_lose_the_others(model, fasta, tmp_path, sequences, monkeypatch):
    monkeypatch.setattr(compression, "CHUNK", 200)  # bases are given out before the bad one is seen
    model_directory.save(model, tmp_path / "m")
    (tmp_path / "bad.fa").write_bytes(b">long\n" + random_sequence(500) + b"!\n>after\nACGT\n")
    (tmp_path / "empty.fa").write_bytes(b"")
    for chunk_floats in (16 * 10, 2**22):
        monkeypatch.setattr(writers, "_CHUNK_FLOATS", chunk_floats)
        out = tmp_path / f"{chunk_floats}.zarr"
        answer = _run(
            tmp_path / "m", tmp_path / "bad.fa", fasta, tmp_path / "empty.fa", fasta, "--pool", "none", "--batch-bases",
            100, "--out", out,
        )  # fmt: skip
        assert isinstance(answer.exception, InputError)
        assert "2 of 4 files could not be read to their end" in str(answer.exception)
        group = zarr.open_group(out, mode="r")
        assert group["length"][:].tolist() == [*LENGTHS, *LENGTHS]
        values = group["embedding"][:]
        assert group["row"][-1] == len(values) == 2 * sum(LENGTHS)
        want = dnamamba.embed(model, sequences, pool="none").values
        np.testing.assert_allclose(values, np.concatenate([want, want]), atol=CLOSE)


def test_after_an_error_nothing_is_left(tmp_path):
    def fail(writer):
        with writer:
            writer.write(Part("a", 0, 3, "", np.zeros((1, 4), np.float32), True))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(ZarrEmbeddings(tmp_path / "x.zarr", 4, False, {}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, message",
    [
        (["--out", "x.npy"], "want a local name that ends in .parquet or .zarr"),
        (["--out", "s3://x/y.zarr"], "want a local name"),
        (["--out", "x.parquet", "--pool", "none"], "vectors of every base go to Zarr"),
        (
            ["--out", "x.zarr", "--pool", "none", "--strands", "both"],
            "strands: features of every base are of the strand",
        ),
        (["--out", "x.zarr", "--window", "0"], "window: want one base or more"),
    ],
)
def test_what_cannot_be_is_one_line(options, message, model, fasta, tmp_path):
    model_directory.save(model, tmp_path / "m")
    answer = _run(tmp_path / "m", fasta, *options)
    assert isinstance(answer.exception, InputError)
    assert message in str(answer.exception)


def test_a_name_that_is_taken_is_refused(model, fasta, tmp_path):
    model_directory.save(model, tmp_path / "m")
    (tmp_path / "x.zarr").mkdir()
    answer = _run(tmp_path / "m", fasta, "--out", tmp_path / "x.zarr")
    assert "is there already; remove it or choose another name" in str(answer.exception)


def test_options_in_python():
    with pytest.raises(InputError, match='pool: want "mean", "last" or "none", got \'max\''):
        EmbedOptions(pool="max")
