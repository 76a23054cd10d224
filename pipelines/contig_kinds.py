"""What sort of sequence a contig is, told by its name where no manifest says it, and the words that select by it.

Sources: the naming conventions of UCSC (chr1, chrUn_GL000220v1, chr1_KI270706v1_random, chr6_GL000250v2_alt, .._fix,
chrM), Ensembl (1, X, MT, KI270728.1, CHR_HSCHR6_MHC_APD_CTG1), the T2T assemblies (chr1_hap1_hsa1, chrX_MATERNAL) and
the headers of GenBank and RefSeq.
"""

import re

PRIMARY = frozenset({"autosome", "sex", "mitochondrion"})
CLASSES = {
    "primary": PRIMARY,
    **{kind: frozenset({kind}) for kind in ("autosome", "sex", "mitochondrion", "unplaced", "alt")},
}
"""Word of --include and --exclude -> the kinds it stands for."""

_ALT = re.compile(
    r".*_(alt|fix)|chr\w+?_(ctg\d+|apd|cox|dbb|mann|mcf|qbl|ssto)_hap\d+"  # UCSC, the latter of hg18 and hg19
    r"|(CHR_)?HS\w*CTG\w*|(CHR_)?HG\d+\w*_(PATCH|HG\d+)|HLA[:*-].+"  # Ensembl and NCBI; the analysis sets
)
_UNPLACED = re.compile(
    r"chrUn.*|.+_random(_.+)?|(GL|KI|JH)\d{6}([.v]\d+)?|NW_\d+(\.\d+)?"
    r"|[A-Z]{4}\d{8,10}(\.\d+)?|[A-Z]{6}\d{9,11}(\.\d+)?"  # scaffolds of whole genome shotgun projects
    r"|(?i:(un(placed|localized)|scaffold|contig|unitig|utig)[-_.]?\d.*)"
)
_MITOCHONDRION = re.compile(r"(?i:(chr)?(M|MT|mito|MtDNA|mitochondrion))")
_HAPLOTYPE = re.compile(r"(.+?)_(hap[12]|mat|pat|maternal|paternal)(_hsa\w+)?", re.IGNORECASE)
_SEX = re.compile(r"(chr)?[XYZW]")
_AUTOSOME = re.compile(r"(chr)?([1-9]\d{0,2}[ABab]?|[234][LR]|(?=[IVX]+)(X{0,3})(IX|IV|V?I{0,3}))")
_ACCESSION = re.compile(r"[A-Z]{1,2}_?\d{5,9}\.\d+")


def contig_kind(name: str, description: str = "") -> str | None:
    """Tell a contig's kind: autosome, sex, mitochondrion, unplaced (also what is unlocalized), or alt (also patches).

    Args:
        name: of the contig.
        description: the rest of its FASTA header; it counts where the name is an accession.

    Returns:
        The kind; None when nothing known fits.
    """
    if description and _ACCESSION.fullmatch(name) and (kind := _described(description)):
        return kind
    if _ALT.fullmatch(name):
        return "alt"
    if _UNPLACED.fullmatch(name):
        return "unplaced"
    if haplotype := _HAPLOTYPE.fullmatch(name):
        name = haplotype[1]
    for kind, pattern in (("mitochondrion", _MITOCHONDRION), ("sex", _SEX), ("autosome", _AUTOSOME)):
        if pattern.fullmatch(name):
            return kind
    return None


def _described(description: str) -> str | None:
    """The kind by the title of a GenBank or RefSeq record."""
    if re.search(r"\balternate locus|\bALT_REF_LOCI|\bgenomic patch\b|\bPATCHES\b", description):
        return "alt"
    if re.search(r"\bun(placed|localized)\b|\bscaffold|\bcontig\b", description, re.IGNORECASE):
        return "unplaced"
    if re.search(r"\bmitochondri", description):
        return "mitochondrion"
    chromosome = re.search(r"\bchromosome:? ([0-9A-Za-z]{1,5})(?=[,.;]|$| whole)", description)
    return contig_kind(chromosome[1]) if chromosome else None


def other_spelling(name: str) -> str | None:
    """The name with "chr" taken off or put before it; None for M and MT.

    chrM of hg19 is another sequence than MT of GRCh37.
    """
    other = name[3:] if name.startswith("chr") else f"chr{name}"
    return None if not other or other in ("M", "MT", "chrM", "chrMT") else other
