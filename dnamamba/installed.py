"""Which of the packages that dnamamba asks for are here, and whether their versions will do."""

import importlib.metadata
from dataclasses import dataclass

from packaging.requirements import Requirement

EXTRAS = {
    "cluster": "--scheduler of genome ingest and score",
    "hub": "models by the Hub's OWNER/NAME",
    "s3": "stores in S3",
    "gcs": "stores in Google Cloud Storage",
}
"""Optional parts that a user may want, and for what. Those for developers are not looked at."""


@dataclass(frozen=True)
class Package:
    """One package that dnamamba, or one of its optional parts, asks for."""

    name: str
    version: str | None
    """None when it is not installed."""
    wanted: str
    """As pip writes it, ">=2.2.2"; empty where any version will do."""
    extra: str | None
    """The optional part that asks for it; None for the package itself."""
    fits: bool
    """Whether it is here in a version that is wanted."""

    @property
    def told(self) -> str:
        """Version, and what is wrong with it or missing without it."""
        if self.fits:
            return str(self.version)
        here = self.version or "not installed"
        if self.extra is not None:
            return f"{here}; pip install 'dnamamba[{self.extra}]' for {EXTRAS[self.extra]}"
        return f"{here}, wanted {self.wanted}" if self.wanted else here


def required_packages() -> list[Package]:
    """Everything that dnamamba's own metadata asks for on this system, then what `EXTRAS` ask for; empty where dnamamba
    runs from a checkout that was not installed."""
    try:
        lines = importlib.metadata.requires("dnamamba") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    asked = [Requirement(line) for line in lines]
    found = [_look(one, None) for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    for extra in EXTRAS:
        found += [
            _look(one, extra) for one in asked if one.marker is not None and f'extra == "{extra}"' in str(one.marker)
        ]
    return found


def _look(asked: Requirement, extra: str | None) -> Package:
    try:
        version = importlib.metadata.version(asked.name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    fits = version is not None and asked.specifier.contains(version, prereleases=True)
    return Package(asked.name, version, str(asked.specifier), extra, fits)
