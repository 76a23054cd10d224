"""The same genome from a store, FASTA and 2bit: bases, names, digest; and what is refused."""

import gzip
import os
import pickle

import numpy as np
import pysam
import pytest
from scoring_cases import made_sequence, write_fasta
from twobit_writer import twobit_bytes

from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.store import open_store

CONTIGS = {"chr1": made_sequence(1000, 1, odd="N"), "2": made_sequence(333, 2, odd="")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The genome in every form, the folder not writable."""
    folder = tmp_path_factory.mktemp("genome")
    fasta = write_fasta(folder / "g.fa", **CONTIGS)
    pysam.tabix_compress(str(fasta), str(folder / "packed.fa.gz"))
    (folder / "plain.fa.gz").write_bytes(gzip.compress(fasta.read_bytes()))
    (folder / "g.2bit").write_bytes(twobit_bytes([(name, bases.encode()) for name, bases in CONTIGS.items()]))
    ingest(fasta, folder / "store.zarr", assembly="made")
    write_fasta(folder / "indexed.fa", **CONTIGS)
    pysam.faidx(str(folder / "indexed.fa"))
    return folder


FORMS = ["g.fa", "indexed.fa", "packed.fa.gz", "g.2bit", "store.zarr"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bases(folder, form):
    before = sorted(os.listdir(folder))
    reference = open_reference(folder / form)
    assert dict(reference.contigs) == {name: len(bases) for name, bases in CONTIGS.items()}
    for again in (reference, pickle.loads(pickle.dumps(reference))):
        for start, end in [(0, 1000), (0, 0), (7, 8), (60, 120), (990, 1000)]:
            bases = again.fetch("chr1", start, end)
            assert bases.dtype == np.uint8
            assert bases.tobytes().decode() == CONTIGS["chr1"][start:end]
    assert reference.digest == open_store(folder / "store.zarr")["made"].fingerprint
    assert sorted(os.listdir(folder)) == before  # nothing is written beside a user's file


@pytest.mark.parametrize("form", FORMS)
def test_names(folder, form):
    reference = open_reference(folder / form, aliases={"NC_000001.11": "chr1"})
    for name, contig in {"chr1": "chr1", "1": "chr1", "chr2": "2", "NC_000001.11": "chr1", "chr3": None}.items():
        assert reference.resolve(name) == contig
    assert pickle.loads(pickle.dumps(reference)).resolve("NC_000001.11") == "chr1"


def test_the_manifest_of_the_name_tells_aliases(tmp_path):
    """Accessions are known where the lengths are those of the assembly, and only there."""
    real = write_fasta(tmp_path / "hg38.fa", chrM="A" * 16569)
    assert open_reference(real).resolve("NC_012920.1") == "chrM"
    other = write_fasta(tmp_path / "hg38.small.fa", chrM="A" * 100)
    assert open_reference(other).resolve("NC_012920.1") is None


def test_a_fork_reads_right(folder):
    """Two processes on one handle would move each other's place in the file."""
    reference = open_reference(folder / "packed.fa.gz")
    wanted = CONTIGS["chr1"]
    child = os.fork()
    good = all(reference.fetch("chr1", i, i + 50).tobytes().decode() == wanted[i : i + 50] for i in range(0, 900, 3))
    if not child:
        os._exit(not good)
    assert good
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "file, options, message",
    [
        ("none.fa", {}, "none.fa"),
        ("plain.fa.gz", {}, "plain gzip, which has no random access"),
        ("g.fa", {"assembly": "hg38"}, "is a file and no genome store"),
        ("g.fa", {"aliases": {"x": "chr7"}}, "alias 'x': there is no contig 'chr7'"),
        ("store.zarr", {"assembly": "hg38"}, "no assembly 'hg38'"),
    ],
)
def test_refusals(folder, file, options, message):
    with pytest.raises(InputError, match=message):
        open_reference(folder / file, **options)


def test_ragged_lines_are_refused(tmp_path):
    (tmp_path / "ragged.fa").write_text(">a\nACGT\nAC\nACGT\n")
    with pytest.raises(InputError, match="cannot be indexed"):
        open_reference(tmp_path / "ragged.fa")


def test_bases_outside_are_refused(folder):
    reference = open_reference(folder / "g.2bit")
    for place in (("chr1", 5, 1001), ("chr1", -1, 3), ("chrX", 0, 1)):
        with pytest.raises(InputError, match="no bases"):
            reference.fetch(*place)
