"""Files behind fsspec: object stores (s3://, gs://) and file://, read from any byte on."""

from urllib.parse import unquote, urlsplit

from dnamamba.pipelines.fetch_reply import BrokenOff, Refused, Reply, Version

PIECE = 2**20
"""Bytes handed on at a time, at most."""
_AHEAD = 2**23  # bytes that a request asks an object store for


def open_object(url: str, start: int, known: Version) -> Reply:
    """Open an object at byte `start`; arguments and result are those of `open_http`. Timeouts are those of its library.

    Raises:
        BrokenOff: the store cannot be reached.
        Refused: no such object, no permission, the library for this kind of store is not installed.
    """
    import fsspec  # type: ignore[import-untyped]

    try:
        # fsspec takes "%20" as it stands: right for the keys of object stores, wrong for file://.
        local = urlsplit(url).scheme == "file"
        filesystem, path = fsspec.core.url_to_fs(unquote(urlsplit(url).path) if local else url)
        filesystem.invalidate_cache()  # else a second look would show the first one's size
        info = filesystem.info(path)
    except (ImportError, ValueError) as error:
        raise Refused(str(error)) from None
    except FileNotFoundError:
        raise Refused("no such file") from None
    except PermissionError as error:
        raise Refused(_denied(url, error)) from None
    except Exception as error:  # each library behind fsspec has its own, few of them OSError
        if type(error).__name__ == "NoCredentialsError":
            raise Refused(_denied(url, error)) from None
        raise BrokenOff(f"cannot be reached ({error})") from None
    if info.get("type") == "directory":
        raise Refused("is a folder")
    etag = info.get("ETag") or info.get("etag")
    modified = info.get("LastModified") or info.get("updated") or info.get("mtime")
    version = Version(
        etag=None if etag is None else str(etag), modified=None if modified is None else str(modified),
        total=info.get("size"),
    )  # fmt: skip
    if start and not (known.same(version) and start < (version.total or 0)):
        start = 0
    try:
        file = filesystem.open(path, "rb", block_size=_AHEAD)
        file.seek(start)
    except Exception as error:
        raise BrokenOff(f"cannot be opened ({error})") from None

    def read() -> bytes:
        try:
            piece: bytes = file.read(PIECE)
        except Exception as error:
            raise BrokenOff(f"the connection broke ({error})") from None
        return piece

    return Reply(start, version, read, file.close)


def _denied(url: str, error: Exception) -> str:
    public = "; for a public bucket set FSSPEC_S3_ANON=true" if url.startswith("s3:") else ""
    return f"no permission ({error}){public}"
