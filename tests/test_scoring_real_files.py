"""Every real variant file: what is scored and what is skipped agrees with pysam alone; planted mismatches; aliases."""

from collections import Counter

import pysam
import pytest
from random_models import random_model
from real_vcfs import OTHER_NAMES, PAIRS, expected

from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.regions import Region
from dnamamba.pipelines.variant_choice import VariantChoice
from dnamamba.scoring.files import score_file, score_table
from dnamamba.scoring.scorer import VariantScorer
from dnamamba.scoring.types import StrandParts

ABOUT = {"model": {}, "reference": {}, "options": {}}


@pytest.fixture(scope="module")
def model():
    return random_model(1, d_model=16, n_layers=1)


@pytest.fixture
def unread(monkeypatch):
    """Only what decides whether an allele can be scored; the model reads nothing."""

    def run(self, jobs):
        for job in jobs:
            job.parts.append(StrandParts(0.0, 0.0, 0, 0))

    monkeypatch.setattr(VariantScorer, "_run", run)


def _scorer(model, fasta):
    reference = open_reference(fasta)
    aliases = {alias: name for alias, name in OTHER_NAMES.items() if name in reference.contigs and alias == "chrM"}
    return VariantScorer(model, open_reference(fasta, None, aliases), context=4096, horizon=16)


@pytest.mark.parametrize("name", PAIRS)
def test_counts_agree_with_pysam(real_data, tmp_path, model, unread, name):
    vcf, fasta = real_data / "vcf" / name, real_data / PAIRS[name]
    scorer = _scorer(model, fasta)
    out = tmp_path / "out.vcf.gz"
    counts = score_file(scorer.score_many, scorer.reference, vcf, str(out), about=ABOUT)
    wanted = expected(vcf, fasta)
    assert Counter({"scored": counts.scored, **counts.skipped}) == wanted
    before = pysam.set_verbosity(0)
    with pysam.VariantFile(str(vcf)) as theirs, pysam.VariantFile(str(out)) as ours:
        for record, scored in zip(theirs, ours, strict=True):
            assert (record.chrom, record.pos, record.id, record.alleles) == (
                scored.chrom, scored.pos, scored.id, scored.alleles,
            )  # fmt: skip
    pysam.set_verbosity(before)


def test_planted_mismatches_are_found_every_one(real_data, tmp_path, model, unread):
    fasta, planted = real_data / PAIRS["z_1Mb.1000G.vcf.gz"], 0
    with pysam.BGZFile(str(real_data / "vcf" / "z_1Mb.1000G.vcf.gz")) as file, open(tmp_path / "p.vcf", "wb") as out:
        for number, line in enumerate(file):
            columns = line.split(b"\t")
            if number % 10 == 0 and len(columns) > 7 and len(columns[3]) == len(columns[4]) == 1:
                columns[3:5] = [columns[4], columns[3]]
                planted += 1
            out.write(b"\t".join(columns) + b"\n")
    scorer = _scorer(model, fasta)
    frame = scorer.score_vcf(tmp_path / "p.vcf")
    assert planted > 2000
    assert (frame.skipped == "REF does not match").sum() == planted


def test_a_contig_under_another_name_scores_the_same(real_data, tmp_path, model):
    scorer = _scorer(model, real_data / PAIRS["b37.chr20_21.CEUTrio.g.vcf.gz"])
    choice = VariantChoice(scorer.reference.resolve, [Region("chr20", 10_000_000, 10_003_000)], ())
    table = score_table(
        scorer.score_many, scorer.reference, real_data / "vcf" / "b37.chr20_21.CEUTrio.g.vcf.gz", choice=choice
    )
    frame = table.to_pandas()
    scored = frame[frame.skipped.isna()]
    assert set(frame.chrom) == {"20"}
    assert len(scored) > 3
    row = scored.iloc[0]
    assert scorer.score("chr20", int(row.pos), row.ref, row.alt).score == pytest.approx(row.score, abs=1e-4)
