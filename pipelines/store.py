"""Reading a genome store: `open_store(path)["hg38"]["chr1", 10_000:20_000]`. The format is in docs/store.md."""

import os
from bisect import bisect_right
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dnamamba.errors import InputError
from dnamamba.pipelines.contig_kinds import other_spelling
from dnamamba.pipelines.packed_sequence import PackedSequence, RunTable, check_rows
from dnamamba.pipelines.store_files import StoreFiles
from dnamamba.pipelines.store_format import (
    ASIDE,
    COLUMNS,
    N_BLOCK,
    RUNS,
    SMALL,
    Contig,
    array_of,
    check_assembly_name,
    decode_plain,
)
from dnamamba.pipelines.store_metadata import (
    AssemblyMetadata,
    check_assembly,
    check_attributes,
    check_layout,
    parse_document,
)
from dnamamba.pipelines.store_sequence import Bases, MappedSequence, RemoteSequence

if TYPE_CHECKING:
    from dnamamba.pipelines.store_windows import SequenceWindow


class GenomeStore:
    """One store, open for reading. Picklable; holds no open file."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Look at the store's root.

        Args:
            location: a folder, or any URL that fsspec knows.

        Raises:
            InputError: nothing there, not a genome store, or of another version.
        """
        self._files = StoreFiles(location)
        try:
            root = self._files.read("zarr.json")
        except FileNotFoundError:
            waiting = (
                f"; an interrupted ingest waits for --resume: {', '.join(self.unfinished)}" if self.unfinished else ""
            )
            raise InputError(
                f"{location}: no genome store here (no zarr.json); `dnamamba genome ingest` makes one{waiting}"
            ) from None
        where = f"{self._files}/zarr.json"
        self.attributes = check_attributes(parse_document(root, where), where)
        """Name and version of the format."""

    def __repr__(self) -> str:
        return f"GenomeStore({str(self._files)!r})"

    @property
    def location(self) -> str:
        """Folder or URL."""
        return str(self._files)

    @property
    def assemblies(self) -> list[str]:
        """Names of the assemblies, sorted.

        Raises:
            InputError: the address cannot be listed (plain HTTP); assemblies still open by name.
        """
        return [name for name in self._files.folders() if not name.startswith(".")]

    @property
    def unfinished(self) -> list[str]:
        """Names of assemblies that are being written, or whose ingest was interrupted; of a local store, sorted."""
        folder = self._files.local
        return sorted(path.parent.name for path in folder.glob(f"{ASIDE}/*/new")) if folder is not None else []

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.assemblies

    def __iter__(self) -> Iterator[str]:
        return iter(self.assemblies)

    def __getitem__(self, name: str) -> "Assembly":
        """Open one assembly.

        Raises:
            InputError: no such assembly (the nearest names are shown), or its metadata are damaged.
        """
        try:
            return Assembly(self._files, check_assembly_name(name))
        except FileNotFoundError:
            there = self.assemblies
        near = get_close_matches(name, there, n=1)
        hint = f"; is {near[0]!r} meant?" if near else f"; it holds {', '.join(there[:10]) or 'none'}"
        raise InputError(f"{self.location}: no assembly {name!r}{hint}")

    def only(self, name: str | None = None) -> "Assembly":
        """The assembly of this name; without one, the store's single assembly.

        Raises:
            InputError: no such assembly, or a name is needed because the store holds none or several.
        """
        if name is not None:
            return self[name]
        there = self.assemblies
        if len(there) != 1:
            raise InputError(
                f"{self.location}: holds {len(there)} assemblies ({', '.join(there[:10])}); say which (--assembly)"
            )
        return self[there[0]]


def open_store(location: str | os.PathLike[str]) -> GenomeStore:
    """Open a genome store for reading.

    Args:
        location: a folder, or any URL that fsspec knows.

    Raises:
        InputError: nothing there, not a genome store, or of another version.
    """
    return GenomeStore(location)


class Assembly:
    """One genome of a store: `assembly["chr1", 10_000:20_000]` is a uint8 array, the bytes of the source, case and all.

    Positions are 0-based, intervals half-open. Picklable and safe over a fork: files are opened lazily in each process.
    """

    def __init__(self, files: StoreFiles, name: str, expect: str | None = None) -> None:
        """Read and check the metadata. Use `GenomeStore.__getitem__` instead.

        Args:
            files: of the store.
            name: of the assembly.
            expect: the identity it must have; None takes any.

        Raises:
            FileNotFoundError: the store has no such assembly.
            InputError: damaged metadata, or another identity than expected.
        """
        self.name, self._files, self._where = name, files, f"{files}/{name}"
        group = files.read(f"{name}/zarr.json")
        self._metadata = self._read_metadata(group)
        self.contigs: tuple[Contig, ...] = self._metadata.contigs
        """The contig table, in the order of the source."""
        self._places = {contig.name: (contig.offset, contig.length) for contig in self.contigs}
        if expect is not None and self._identity != expect:
            raise InputError(f"{self._where}: this assembly was replaced while it was in use; open the store again")

    def _read_metadata(self, group: bytes) -> AssemblyMetadata:
        document = parse_document(group, self._where)
        layout = check_layout(document, self._where)
        names = (array_of(layout), *SMALL, *(RUNS if layout == "packed" else ()))
        arrays = {
            name: parse_document(
                self._read(f"{name}/zarr.json", f" (layout {layout!r} has it)"), f"{self._where}/{name}"
            )
            for name in names
        }
        return check_assembly(document, arrays, self._where)

    def _read(self, path: str, why: str = "") -> bytes:
        try:
            return self._files.read(f"{self.name}/{path}")
        except FileNotFoundError:
            raise InputError(f"{self._where}/{path}: missing{why}; ingest this assembly again") from None

    @property
    def _identity(self) -> str:
        return f"{self.fingerprint} {self.attributes['contigs_crc32c']}"

    def __repr__(self) -> str:
        return f"Assembly({self._where!r}, {len(self.contigs)} contigs)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Assembly, (self._files, self.name, self._identity)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store says about this assembly: source, digests, time, `simulated`, `provenance`."""
        return self._metadata.attributes

    @property
    def fingerprint(self) -> str:
        """A digest of the content: of the contigs' refget identifiers, whatever their names and order."""
        return str(self.attributes["fingerprint"])

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every contig, in bases."""
        return {contig.name: contig.length for contig in self.contigs}

    def __iter__(self) -> Iterator[str]:
        """Names of the contigs, in order."""
        return iter(self.sizes)

    def __len__(self) -> int:
        """Number of contigs."""
        return len(self.sizes)

    def __contains__(self, name: object) -> bool:
        """Whether a contig has this name; aliases, which `[...]` resolves, are in `aliases`."""
        return name in self.sizes

    @property
    def aliases(self) -> dict[str, str]:
        """Other name -> contig; `resolve` knows these, and names with and without "chr"."""
        return dict(self.attributes["aliases"])

    @property
    def homologs(self) -> dict[str, str]:
        """Contig -> human homolog (hsa3, hsa17x5), as the manifest said when it was ingested."""
        return dict(self.attributes.get("homologs", {}))

    @property
    def chunk(self) -> int:
        """Bases in a chunk, the unit that has a checksum."""
        return self._metadata.layout.chunk

    @cached_property
    def sequence(self) -> MappedSequence | RemoteSequence | PackedSequence:
        """The span all contigs lie in, addressed by offset; `__getitem__` is the way to read contigs."""
        facts, checksums, folder = self._metadata, self._crc32c, self._files.local
        array, layout = array_of(facts.layout_name), facts.layout.in_bytes(facts.layout_name)
        size = facts.span // facts.layout.chunk * layout.chunk
        stored: MappedSequence | RemoteSequence
        if folder is not None:
            stored = MappedSequence(folder / self.name / array, layout, size, checksums, self.describe_chunk)
        else:
            stored = RemoteSequence(f"{self._where}/{array}", layout, size, checksums, self.describe_chunk)
        if facts.layout_name == "raw":
            return stored
        case, other = self._run_table("case"), self._run_table("other")
        return PackedSequence(stored, case, other, self._rows, self.chunk, checksums, self.describe_chunk)

    def _run_table(self, name: str) -> RunTable:
        shape = (self._metadata.lengths[name], *([COLUMNS[name]] if name in COLUMNS else []))
        return RunTable(self._files, f"{self.name}/{name}/c/{'/'.join('0' * len(shape))}", RUNS[name], shape)

    @property
    def _rows(self) -> npt.NDArray[np.int64]:
        lengths, where = self._metadata.lengths, f"{self._where}/runs"
        rows = decode_plain(self._read("runs/c/0/0"), RUNS["runs"], 2 * lengths["runs"], where).reshape(-1, 2)
        return check_rows(rows, self.chunk, lengths["case"], lengths["other"], where)

    @cached_property
    def _crc32c(self) -> npt.NDArray[np.uint32]:
        return self._small("crc32c", self._metadata.span // self.chunk)

    @cached_property
    def _n_count(self) -> npt.NDArray[np.uint16]:
        return self._small("n_count", self._metadata.span // N_BLOCK)

    def _small(self, name: str, length: int) -> npt.NDArray[Any]:
        return decode_plain(self._read(f"{name}/c/0"), SMALL[name], length, f"{self._where}/{name}")

    def __getitem__(self, key: str | tuple[str, slice]) -> Bases:
        """Read bases of one contig.

        Args:
            key: a contig's name or alias, alone or with a slice without a step. A bound left out is the contig's end.

        Returns:
            A new uint8 array, [stop - start].

        Raises:
            InputError: an unknown contig, no slice, bases outside the contig, or a damaged chunk.
        """
        if type(key) is tuple:
            name, where = key
            if not isinstance(where, slice):
                raise InputError(f"{self.name}: contig {name!r}: want a slice of bases, such as 5:6, got {where!r}")
            start, stop = where.start, where.stop
            if where.step is not None and where.step != 1:
                raise InputError(f"{self.name}: contig {name!r}: a slice has no step, got {where.step}")
        else:
            name, start, stop = key, None, None  # type: ignore[assignment]
        place = self._places.get(name)
        if place is None:
            place = self._places[self.resolve(name)]
        offset, length = place
        if start is None:
            start = 0
        if stop is None:
            stop = length
        if not 0 <= start <= stop <= length:
            raise InputError(
                f"{self.name}: contig {name!r}: want 0 <= start <= stop <= {length:,}, got {start:,}:{stop:,}"
            )
        if start == stop:
            return np.empty(0, np.uint8)
        return self.sequence.read(offset + start, offset + stop)

    def blocks(self, name: str, size: int = 1 << 22) -> Iterator[Bases]:
        """Read a contig in pieces of at most `size` bases, in order."""
        length = self._places[self.resolve(name)][1]
        for start in range(0, length, size):
            yield self[name, start : min(start + size, length)]

    def windows(self, length: int, **options: Any) -> "Iterator[SequenceWindow]":
        """Walk over the genome in windows of `length` bases: contig, start and bases of each. Arguments, what they do
        and errors: `dnamamba.pipelines.store_windows.walk_windows`."""
        from dnamamba.pipelines.store_windows import walk_windows  # it knows of splits, which reading need not load

        return walk_windows(self, length, **options)

    def n_count(self, name: str) -> npt.NDArray[np.uint16]:
        """How many of each 1,024 bases of a contig are N or n, uint16 [ceil(length / 1024)].

        Raises:
            InputError: an unknown contig, or damaged counts.
        """
        offset, length = self._places[self.resolve(name)]
        return self._n_count[offset // N_BLOCK : (offset + length + N_BLOCK - 1) // N_BLOCK].copy()

    def checksums(self, name: str) -> npt.NDArray[np.uint32]:
        """CRC-32C of each chunk of a contig as stored, uint32 [ceil(length / chunk)].

        Raises:
            InputError: an unknown contig, or damaged checksums.
        """
        offset, length = self._places[self.resolve(name)]
        return self._crc32c[offset // self.chunk : (offset + length + self.chunk - 1) // self.chunk].copy()

    def resolve(self, name: str) -> str:
        """The contig that a name or alias means. "1" and "chr1" stand for each other where only one of them is there.

        Not so M and MT: chrM of hg19 is another sequence than MT of GRCh37.

        Raises:
            InputError: no such contig; the nearest name is shown.
        """
        if name in self._places:
            return name
        alias: str | None = self.attributes["aliases"].get(name)
        if alias is not None:
            return alias
        other = other_spelling(name)
        if other in self._places:
            return other
        near = get_close_matches(name, [*list(self._places)[:20_000], *list(self.attributes["aliases"])[:20_000]], n=1)
        hint = f"; is {near[0]!r} meant?" if near else f"; it has {', '.join(list(self._places)[:5])} .."
        raise InputError(f"{self.name}: no contig {name!r}{hint}")

    def describe_chunk(self, number: int) -> str:
        """Say in words where a chunk lies: file or address, contig, first and last base (1-based, as people count)."""
        first = number * self.chunk
        at = bisect_right([contig.offset for contig in self.contigs if contig.length], first) - 1
        contig = [contig for contig in self.contigs if contig.length][max(at, 0)]
        start = first - contig.offset
        last = min(start + self.chunk, contig.length)
        shard = f"{array_of(self._metadata.layout_name)}/c/{first // self._metadata.layout.shard}"
        return f"{self._where}/{shard}: contig {contig.name!r}, bases {start + 1:,} to {last:,}"


def local_folder(location: str | os.PathLike[str]) -> Path:
    """The folder of a store that is to be written.

    Raises:
        InputError: the address is a URL: stores are written to a local folder.
    """
    folder = StoreFiles(location).local
    if folder is None:
        raise InputError(
            f"{location}: this is written to a local folder, not to a URL; only `genome ingest` writes to one"
        )
    return folder
