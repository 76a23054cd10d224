"""Two hundred real variants of seven files against two whole windows each; files with alleles that have no score."""

import numpy as np
import pysam
import pytest
from random_models import random_model
from scoring_cases import naive_scores

from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.variants import Variant
from dnamamba.scoring.scorer import VariantScorer

CONTEXT, HORIZON = 512, 96
CLOSE = 1e-3  # nats
FILES = [  # VCF, reference, aliases, variants
    ("hg38.chr20.3samples.vcf.gz", "human/hg38.chr20_1-1000000.fa.gz", {}, 50),
    ("rCRS.chrM_indels.vcf.gz", "mito/human.fa", {"chrM": "NC_012920.1"}, 40),
    ("hg19.chr20.giab_100kb.vcf.gz", "human/hg19.chr20_9995001-11095000_in_N.fa.gz", {}, 20),
    ("b37.chr20_21.CEUTrio.g.vcf.gz", "human/hg19.chr20_9995001-11095000_in_N.fa.gz", {}, 20),
    ("b37.chr1.clinvar_2023.vcf.gz", "human/b37.chr1_1-1000000.fa.gz", {}, 30),
    ("z_1Mb.1000G.vcf.gz", "human/b37.z_1Mb.fa.gz", {}, 20),
    ("b37.BRCA1.1000G.vcf.gz", "human/b37.BRCA1_17_41196313-41277500.fa", {}, 20),
]


def _alleles(path, limit=4000):
    """Alternate alleles as Variants, indels and long substitutions first, so that a few hold every kind."""
    alleles = []
    with pysam.VariantFile(str(path)) as file:
        for record in file:
            alleles += [
                Variant(record.chrom, record.pos, record.id or ".", record.ref, alt) for alt in record.alts or ()
            ]
            if len(alleles) > limit:
                break
    return alleles


def _chosen(alleles, count):
    """Half single bases, half anything longer, evenly along the file."""
    short = [v for v in alleles if len(v.ref) == len(v.alt) == 1]
    longer = [v for v in alleles if len(v.ref) != 1 or len(v.alt) != 1]
    kinds = [(short, count - min(count // 2, len(longer))), (longer, min(count // 2, len(longer)))]
    return [some[i] for some, n in kinds for i in np.linspace(0, len(some) - 1, n, dtype=int)]


@pytest.mark.parametrize("vcf, fasta, aliases, count", FILES, ids=[file[0] for file in FILES])
def test_real_variants_equal_two_whole_windows(real_data, vcf, fasta, aliases, count):
    reference = open_reference(real_data / fasta, aliases=aliases)
    alleles = _alleles(real_data / "vcf" / vcf)
    model = random_model(n_layers=2)
    scorer = VariantScorer(model, reference, context=CONTEXT, horizon=HORIZON)
    checked = 0
    alleles = _chosen([v for v in alleles if set(v.alt.upper()) <= set("ACGT") and reference.resolve(v.chrom)], count)
    for variant, score in zip(alleles, scorer.score_many(alleles), strict=True):
        assert score.skipped is None, variant
        forward, reverse = naive_scores(model, reference, [variant], CONTEXT, HORIZON)
        assert score.forward == pytest.approx(forward.total, abs=CLOSE)
        assert score.reverse == pytest.approx(reverse.total, abs=CLOSE)
        checked += 1
    assert checked == count


def test_a_file_of_symbolic_alleles_and_names_with_and_without_chr(real_data):
    reference = open_reference(real_data / "human/hg19.chr20_9995001-11095000_in_N.fa.gz")
    scorer = VariantScorer(random_model(n_layers=1), reference, context=256, horizon=8)
    assert reference.resolve("20") == "chr20"
    reasons = {}
    for score in scorer.score_many(_alleles(real_data / "vcf/b37.chr20_21.CEUTrio.g.vcf.gz", 300)):
        reasons[score.skipped] = reasons.get(score.skipped, 0) + 1
    assert set(reasons) <= {None, "symbolic allele", "unknown contig"}
    assert reasons["symbolic allele"] > 100
    panel = open_reference(real_data / "human/hg38.chr22_32000001-32300000.fa.gz")
    scorer = VariantScorer(random_model(n_layers=1), panel, context=256, horizon=8)
    for score in scorer.score_many(_alleles(real_data / "vcf/hg38.chr22_chrY.SV_panel.vcf.gz", 200)):
        assert score.skipped in ("symbolic allele", "breakend")
