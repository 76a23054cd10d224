"""Real variants with something known of them: ClinVar's verdicts, and how common an allele is; and random ones."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

from dnamamba.pipelines.variants import Variant

BENIGN = {"Benign", "Likely_benign", "Benign/Likely_benign"}
PATHOGENIC = {"Pathogenic", "Likely_pathogenic", "Pathogenic/Likely_pathogenic"}
COMMON = 0.05  # frequency of the rarer allele from which a variant is common
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True)
class Labelled:
    """Variants of one comparison. `label` is True for those that should be the likelier: benign, or common."""

    name: str
    reference: str
    variants: list[Variant]
    label: np.ndarray
    """bool [n]."""
    stratum: np.ndarray
    """str [n]: only variants of one stratum are compared with each other."""


def clinvar(data: Path, *, indels: bool, by_consequence: bool) -> Labelled:
    """ClinVar 2023, first 2,000 records of chr1: (likely) benign against (likely) pathogenic."""
    variants, label, stratum = [], [], []
    before = pysam.set_verbosity(0)
    with pysam.VariantFile(str(data / "vcf/b37.chr1.clinvar_2023.vcf.gz")) as file:
        for record in file:
            verdict = ",".join(record.info.get("CLNSIG", ()))
            if verdict not in BENIGN | PATHOGENIC or not record.alts:
                continue
            alt = record.alts[0]
            if (len(record.ref) != len(alt)) != indels:
                continue
            consequence = record.info.get("MC", ("|unknown",))[0].split("|")[1]
            variants.append(Variant(record.chrom, record.pos, str(record.id), record.ref, alt))
            label.append(verdict in BENIGN)
            stratum.append(consequence if by_consequence else "all")
    pysam.set_verbosity(before)
    kind = "indels" if indels else "SNVs"
    name = f"ClinVar {kind}, benign v pathogenic{', same consequence' if by_consequence else ''}"
    return Labelled(name, "human/b37.chr1_1-1000000.fa.gz", variants, np.array(label), np.array(stratum))


def frequencies(data: Path) -> tuple[list[Variant], np.ndarray, str]:
    """Substitutions of the 1000 Genomes on 1 Mb of chr20 with the frequency of ALT, and the letters of that Mb."""
    variants, frequency = [], []
    before = pysam.set_verbosity(0)
    with pysam.VariantFile(str(data / "vcf/z_1Mb.1000G.vcf.gz")) as file:
        for record in file:
            alts = record.alts or ()
            if len(alts) == 1 and len(record.ref) == len(alts[0]) == 1 and alts[0] in "ACGT":
                variants.append(Variant("z", record.pos, str(record.id), record.ref, alts[0]))
                frequency.append(record.info["AF"][0])
    pysam.set_verbosity(before)
    with pysam.FastxFile(str(data / "human/b37.z_1Mb.fa.gz")) as genome:
        letters = next(iter(genome)).sequence.upper()
    return variants, np.array(frequency), letters


def common_against(data: Path, other: str, seed: int = 0) -> Labelled:
    """Common substitutions of 1 Mb of chr20 against others of the same Mb.

    Args:
        data: folder of the files.
        other: "random" places and letters where no variant is known; "matched" random ones, one of the same change in
            the same trinucleotide for each common one; or "singletons", real variants that one chromosome in 5,008 has.
        seed: of the random ones.
    """
    variants, frequency, letters = frequencies(data)
    common = [v for v, f in zip(variants, frequency, strict=True) if COMMON <= f <= 1 - COMMON]
    rng = np.random.default_rng(seed)
    if other == "singletons":
        once = [v for v, f in zip(variants, frequency, strict=True) if f < 1.5 / 5008]
        against = [once[i] for i in sorted(rng.choice(len(once), len(common), replace=False))]
    else:
        against = _random(common, {v.pos for v in variants}, letters, rng, matched=other == "matched")
    names = {
        "random": "common v random SNVs",
        "matched": "common v random SNVs, same trinucleotide change",
        "singletons": "common v singleton SNVs",
    }
    label = np.array([True] * len(common) + [False] * len(against))
    return Labelled(names[other], "human/b37.z_1Mb.fa.gz", common + against, label, np.full(len(label), "all"))


def _random(
    common: list[Variant], taken: set[int], letters: str, rng: np.random.Generator, *, matched: bool
) -> list[Variant]:
    places = defaultdict(list)  # trinucleotide -> middle bases, 0-based
    for at in range(1, len(letters) - 1):
        if at + 1 not in taken and set(letters[at - 1 : at + 2]) <= set("ACGT"):
            places[letters[at - 1 : at + 2] if matched else ""].append(at)
    free = {kind: iter(rng.permutation(found).tolist()) for kind, found in places.items()}
    drawn = []
    for variant in common:
        kind = letters[variant.pos - 2 : variant.pos + 1] if matched else ""
        at = next(free.get(kind, iter(())), None)
        if at is not None:
            ref = letters[at]
            alt = variant.alt if matched else str(rng.choice([x for x in "ACGT" if x != ref]))
            drawn.append(Variant("z", at + 1, ".", ref, alt))
    return drawn
