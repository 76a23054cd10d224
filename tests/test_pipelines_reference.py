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


def _write(path, text, packed):
    with pysam.BGZFile(str(path), "wb") if packed else open(path, "wb") as file:
        file.write(text.encode())


WITHOUT_INDEX = {
    ">a\nACGT\nAC\nACGT\n": ": line 4 is not as",
    ">a\nACGT\nACGTA\n": ": line 3 is not as",
    ">a\nACGT\n\nACGT\n": ": line 4 is not as",
    "ACGT\n>a\nACGT\n": ": line 1 is not as",
    ">a\rACGT\rACGT\r": "; `dnamamba",
}


@pytest.mark.parametrize("text, why", WITHOUT_INDEX.items())
@pytest.mark.parametrize("packed", [False, True])
def test_what_has_no_index_is_refused_in_one_line(tmp_path, capfd, text, why, packed):
    path = tmp_path / "ragged.fa"
    _write(path, text, packed)
    with pytest.raises(InputError, match=f"cannot be indexed{why}.*genome ingest` reads it.*; give the store"):
        open_reference(path)
    assert capfd.readouterr().err == ""  # htslib is quiet


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_name_that_comes_again_is_refused(tmp_path, capfd, indexed, packed):
    """htslib leaves it out of the index, without an error."""
    text = f">e\n>a x\n{'ACGT' * 40_000}\n>b\nAC\n\n>a y\n{'GGCC' * 40_000}\n>c\nACGT\n"
    for number, one in enumerate((text, text[: text.index(">c")])):  # in the middle, and at the end
        path = tmp_path / f"{number}.fa"
        _write(path, one, packed)
        if indexed:
            pysam.faidx(str(path))
        capfd.readouterr()
        with pytest.raises(InputError, match="contig 'a': the name of record 4 is that of record 2 too; rename one"):
            open_reference(path)
        assert capfd.readouterr().err == ""


def test_a_header_without_name_and_another_format_are_refused(tmp_path):
    for text, message in {
        ">\nAC\n": "record 1: the header has no name",
        "@a\nAC\n+\nII\n": "FASTQ",
        "": "empty",
    }.items():
        (tmp_path / "odd.fa").write_text(text)
        with pytest.raises(InputError, match=message):
            open_reference(tmp_path / "odd.fa")


ODD = [">a\nACGT\n>e\n\n>b  \nAC\n", ">a \r\nACGT\r\n>b\r\nAC\r\n\r\n", "\n>  a\nACGT\n\n>b\nAC \n\n"]


@pytest.mark.parametrize("text", ODD)
def test_blank_lines_and_contigs_without_bases_are_none_too_many(tmp_path, text):
    (tmp_path / "odd.fa").write_text(text)
    assert open_reference(tmp_path / "odd.fa").fetch("a", 1, 4).tobytes() == b"CGT"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "before, after", [("A\nG", "AT\nG"), (">b", ">bb"), (">b", ">c\nA\n>b"), ("CCG\n>b", "CG\n>b")]
)
def test_an_index_of_another_file_is_told(tmp_path, before, after, packed):
    text = ">a\n" + "GATTACA\n" * 9 + "CCG\n>b\nACCA\n"
    path = tmp_path / "g.fa"
    for one in (text, text.replace(before, after, 1)):
        _write(path, one, packed)
        if one == text:
            pysam.faidx(str(path))
            assert open_reference(path).fetch("b", 0, 4).tobytes() == b"ACCA"
    with pytest.raises(InputError, match="its index is of another file; remove it"):
        open_reference(path)


def test_a_damaged_block_is_told(tmp_path):
    path = tmp_path / "g.fa.gz"
    _write(path, "".join(f">{i}\n{made_sequence(60, i)}\n" for i in range(2000)), packed=True)
    pysam.faidx(str(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged, or its index is of another file"):
        open_reference(path)


def test_a_line_end_among_the_bases_is_of_another_index(tmp_path):
    """Inside the last contig only a line end in the place of a base tells."""
    path = write_fasta(tmp_path / "g.fa", a="ACGT" * 40)
    pysam.faidx(str(path))
    text = path.read_text()
    path.write_text(text.replace("ACGT", "AACGT", 1)[:-2] + "\n")
    with pytest.raises(InputError, match=r"contig 'a', bases from 51 on: its index is of another file"):
        open_reference(path).fetch("a", 50, 70)


def test_bases_outside_are_refused(folder):
    reference = open_reference(folder / "g.2bit")
    for place in (("chr1", 5, 1001), ("chr1", -1, 3), ("chrX", 0, 1)):
        with pytest.raises(InputError, match="no bases"):
            reference.fetch(*place)


@pytest.mark.parametrize(
    "rows",
    [
        "a\t12\t3\t0\t9\nb\t4\t20\t4\t5\n",  # lines of no base
        "a\t12\t3\t8\t9\nb\t4\t5\t4\t5\n",  # one contig in the other
        "a\t12\t-3\t8\t9\nb\t4\t20\t4\t5\n",
        "a\t12\t3\t8\t9\nb\t4\t999999999999\t4\t5\n",
        "a\t9223372036854775807\t3\t8\t9\n",
        "a\tx\t3\t8\t9\n",
        "",
    ],
)
def test_a_hostile_index_is_one_line(tmp_path, rows):
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGTACGT\nACGT\n>b\nGGGG\n")
    (tmp_path / "x.fa.fai").write_text(rows)
    with pytest.raises(InputError, match=r"its index is of another file|cannot be opened with its index"):
        open_reference(str(path))
