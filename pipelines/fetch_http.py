"""Files over HTTP: a request for the rest of a file, and what its answer must look like to be believed.

The standard library's urllib: it honours http_proxy, https_proxy and no_proxy, and needs nothing installed.
"""

import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO, Any
from urllib.parse import urlsplit

from dnamamba import __version__
from dnamamba.pipelines.fetch_address import HTTP, url_label
from dnamamba.pipelines.fetch_reply import BrokenOff, FetchSettings, Refused, Reply, StartAgain, Version

PIECE = 2**18
"""Bytes handed on at a time, at most."""
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https alone (the base class would follow to ftp), and never from https down to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in HTTP or (req.type == "https" and scheme != "https"):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def open_http(url: str, start: int, known: Version, settings: FetchSettings) -> Reply:
    """Ask for a file from byte `start` on.

    Args:
        url: http or https.
        start: the first byte wanted.
        known: what the bytes before `start` belong to. With an entity tag or a time, the server is asked to send the
            whole file when it has changed.
        settings: how long to wait.

    Returns:
        The reply; its `start` is 0 when the server does not give parts, or the file is another one now.

    Raises:
        BrokenOff: no connection, or a busy server.
        StartAgain: a part of another file than `known`, or one that is not what was asked for.
        Refused: no such file, no permission, a redirection elsewhere than to http(s).

    Source: RFC 9110, sections 13.1.5 (If-Range), 14 (ranges) and 10.2.3 (Retry-After).
    """
    headers = {"User-Agent": f"dnamamba/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator := known.etag or known.modified:
            headers["If-Range"] = validator
    # Built anew each time: the proxy settings are those of now. No handler for file:, ftp: or data:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
        _Redirects,
    ):
        opener.add_handler(handler())
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=settings.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing from there on: the file is shorter now
            return open_http(url, 0, Version(), settings)
        raise _failure(error, settings) from None
    except urllib.error.URLError as error:
        raise _unreachable(error.reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error) from None
    except ValueError as error:
        raise Refused(f"no address that can be asked for ({error})") from None
    try:
        return _checked(response, start, known, settings)
    except BaseException:
        response.close()
        raise


def _checked(response: Any, start: int, known: Version, settings: FetchSettings) -> Reply:
    headers = response.headers
    etag = headers.get("ETag")
    stated = Version(
        etag=etag if etag and not etag.startswith("W/") else None,
        modified=headers.get("Last-Modified"),
    )
    length = _number(headers.get("Content-Length"), "Content-Length")
    if response.status == 200:
        return _reply(response, 0, Version(stated.etag, stated.modified, length), length, settings)
    if response.status != 206 or not start:
        raise Refused(f"answers {response.status} where 200 or 206 was expected")
    text = headers.get("Content-Range") or ""
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", text.strip())
    if match is None:
        raise StartAgain(f"answers a part of the file with Content-Range {text[:80]!r}")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    size = last - first + 1
    if first != start or size < 1 or (total is not None and last >= total) or length not in (None, size):
        raise StartAgain(
            f"was asked for byte {start:,} on and answers {text.strip()!r} with Content-Length {length}: that is not so"
        )
    version = Version(stated.etag, stated.modified, total)
    if not known.same(version):  # it was told not to send a part of another content, and does
        raise StartAgain("the file changed on the server")
    return _reply(response, start, version, size, settings)


def _reply(response: Any, start: int, version: Version, length: int | None, settings: FetchSettings) -> Reply:
    began, came, seen = time.monotonic(), 0, 0

    def read() -> bytes:
        nonlocal began, came, seen
        try:
            piece: bytes = response.read1(PIECE)
        except TimeoutError:
            raise BrokenOff(f"stalled: nothing came for {settings.timeout:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: chunk sizes that are no number
            raise BrokenOff(f"the connection broke ({_words(error)})") from None
        seen += len(piece)
        if length is not None and seen > length:
            raise Refused(f"sends more than the {length:,} bytes that it announced")
        came += len(piece)
        now = time.monotonic()
        if now - began >= settings.timeout:
            if came < settings.slowest:
                raise BrokenOff(f"stalled: {came:,} bytes came in {now - began:,.0f} s")
            began, came = now, 0
        return piece

    return Reply(start, version, read, response.close)


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise Refused(f"answers with {name} {text[:40]!r}, which is no number of bytes")
    return int(text)


def _failure(error: urllib.error.HTTPError, settings: FetchSettings) -> Exception:
    what = f"answers {error.code} {error.reason}".rstrip()
    if 300 <= error.code < 400:
        to = url_label(error.headers.get("Location") or "nowhere")
        return Refused(f"redirects to {to!r:.200}; only http and https are followed, and never from https to http")
    if error.code not in _BUSY:
        return Refused(what)
    wait = _retry_after(error.headers.get("Retry-After"))
    if wait is not None and wait > settings.longest_asked:
        return Refused(f"{what} and asks to come back in {wait:,.0f} s")
    return BrokenOff(what, wait)


def _retry_after(text: str | None) -> float | None:
    """Seconds; the header holds these or a date."""
    if text is None:
        return None
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


def _unreachable(reason: object) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Refused(f"its certificate is not valid: {reason.verify_message}")
    if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
        return Refused("no host of this name")
    if isinstance(reason, TimeoutError):
        return BrokenOff("no answer in time")
    if isinstance(reason, str):  # urllib's own: an unknown kind of address
        return Refused(reason)
    return BrokenOff(f"cannot be reached ({_words(reason)})")


def _words(error: object) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__
