"""A local HTTP server that does what real ones do on bad days. Each path has a script: one fault a request."""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Fault = Callable[["Exchange"], None]


class Exchange:
    """One request, and what the right answer to it would be."""

    def __init__(self, handler: BaseHTTPRequestHandler, data: bytes, etag: str | None) -> None:
        self.handler, self.data, self.etag = handler, data, etag
        self.range = handler.headers.get("Range")
        self.start = int(self.range.removeprefix("bytes=").rstrip("-")) if self.range else 0
        if_range = handler.headers.get("If-Range")
        if if_range is not None and if_range != etag:
            self.start = 0

    def head(self, status: int | None = None, **headers: object) -> None:
        """Status and headers; of those, `Content_Length=None` leaves one out."""
        rest = len(self.data) - self.start
        fields: dict[str, object] = {"Content-Length": rest, "ETag": self.etag, "Accept-Ranges": "bytes"}
        if self.start:
            fields["Content-Range"] = f"bytes {self.start}-{len(self.data) - 1}/{len(self.data)}"
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.handler.send_response(status or (206 if self.start else 200))
        for name, value in fields.items():
            if value is not None:
                self.handler.send_header(name, str(value))
        self.handler.end_headers()

    def body(self, size: int | None = None) -> None:
        """The bytes asked for, or the first `size` of them."""
        rest = self.data[self.start :]
        self.handler.wfile.write(rest if size is None else rest[:size])
        self.handler.wfile.flush()


def whole(x: Exchange) -> None:
    if x.start >= len(x.data) and x.data:
        status(416, Content_Range=f"bytes */{len(x.data)}")(x)
        return
    x.head()
    x.body()


def drop(size: int) -> Fault:
    """Breaks off after `size` bytes."""

    def fault(x: Exchange) -> None:
        x.head()
        x.body(size)

    return fault


def stall(size: int, seconds: float = 3.0) -> Fault:
    """Falls silent after `size` bytes."""

    def fault(x: Exchange) -> None:
        x.head()
        x.body(size)
        time.sleep(seconds)

    return fault


def trickle(seconds: float) -> Fault:
    """Sends a byte now and then, so that no single read waits long."""

    def fault(x: Exchange) -> None:
        x.head()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            x.body(1)
            x.start += 1
            time.sleep(0.05)

    return fault


def status(code: int, **headers: object) -> Fault:
    """An answer without a body."""

    def fault(x: Exchange) -> None:
        x.start = 0
        x.head(code, **{"Content_Length": 0, "ETag": None, **headers})

    return fault


def ignore_range(x: Exchange) -> None:
    x.start = 0
    x.head()
    x.body()


def lie(status: int | None = None, body: bytes | None = None, **headers: object) -> Fault:
    """The right answer but for these headers, or with another body."""

    def fault(x: Exchange) -> None:
        x.head(status, **headers)
        x.body() if body is None else x.handler.wfile.write(body)

    return fault


def endless(x: Exchange) -> None:
    """No length, and no end."""
    x.head(Content_Length=None)
    for _ in range(4_000):  # 256 MB: "endless" must end when a test fails
        x.handler.wfile.write(bytes(2**16))


def unannounced(size: int | None = None) -> Fault:
    """Chunked, no length stated; breaks off inside a chunk after `size` bytes."""

    def fault(x: Exchange) -> None:
        x.handler.protocol_version = "HTTP/1.1"
        x.head(Content_Length=None, Transfer_Encoding="chunked")
        rest = x.data[x.start :]
        x.handler.wfile.write(b"%x\r\n" % len(rest) + rest[:size])
        if size is None:
            x.handler.wfile.write(b"\r\n0\r\n\r\n")

    return fault


class FaultyServer:
    """Serves `files` (path -> bytes). Use it as a context manager.

    `script[path]` holds faults, one for each request to come; after them, and without them, answers are right.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[Fault]] = defaultdict(list)
        self.etags = True
        self.modified: str | None = None
        self.requests: list[tuple[str, str | None]] = []
        """Path and Range of each request so far."""
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, path: str, data: bytes, *faults: Fault) -> str:
        """Serve `data` there, with these faults first; gives back its address."""
        self.files[path] = data
        self.script[path] = list(faults)
        return f"{self.url}/{path}"

    def ranges(self, path: str) -> list[str | None]:
        """Range headers of the requests for a path."""
        return [asked for one, asked in self.requests if one == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.split("?")[0]
        path = path.split("/", 3)[3] if path.startswith("http://") else path.lstrip("/")  # as a proxy is asked
        with self._lock:
            self.requests.append((path, handler.headers.get("Range")))
            self.headers.append(dict(handler.headers))
            fault = self.script[path].pop(0) if self.script[path] else whole
            data = self.files.get(path)
        etag = f'"{hashlib.md5(data).hexdigest()}"' if data is not None and self.etags else None
        exchange = Exchange(handler, data or b"", etag)
        if self.modified:
            real = exchange.head
            exchange.head = lambda *a, **k: real(*a, **{"Last_Modified": self.modified, **k})  # type: ignore[method-assign]
        with suppress(BrokenPipeError, ConnectionResetError):
            (status(404) if data is None else fault)(exchange)
        handler.close_connection = True

    def __enter__(self) -> "FaultyServer":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
