"""The bgzip writer, read back by Python's gzip and by htslib, entered in the middle."""

import gzip
import io
import subprocess
import sys

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import random_bases, write_fasta

from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest


def _packed(*parts: bytes) -> bytes:
    file = io.BytesIO()
    with BgzipWriter(file) as writer:
        for part in parts:
            writer.write(part)
    return file.getvalue()


@given(parts=st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 5_000)), max_size=6))
@settings(max_examples=50, deadline=None)
def test_gzip_reads_it_back(parts):
    texts = [text * copies for text, copies in parts]
    assert gzip.decompress(_packed(*texts)) == b"".join(texts)


@pytest.mark.parametrize("size", [0, 1, 65_279, 65_280, 65_281, 200_000])
@pytest.mark.parametrize("packable", [True, False])
def test_block_borders_and_what_cannot_be_packed(tmp_path, size, packable):
    text = random_bases(size).tobytes() if packable else np.random.default_rng(0).bytes(size)
    (tmp_path / "x.gz").write_bytes(_packed(text))
    with pysam.BGZFile(str(tmp_path / "x.gz"), "rb") as file:
        assert file.read(size + 1) == text
    assert gzip.decompress((tmp_path / "x.gz").read_bytes()) == text


def test_htslib_enters_it_in_the_middle(tmp_path):
    genome = {"chr1": random_bases(400_000), "chr2": random_bases(150_000, 1)}
    assembly = ingest(write_fasta(tmp_path / "toy.fa", genome), tmp_path / "s")
    export(assembly, tmp_path / "out.fa.gz")
    script = (
        "import sys, pysam; file = pysam.FastaFile(sys.argv[1])\n"
        "print(file.fetch('chr2', 149_000, 149_100), file.fetch('chr1', 299_990, 300_010))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "out.fa.gz"], capture_output=True, text=True)
    want = genome["chr2"][149_000:149_100].tobytes(), genome["chr1"][299_990:300_010].tobytes()
    assert done.stdout.split() == [text.decode() for text in want]


def test_a_failure_leaves_no_end_marker():
    file = io.BytesIO()
    writer = BgzipWriter(file)
    writer.write(b"ACGT")
    writer.__exit__(OSError, OSError(), None)
    assert file.getvalue() == b""
