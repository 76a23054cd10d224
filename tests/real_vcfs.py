"""The real variant files, each with its reference, and what should become of their alleles, counted by pysam alone."""

from collections import Counter
from pathlib import Path

import pysam

PAIRS = {
    "hg38.chr20.3samples.vcf.gz": "human/hg38.chr20_1-1000000.fa.gz",
    "hg38.chr20.NA24385.vcf.gz": "human/hg38.chr20_1-1000000.fa.gz",
    "rCRS.1000G_2020_chrM.vcf.gz": "mito/human.fa",
    "rCRS.chrM_indels.vcf.gz": "mito/human.fa",
    "hg19.chr20.giab_100kb.vcf.gz": "human/hg19.chr20_9995001-11095000_in_N.fa.gz",
    "b37.chr20_21.CEUTrio.g.vcf.gz": "human/hg19.chr20_9995001-11095000_in_N.fa.gz",
    "b37.chr1.clinvar_2023.vcf.gz": "human/b37.chr1_1-1000000.fa.gz",
    "b37.chr1.clinvar_2019.vcf.gz": "human/b37.chr1_1-1000000.fa.gz",
    "z_1Mb.1000G.vcf.gz": "human/b37.z_1Mb.fa.gz",
    "b37.BRCA1.1000G.vcf.gz": "human/b37.BRCA1_17_41196313-41277500.fa",
    "hg38.chr22_chrY.SV_panel.vcf.gz": "human/hg38.chr22_32000001-32300000.fa.gz",
    "spec_complexfile_4.3.vcf": "human/b37.chr1_1-1000000.fa.gz",
}
"""Variant file -> reference. The last two have none: a genome that has a contig of their name stands in."""
OTHER_NAMES = {"chrM": "NC_012920.1", "20": "chr20"}


def expected(vcf: Path, fasta: Path) -> Counter[str]:
    """Reason, or "scored" -> alleles, by rules of VCF alone."""
    found: Counter[str] = Counter()
    before = pysam.set_verbosity(0)
    with pysam.FastxFile(str(fasta)) as genome, pysam.VariantFile(str(vcf)) as file:
        sequences = {entry.name: entry.sequence.upper() for entry in genome}
        for record in file:
            sequence = sequences.get(OTHER_NAMES.get(record.chrom, record.chrom))
            for alt in record.alts or (".",):
                found[_expected(record.pos - 1, record.ref.upper(), alt, sequence)] += 1
    pysam.set_verbosity(before)
    return found


def _expected(start: int, ref: str, alt: str, sequence: str | None) -> str:
    if alt == ".":
        return "reference allele only"
    if alt == "*":
        return "spanning deletion (*)"
    if "[" in alt or "]" in alt:
        return "breakend"
    if alt[0] == "<":
        return "symbolic allele"
    if sequence is None:
        return "unknown contig"
    if start + len(ref) > len(sequence):
        return "past the end of the contig"
    return "scored" if sequence[start : start + len(ref)] == ref else "REF does not match"
