"""Addresses of files: which are fetched, how messages call them, and what their file is called on disk."""

import re
from difflib import get_close_matches
from urllib.parse import unquote, urlsplit

from dnamamba.errors import InputError

HTTP = ("http", "https")
OBJECTS = ("file", "s3", "gs")
"""Schemes that go through fsspec."""
_LONGEST_NAME = 200  # bytes: file systems hold 255, and endings are added while a file is fetched


def is_url(source: str) -> bool:
    """Whether a text is an address (scheme://...) and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def check_url(url: str) -> str:
    """The address, when it is one that can be fetched.

    Raises:
        InputError: another scheme, no host, a password or control characters in it.
    """
    label = url_label(url)
    if not url.isprintable() or " " in url:
        raise InputError(f"{label!r}: an address holds no blanks and no control characters; write them as %20")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{label}: no address ({error})") from None
    if parts.scheme not in HTTP + OBJECTS:
        known = ", ".join(f"{scheme}://" for scheme in HTTP + OBJECTS)
        near = get_close_matches(parts.scheme, HTTP + OBJECTS, n=1)
        hint = "; most servers offer the same files under https://" if parts.scheme == "ftp" else ""
        hint = hint or (f"; is {near[0]}:// meant?" if near else "")
        raise InputError(f"{label}: {parts.scheme}:// is not fetched, only {known}{hint}")
    if parts.scheme == "file" and host not in (None, "localhost"):
        raise InputError(f"{label}: a file:// address has three strokes, and no host: file:///folder/name")
    if parts.scheme != "file" and not host:
        raise InputError(f"{label}: the address names no host or bucket")
    if "@" in parts.netloc:
        raise InputError(f"{label}: a user or password in an address would end up in logs; leave it out")
    return url


def url_label(url: str) -> str:
    """How messages and stores call an address: without password, and without the query, which may hold a key."""
    text = re.sub(r"(?<=://)[^/?#]*@", "", url)
    return re.sub(r"\?.*", "?..", text)


def url_file_name(url: str) -> str:
    """What the file behind an address is called on disk: the last part of its path, made harmless.

    All but letters, digits and . _ + - becomes "_", and so does a dot at the start: the name stays in its folder and
    is no hidden file.

    Raises:
        InputError: the address ends without a name.
    """
    last = urlsplit(url).path.rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", unquote(last))[-_LONGEST_NAME:]
    if not name:
        raise InputError(f"{url_label(url)}: the address ends without the name of a file")
    return re.sub(r"^[.-]", "_", name)
