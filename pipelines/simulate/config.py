"""What the user can choose about the embedded apes."""

from dataclasses import dataclass

from dnamamba.errors import InputError

SHORTEST_CONTIG = 10_000


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Five simulated genomes: human, chimpanzee, bonobo, gorilla, orangutan. Same config, same bytes."""

    seed: int = 0
    """Any whole number from 0. Another seed is another ancestor, library, tree of every locus and set of mutations."""
    bases: int = 2_000_000
    """Bases of the common ancestor's genome; each species comes out within about 1% of it."""
    contigs: int = 8
    """Contigs a genome, chr1 .. chrK from the longest (1.25 times the mean) to the shortest (0.75 times). Contigs of
    one name are orthologous over all species and share nothing but the repeat library with other names."""
    gc_domain: int = 40_000
    """Mean length of a domain of one GC content, bases."""
    cpg: float = 0.20
    """CpG observed over expected in the ancestor's unique DNA."""
    repeats: float = 0.45
    """Share of the ancestor covered by interspersed repeats."""
    microsatellites: float = 0.02
    """Share covered by tandem repeats with units of 1 to 6 bases."""
    minisatellites: float = 0.02
    """Share covered by tandem repeats with units of 9 to 64 bases."""
    far_share: float = 0.10
    """Share covered by families private to their contig, which only a reader of far context can predict."""
    far_divergence: float = 0.01
    """Substitutions a site between a private family's consensus and each of its ancestral copies."""
    young_per_mb: float = 6.0
    """Insertions of each species' own young subfamilies in a million bases of its genome."""
    young_pan_per_mb: float = 3.0
    """Insertions of the young subfamilies that chimpanzee and bonobo share, in a million bases."""
    young_diagnostic: float = 0.06
    """Share of bases in which a young subfamily's consensus differs from the common one it descends from."""
    locus: int = 2_000
    """Mean length of a locus with one gene tree, bases."""
    gaps_per_mb: float = 1.0
    """Runs of N in a million bases, 100 to 2,000 bases each, placed in each species apart: no label hides in them."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"simulate.seed: want 0 or more, got {self.seed}")
        if self.contigs < 1:
            raise InputError(f"simulate.contigs: want 1 or more, got {self.contigs}")
        if self.bases < self.contigs * SHORTEST_CONTIG:
            raise InputError(
                f"simulate.bases: want {SHORTEST_CONTIG:,} or more for each of {self.contigs} contigs,"
                f" got {self.bases:,}"
            )
        for name in ("gc_domain", "locus"):
            if getattr(self, name) < 100:
                raise InputError(f"simulate.{name}: want 100 bases or more, got {getattr(self, name)}")
        shares = ("repeats", "microsatellites", "minisatellites", "far_share")
        for name in (*shares, "far_divergence", "young_diagnostic"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"simulate.{name}: want a share from 0 to below 1, got {getattr(self, name)}")
        if sum(getattr(self, name) for name in shares) > 0.9:
            raise InputError(f"simulate: {', '.join(shares)} together must leave a tenth of the genome unique")
        if not 0.0 < self.cpg <= 1.5:
            raise InputError(f"simulate.cpg: want observed over expected above 0 and up to 1.5, got {self.cpg}")
        for name in ("young_per_mb", "young_pan_per_mb", "gaps_per_mb"):
            if not 0.0 <= getattr(self, name) <= 200.0:
                raise InputError(f"simulate.{name}: want 0 to 200 in a million bases, got {getattr(self, name)}")

    def contig_lengths(self) -> list[int]:
        """Ancestral length of each contig, longest first; they add up to `bases`."""
        k = self.contigs
        weights = [1.0] if k == 1 else [1.25 - 0.5 * i / (k - 1) for i in range(k)]
        lengths = [int(self.bases * w / sum(weights)) for w in weights]
        lengths[0] += self.bases - sum(lengths)
        return lengths
