"""Genome manifests: where an assembly's files are, what they must be, and what its contigs are called.

One YAML file a genome. Ours come with the package; users add theirs beside them, see `manifest_folders`. The keys are
those of the dataclasses below; docs/genomes.md describes them.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from dnamamba.errors import InputError
from dnamamba.pipelines.store_format import check_assembly_name

FORMATS = ("2bit", "fasta")
KINDS = ("autosome", "sex", "mitochondrion", "unplaced", "alt")
UNKNOWN = "unknown"
"""The word for a size, checksum or licence that nobody has stated; an empty value would look forgotten."""
VARIABLE = "DNAMAMBA_MANIFESTS"
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of an assembly, at one or several addresses that all serve the same bytes."""

    format: Literal["2bit", "fasta"]
    urls: tuple[str, ...]
    """Mirrors in the order they are tried."""
    size: int | None
    """In bytes; None: unknown."""
    md5: str | None
    """32 hexadecimal digits; None: unknown."""
    md5sums: str | None
    """Address of the publisher's list of checksums, `md5  name` lines; None: unknown."""


@dataclass(frozen=True, kw_only=True)
class ManifestContig:
    """A contig of an assembly, by all the names it goes under."""

    name: str
    length: int
    """In bases."""
    aliases: tuple[str, ...]
    """Other names: accessions of GenBank and RefSeq, numbers without "chr". No two contigs share one."""
    homolog: str | None
    """Human chromosome as a homology label (hsa3, hsa17x5); None where it is not stated."""
    kind: str
    """autosome, sex, mitochondrion, unplaced or alt."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of an assembly."""

    name: str
    species: str
    common_name: str
    title: str
    """The assembly's name as its authors write it."""
    accession: str
    sex: str
    licence: str
    files: tuple[SourceFile, ...]
    """The preferred one first. They hold the same sequences, maybe under other names."""
    contigs: tuple[ManifestContig, ...]
    """Those that are known; the files may hold more."""
    bases: int | None = None
    """Of the whole assembly; None: unknown."""


_Place = Path | Traversable


def manifest_folders() -> list[Path]:
    """Folders of the user's own manifests: $DNAMAMBA_MANIFESTS, then dnamamba/manifests under $XDG_CONFIG_HOME (or
    ~/.config), where that is there.

    Raises:
        InputError: $DNAMAMBA_MANIFESTS names no folder.
    """
    folders = []
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_dir():
            raise InputError(f"{VARIABLE}: {named}: no such folder; a folder of NAME.yaml manifests is wanted")
        folders.append(Path(named))
    config = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    home = Path(config) if os.path.isabs(config) else Path("~/.config").expanduser()
    if (own := home / "dnamamba" / "manifests").is_dir() and own not in folders:
        folders.append(own)
    return folders


def manifest_names() -> list[str]:
    """Names of all manifests, ours and the user's, sorted."""
    return sorted(_found())


def find_manifest(name: str) -> Manifest | None:
    """The manifest of this name, or None when there is none.

    Raises:
        InputError: as `load_manifest` when it is there and wrong.
    """
    return load_manifest(name) if not name.endswith(_ENDINGS) and name in _found() else None


def load_manifest(name_or_path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Args:
        name_or_path: the name of a genome (`manifest_names`), or the path of a file that ends in .yaml or .yml.

    Raises:
        InputError: no such name or file (the nearest name is shown), two manifests of one name (a user's file never
            stands in for ours silently), or anything wrong in the file, with its key.
    """
    text = os.fspath(name_or_path)
    if text.endswith(_ENDINGS):
        return _read(Path(text))
    found = _found()
    if text not in found:
        near = get_close_matches(text, found, n=1, cutoff=0.5)
        hint = f"is {near[0]!r} meant?" if near else f"there are {', '.join(sorted(found))}"
        raise InputError(f"no manifest named {text!r}; {hint}")
    places = found[text]
    if len(places) > 1:
        raise InputError(
            f"two manifests are named {text!r}: {places[0]} and {places[1]}; rename yours, or give its path"
        )
    manifest = _read(places[0])
    if manifest.name != text:
        raise InputError(f"{places[0]}: name: is {manifest.name!r}; want {text!r}, as the file is called")
    return manifest


def _found() -> dict[str, list[_Place]]:
    """Name -> its files; more than one is a clash."""
    found: dict[str, list[_Place]] = {}
    for folder in (package_files("dnamamba") / "data_manifests", *manifest_folders()):
        for file in folder.iterdir():
            stem, ending = os.path.splitext(file.name)
            if ending in _ENDINGS and not stem.startswith("."):
                found.setdefault(stem, []).append(file)
    return found


def _read(place: _Place) -> Manifest:
    try:
        data = yaml.safe_load(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror or error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{place}, line {line}: not YAML: {error.problem}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{place}: not a YAML text file: {error}") from None
    return _manifest(data, str(place))


def _manifest(data: Any, where: str) -> Manifest:
    keys = _Keys(data, Manifest, where, "", optional=("bases",))
    name = keys.text("name")
    try:
        check_assembly_name(name)
    except InputError:
        raise InputError(f"{where}: name: want letters, digits and . _ + -, got {name!r}") from None
    made = Manifest(
        name=name,
        species=keys.text("species"),
        common_name=keys.text("common_name"),
        title=keys.text("title"),
        accession=keys.text("accession"),
        sex=keys.text("sex"),
        licence=keys.text("licence"),
        files=tuple(_file(row, where, f"files[{i}]") for i, row in enumerate(keys.rows("files"))),
        contigs=tuple(_contig(row, where, f"contigs[{i}]") for i, row in enumerate(keys.rows("contigs", least=0))),
        bases=None if keys.values.get("bases", UNKNOWN) == UNKNOWN else keys.count("bases"),
    )
    listed = sum(contig.length for contig in made.contigs)
    if made.bases is not None and made.bases < listed:
        raise keys.wrong("bases", f"the contigs hold {listed}, which is more than the whole")
    owner: dict[str, tuple[str, str]] = {}
    for i, contig in enumerate(made.contigs):
        for alias in (contig.name, *contig.aliases):
            other, key = owner.setdefault(alias, (contig.name, f"contigs[{i}]"))
            if key != f"contigs[{i}]":
                raise InputError(f"{where}: contigs[{i}]: {alias!r} is a name of {contig.name!r} and of {other!r}")
    return made


def _file(data: Any, where: str, key: str) -> SourceFile:
    keys = _Keys(data, SourceFile, where, key)
    form, md5, md5sums = keys.choice("format", FORMATS), keys.known_text("md5"), keys.known_text("md5sums")
    if md5 is not None and not re.fullmatch("[0-9a-f]{32}", md5):
        raise keys.wrong("md5", "want 32 hexadecimal digits in lower case, or unknown")
    urls = keys.texts("urls")
    if not urls:
        raise keys.wrong("urls", "want at least one address")
    for label, url in [("urls", url) for url in urls] + ([("md5sums", md5sums)] if md5sums is not None else []):
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", url):
            raise InputError(f"{where}: {key}.{label}: want an address such as https://host/path, got {url!r}")
    size = None if keys.values["size"] == UNKNOWN else keys.count("size")
    return SourceFile(format="2bit" if form == "2bit" else "fasta", urls=urls, size=size, md5=md5, md5sums=md5sums)


def _contig(data: Any, where: str, key: str) -> ManifestContig:
    keys = _Keys(data, ManifestContig, where, key, optional=("aliases", "homolog"))
    return ManifestContig(
        name=keys.text("name"),
        length=keys.count("length"),
        aliases=keys.texts("aliases"),
        homolog=keys.text("homolog") if "homolog" in keys.values else None,
        kind=keys.choice("kind", KINDS),
    )


_Row = TypeVar("_Row", Manifest, SourceFile, ManifestContig)


class _Keys:
    """The keys of one mapping, read one by one; every complaint names file and key."""

    def __init__(self, data: Any, kind: type[_Row], where: str, prefix: str, optional: tuple[str, ...] = ()) -> None:
        self.where, self.prefix = where, f"{prefix}." if prefix else ""
        if not isinstance(data, Mapping):
            raise InputError(f"{where}: {prefix or 'the file'}: want 'key: value' lines, got {data!r:.60}")
        self.values: Mapping[Any, Any] = data
        known = [field.name for field in fields(kind)]
        for key in data:
            if key not in known:
                near = get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f"is {self.prefix}{near[0]} meant?" if near else f"known here: {', '.join(known)}"
                raise InputError(f"{where}: {self.prefix}{key}: unknown key; {hint}")
        for key in known:
            if key not in data and key not in optional:
                hint = f" (the word {UNKNOWN!r} will do)" if key in ("size", "md5", "md5sums", "licence", "sex") else ""
                raise InputError(f"{where}: {self.prefix}{key}: missing{hint}")

    def wrong(self, key: str, wanted: str) -> InputError:
        return InputError(f"{self.where}: {self.prefix}{key}: {wanted}, got {self.values[key]!r:.80}")

    def text(self, key: str) -> str:
        value = self.values[key]
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self.wrong(key, "want text" if value is None else "want text (a number or date in quotes)")
        return value

    def known_text(self, key: str) -> str | None:
        value = self.text(key)
        return None if value == UNKNOWN else value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.values.get(key, [])
        good = isinstance(values, list) and all(isinstance(one, str) and one and one.isprintable() for one in values)
        if not good:
            raise self.wrong(key, "want a list of texts, numbers in quotes")
        return tuple(values)

    def count(self, key: str) -> int:
        value = self.values[key]
        if type(value) is not int or value < 1:  # a bool is an int too
            raise self.wrong(key, "want a whole number above 0")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.values[key]
        if value not in choices:
            raise self.wrong(key, f"want one of {', '.join(choices)}")
        return str(value)

    def rows(self, key: str, least: int = 1) -> list[Any]:
        values = self.values[key]
        if not isinstance(values, list) or len(values) < least:
            raise self.wrong(
                key, "want a list with at least one entry" if least else "want a list, [] when none is known"
            )
        return values
