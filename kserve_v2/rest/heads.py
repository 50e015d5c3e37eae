"""The heads of inference requests in the fast lane: what they say, and which have been read before.

A client sends the same head again and again. To find out that the parser has read these very bytes before takes a
fraction of the time that reading them takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import httptools

from kserve_v2.memory.remembered import Remembered
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rest.endpoint import WANTED_HEADERS, Headers, decode_path, parse_target

# The fast lane does not take requests with one of these.
UNUSUAL_HEADERS = frozenset({b"transfer-encoding", b"expect"})

# The longest head that is remembered, and the most memory that all of them may take.
MAX_HEAD_BYTES = 2048
MAX_REMEMBERED_BYTES = 2 * 1024 * 1024

# Roughly what a remembered head takes on top of its bytes; its headers are among that, each an object or two.
_OVERHEAD_BYTES = 2560

# More digits than any size has.
_MAX_DIGITS = 20

_END = b"\r\n\r\n"

Body = bytes | memoryview


@dataclass(frozen=True, slots=True)
class InferHead:
    """What the head of `POST /v2/models/M[/versions/N]/infer` says. `target`: the path as it was sent, with what
    follows it. `version` may be a label, and is "" where the path names none.

    `headers`: those of WANTED_HEADERS that the request has; `all_headers`: all of them. `body_bytes`: the size of its
    body. `json_bytes`: how much of that is JSON, according to its header; 0 if that says nothing that can be.
    `keep_alive`: whether the client wants to go on with the connection.
    """

    target: bytes
    model_name: str
    version: str
    headers: Mapping[bytes, bytes]
    all_headers: Headers
    body_bytes: int
    json_bytes: int
    keep_alive: bool


class HeadAlone:
    """Takes what a parser finds in a head; see httptools."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


class InferHeads:
    """Reads heads for all connections of a server."""

    alone = HeadAlone

    def __init__(self, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest body that the fast lane takes."""
        self._max_request_bytes = max_request_bytes
        self._known: Remembered[bytes, InferHead] = Remembered(MAX_REMEMBERED_BYTES)

    def read(self, url: bytes, headers: Headers, *, keep_alive: bool) -> InferHead | None:
        """The head of a POST request over HTTP/1.1; None if it goes the way of ASGI: if it is for another route, or if
        its body is chunked, too large or waits for 100 Continue.
        """
        target = _infer_target(url)
        if target is None:
            return None
        wanted: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in WANTED_HEADERS:
                wanted[name] = value
            elif name in UNUSUAL_HEADERS:
                return None
        length = wanted.get(b"content-length")
        if length is None or int(length) > self._max_request_bytes:
            return None
        json_length = wanted.get(b"inference-header-content-length", b"")
        json_bytes = int(json_length) if json_length.isdigit() and len(json_length) < _MAX_DIGITS else 0
        return InferHead(url, *target, wanted, headers, int(length), json_bytes, keep_alive)

    def note(self, data: bytes, head: InferHead) -> None:
        """Remember a head that has come for the second time. `data`: all that the parser was given since the request
        before this one was complete.
        """
        end = data.find(_END) + len(_END)
        # If neither holds, `data` has bytes of another request.
        missing = head.body_bytes - len(data) + end
        fits = not missing or missing >= LARGE_BYTES
        if not fits or end > MAX_HEAD_BYTES or not head.keep_alive:
            return
        lines = data[:end]
        if self._known.is_seen_again(lines) and self._read_alone(lines) == head:
            self._known.keep(lines, head, len(lines) + _OVERHEAD_BYTES)

    def _read_alone(self, lines: bytes) -> InferHead | None:
        """What these bytes say if they are a head: all of one, and nothing else."""
        found = self.alone()
        parser = httptools.HttpRequestParser(found)
        try:
            parser.feed_data(lines[:-1])
            ends_earlier = found.complete
            parser.feed_data(lines[-1:])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        usual = parser.get_method() == b"POST" and parser.get_http_version() == "1.1"
        if not usual or ends_earlier or not found.complete:
            return None
        return self.read(found.url, found.headers, keep_alive=parser.should_keep_alive())

    def recall(self, data: bytes) -> tuple[InferHead, Body] | None:
        """Head and body of `data`, if that is one request with a head that has been noted: a whole one, or one of which
        much is missing. Then the body is a view of what is there.
        """
        end = data.find(_END) + len(_END)
        head = self._known[data[:end]]
        if head is None:
            return None
        missing = head.body_bytes - len(data) + end
        if missing >= LARGE_BYTES:
            return head, memoryview(data)[end:]
        return None if missing else (head, data[end:])


def _infer_target(url: bytes) -> tuple[str, str] | None:
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        return None
    target = parse_target(decode_path(path)) if path is not None and path.isascii() else None
    return target[1:] if target is not None and target[0] == "infer" else None
