"""Small files of a store, in a folder or behind any URL that fsspec knows."""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        with _reached(f"{self}/{path}: cannot be read"):
            data: bytes = filesystem.cat_file(f"{root}/{path}")
        return data

    def put(self, path: str, data: bytes, *, create: bool = False) -> None:
        """Write a whole object behind the URL; what arrived is compared with what was sent.

        Args:
            path: its name in the store.
            data: its bytes.
            create: only when there is none yet. S3 and Google Cloud Storage see to it that one of several writers wins;
                other services may not.

        Raises:
            FileExistsError: `create`, and there is one.
            InputError: the address cannot be reached or written, or other bytes arrived.
        """
        filesystem, root = self._connect()
        digest = hashlib.md5(data, usedforsecurity=False)
        more: dict[str, Any] = {}
        if "s3" in filesystem.protocol:  # the server refuses other bytes than these
            more["ContentMD5"] = base64.b64encode(digest.digest()).decode("ascii")
        with _reached(f"{self}/{path}: cannot be written"):
            filesystem.pipe_file(f"{root}/{path}", data, mode="create" if create else "overwrite", **more)
        if not self.holds(path, data, unsure=True):
            raise InputError(f"{self}/{path}: other bytes arrived than were sent; run again")

    def holds(self, path: str, data: bytes, *, unsure: bool = False) -> bool:
        """Whether an object is there with these bytes, by its size and MD5.

        Args:
            path: its name in the store.
            data: the bytes.
            unsure: the answer when the size is right and the service tells no MD5.

        Raises:
            InputError: the address cannot be reached.
        """
        filesystem, root = self._connect()
        try:
            with _reached(f"{self}/{path}: cannot be looked at"):
                filesystem.invalidate_cache()
                found = filesystem.info(f"{root}/{path}")
        except FileNotFoundError:
            return False
        if found.get("size") != len(data):
            return False
        tag = str(found.get("ETag", "")).strip('"')
        if len(tag) != 32:  # encrypted with a key of its own, or not S3
            return unsure
        return tag == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def remove(self, path: str) -> None:
        """Remove an object; none there is as good.

        Raises:
            InputError: the address cannot be reached or written.
        """
        filesystem, root = self._connect()
        try:
            with _reached(f"{self}/{path}: cannot be removed"):
                filesystem.rm_file(f"{root}/{path}")
        except FileNotFoundError:
            pass

    def names(self, folder: str = "") -> list[str]:
        """Paths of all objects in a folder behind the URL, counted from the store, sorted.

        Raises:
            InputError: the address cannot be listed.
        """
        filesystem, root = self._connect()
        with _reached(f"{self}: cannot be listed"):
            filesystem.invalidate_cache()
            found = filesystem.find(f"{root}/{folder}" if folder else root)
        return sorted(str(name).removeprefix(f"{root}/") for name in found)

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
            with _reached(f"{self}: cannot be listed; name the assembly"):
                filesystem.invalidate_cache()  # another process may have added one
                found = filesystem.ls(root, detail=True)
        except (NotImplementedError, FileNotFoundError) as error:
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


@contextmanager
def _reached(what: str) -> Iterator[None]:
    """Failures of a service as one sentence; a file that is not there, or there already, stays what it is."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise InputError(f"{what} ({_words(error)})") from None
    except Exception as error:
        # botocore's own (no credentials, no such host) have no base class here without importing it.
        if type(error).__module__.split(".")[0] not in ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google"):
            raise
        raise InputError(f"{what} ({_words(error)})") from None


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
