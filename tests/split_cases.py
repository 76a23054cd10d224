"""Assemblies without bases, and where the parts of a split lie in them."""

from dnamamba.errors import InputError


class Sizes:
    """An assembly of which only names and lengths are known."""

    def __init__(self, name, sizes):
        self.name, self.sizes, self.fingerprint, self.attributes = name, sizes, f"digest of {name}", {}

    def resolve(self, name):
        if name not in self.sizes:
            raise InputError(f"{self.name}: no contig {name!r}")
        return name


def where(splits, part):
    """The bases of a part, (start, end) by (assembly, contig)."""
    return {(r.assembly, r.contig): (r.start, r.end) for r in splits.parts[part]}
