"""Checksums that a publisher lists beside his files: md5sum.txt."""

import re
from collections.abc import Sequence

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch_address import check_url, url_file_name, url_label
from dnamamba.pipelines.fetch_reply import Refused, Surroundings
from dnamamba.pipelines.fetch_transfer import Began, transfer

LONGEST_LIST = 2**24
"""Bytes of a list that are read at most; real ones have some thousand."""
_LINE = re.compile(r"\\?([0-9a-fA-F]{32})\s+[* ]?(\S.*)")


def listed_md5(text: str, names: Sequence[str]) -> str | None:
    """The MD5 of a file from the lines that md5sum writes: digest, blanks, name (maybe with folders).

    Args:
        text: the list.
        names: what the file is called; mirrors may differ.

    Returns:
        32 hexadecimal digits in lower case; None when the list does not name the file, or gives it two digests.
    """
    found = set()
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match and match[2].rsplit("/", 1)[-1] in names:
            found.add(match[1].lower())
    return found.pop() if len(found) == 1 else None


def publisher_md5(url: str, names: Sequence[str], around: Surroundings) -> tuple[str | None, str]:
    """Ask the publisher's list for a file's MD5.

    Returns:
        The digest, or None; and where it is from, or why there is none.
    """
    label, text = url_label(url), bytearray()
    try:
        for piece in transfer(check_url(url), around):
            if isinstance(piece, Began):
                del text[piece.start :]
                continue
            text += piece
            if len(text) > LONGEST_LIST:
                return None, f"{label} is longer than {LONGEST_LIST:,} bytes and no list of checksums"
    except (Refused, InputError) as error:
        return None, f"{label}: {error}"
    md5 = listed_md5(text.decode("utf-8", "replace"), names)
    return md5, label if md5 else f"{label} does not list {' or '.join(names)} with one MD5"


def names_of(urls: Sequence[str]) -> list[str]:
    """What a file is called at its mirrors, without doubles."""
    return list(dict.fromkeys(map(url_file_name, urls)))
