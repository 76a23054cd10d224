"""Small files of a store, in a folder or behind any URL that fsspec knows."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dnamamba.errors import InputError


class StoreFiles:
    """Where a store lies. Picklable: connections are made in each process, at first use."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """Nothing is opened. `file:` URLs are folders."""
        text = os.fspath(location)
        if text.startswith("file://"):
            text = unquote(urlsplit(text).path)
        self._text = text.rstrip("/") or text
        self.local: Path | None = None if "://" in text else Path(text)
        """The folder; None when the store is behind a URL."""

    def __str__(self) -> str:
        return self._text

    def read(self, path: str) -> bytes:
        """Read a whole file of the store.

        Raises:
            FileNotFoundError: there is none.
            InputError: the address cannot be reached.
        """
        if self.local is not None:
            try:
                return (self.local / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                raise FileNotFoundError(path) from None
            except OSError as error:
                raise InputError(f"{self}/{path}: cannot be read: {error.strerror}") from None
        filesystem, root = self._connect()
        try:
            data: bytes = filesystem.cat_file(f"{root}/{path}")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{self}/{path}: cannot be read ({error})") from None
        return data

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Read bytes [start, stop) of a file of the store; fewer when it ends before.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: the address cannot be reached.
        """
        try:
            if self.local is not None:
                with (self.local / path).open("rb") as file:
                    file.seek(start)
                    return file.read(stop - start)
            filesystem, root = self._connect()
            data: bytes = filesystem.cat_file(f"{root}/{path}", start=start, end=stop)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{self}/{path}: cannot be read ({error})") from None
        return data

    def folders(self) -> list[str]:
        """Names of the folders that hold a zarr.json, sorted.

        Raises:
            InputError: the address cannot be listed.
        """
        if self.local is not None:
            return sorted(path.parent.name for path in self.local.glob("*/zarr.json"))
        filesystem, root = self._connect()
        try:
            found = filesystem.ls(root, detail=True)
        except (NotImplementedError, OSError) as error:
            raise InputError(f"{self}: cannot be listed ({error}); name the assembly") from None
        names = [str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in found if entry["type"] == "directory"]
        return sorted(name for name in names if filesystem.exists(f"{root}/{name}/zarr.json"))

    def _connect(self) -> tuple[Any, str]:
        import fsspec  # type: ignore[import-untyped]

        try:
            filesystem, root = fsspec.core.url_to_fs(self._text)
        except (ImportError, ValueError) as error:
            raise InputError(f"{self}: {error}") from None
        return filesystem, root.rstrip("/")
