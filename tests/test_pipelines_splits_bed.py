"""Splits by BED: intervals read as they are, and errors that name the line."""

import pytest
from split_cases import Sizes

from dnamamba.errors import InputError
from dnamamba.pipelines.splits import SplitConfig, SplitRegion, plan_splits

GENOME = Sizes("g", {"chr1": 1000, "chr2": 500})


def _bed(tmp_path, text, genomes=(GENOME,), **options):
    path = tmp_path / "split.bed"
    path.write_text(text)
    options.setdefault("bed", (str(path),))
    return plan_splits(genomes, SplitConfig(method="bed", **options))


def test_bed_intervals_are_merged(tmp_path):
    text = "# HyenaDNA\nchr1\t0\t300\ttrain\nchr1\t200\t400\ttrain\nchr1\t600\t700\tvalid\tx\nchr2 10 20 test\n"
    splits = _bed(tmp_path, text)
    assert splits.parts == {
        "train": (SplitRegion("g", "chr1", 0, 400),),
        "valid": (SplitRegion("g", "chr1", 600, 700),),
        "test": (SplitRegion("g", "chr2", 10, 20),),
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("chr1\t0\t300\n", "line 1: want contig, start, end and train, valid or test"),
        ("\nchr1\t0\tx\ttrain\n", "line 2: want whole numbers"),
        ("chr1\t0\t10\ttraining\n", "line 1: want train, valid or test in the fourth column, got 'training'"),
        ("chr1\t0\t10\ttrain\nchr3\t0\t10\ttrain\n", "line 2: no contig 'chr3' in the genome; is 'chr[12]' meant"),
        ("chr1\t0\t1001\ttrain\n", "line 1: want start < end <= 1,000 .the length of chr1., got 0-1001"),
        ("chr1\t10\t10\ttrain\n", "line 1: want start < end"),
        ("chr1\t0\t300\ttrain\nchr1\t299\t400\ttest\n", "line 2: chr1:299-400 is test but overlaps train of line 1"),
        (
            "chr1\t0\t10\ttrain\nchr1\t5\t100\ttrain\nchr1\t50\t60\ttest\n",
            "line 3: chr1:50-60 is test but overlaps train of line 2",
        ),
        ("# nothing\n", "holds no intervals"),
        ("chr1\t0\t300\ttest\n", "the train part is empty"),
    ],
)
def test_bed_errors_name_the_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        _bed(tmp_path, text)


def test_bed_files_of_several_assemblies(tmp_path):
    genomes = [Sizes("a", {"c": 100_000}), Sizes("b", {"c": 100_000})]
    (tmp_path / "a.bed").write_text("c\t0\t50000\ttrain\nc\t60000\t90000\ttest\n")
    (tmp_path / "b.bed").write_text("c\t0\t50000\ttrain\nc\t60000\t90000\ttest\n")
    files = (f"a={tmp_path}/a.bed", f"b={tmp_path}/b.bed")
    assert plan_splits(genomes, SplitConfig(method="bed", bed=files)).bases("test") == 60_000
    with pytest.raises(InputError, match="with several assemblies want assembly=file"):
        plan_splits(genomes, SplitConfig(method="bed", bed=(f"{tmp_path}/a.bed",)))
    with pytest.raises(InputError, match="no file for assembly 'b'"):
        plan_splits(genomes, SplitConfig(method="bed", bed=files[:1]))
    (tmp_path / "b.bed").write_text("c\t0\t70000\ttrain\nc\t80000\t90000\ttest\n")
    with pytest.raises(InputError, match="the same sequence in both"):
        plan_splits(genomes, SplitConfig(method="bed", bed=files))


def test_several_files_of_one_assembly_are_read_together(tmp_path):
    for name, text in {"train": "chr1\t0\t300\ttrain\n", "test": "chr1\t300\t400\ttest\n"}.items():
        (tmp_path / f"{name}.bed").write_text(text)
    files = [str(tmp_path / "train.bed"), f"g={tmp_path / 'test.bed'}"]
    splits = _bed(tmp_path, "", bed=tuple(files))
    assert (splits.bases("train"), splits.bases("test")) == (300, 100)
    (tmp_path / "test.bed").write_text("chr1\t299\t400\ttest\n")
    with pytest.raises(InputError, match=r"test\.bed, line 1: .* but overlaps train of .*train\.bed, line 1"):
        _bed(tmp_path, "", bed=tuple(files))


def test_no_such_bed(tmp_path):
    with pytest.raises(InputError, match=r"no\.bed: No such file"):
        _bed(tmp_path, "", bed=(str(tmp_path / "no.bed"),))


def test_bed_lines_of_contigs_called_like_a_track(tmp_path):
    text = "\ufefftrack name=x\nbrowser position\ntrack1\t0\t5\ttrain\ntrack\t0\t3\ttrain\nbrowser 1 2 train\n"
    splits = _bed(tmp_path, text, [Sizes("g", {"track1": 10, "track": 10, "browser": 10})])
    assert splits.bases("train") == 9


def test_hyenadna_and_basenji_lines_are_read_as_they_are(tmp_path):
    """Windows of 131,072 bases that overlap within a part, sorted by nothing, tabs, UCSC names."""
    text = "chr18\t928386\t1059458\ttrain\nchr4\t113630947\t113762019\ttrain\nchr11\t18427720\t18558792\ttrain\n"
    text += "chr4\t113639139\t113770211\ttrain\nchr16\t85805681\t85936753\tvalid\nchr8\t132158314\t132289386\ttest\n"
    sizes = {"chr18": 80_373_285, "chr4": 190_214_555, "chr11": 135_086_622, "chr16": 90_338_345, "chr8": 145_138_636}
    splits = _bed(tmp_path, text, [Sizes("hg38", sizes)])
    assert splits.bases("train") == 3 * 131_072 + 8_192
    assert splits.bases("valid") == splits.bases("test") == 131_072
