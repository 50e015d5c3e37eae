"""The heads of inference requests in the fast lane: what they say, and which have been read before.

A client sends the same head again and again. To find out that the parser has read these very bytes before takes a
fraction of the time that reading them takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from urllib.parse import unquote

import httptools

from kserve_v2.read_in_place import LARGE_BYTES
from kserve_v2.rest.endpoint import WANTED_HEADERS, parse_target
from kserve_v2.rest.infer import Asked
from kserve_v2.rest.recurring import Recurring, recurring_binary, recurring_json

# Requests with one of these are not of the usual form.
_UNUSUAL_HEADERS = frozenset({b"transfer-encoding", b"expect"})

# How many heads are remembered, and how long one may be for that. Clients choose them, so they are forgotten when there
# are too many.
MAX_REMEMBERED = 1024
MAX_HEAD_BYTES = 2048

# Where the form changes more often than this, it is not noted any more.
_MAX_CHANGES = 16

_END = b"\r\n\r\n"

Headers = Sequence[tuple[bytes, bytes]]
Body = bytes | memoryview


@dataclass(slots=True)
class InferHead:
    """What the head of `POST /v2/models/M[/versions/N]/infer` says. `version` is "" where the path names none.

    `headers`: those of WANTED_HEADERS that the request has. `body_bytes`: the size of its body. `keep_alive`: whether
    the client wants to go on with the connection. `recurring`: the form that the last requests with this head had, and
    `changes`: how often that was another one than before, for the same model, or none.
    """

    model_name: str
    version: str
    headers: Mapping[bytes, bytes]
    body_bytes: int
    keep_alive: bool
    recurring: Recurring | None = None
    changes: int = 0

    def note(self, body: Body, asked: Asked, *, plain: bool) -> None:
        """Remember the form of a request with this head that a model has taken. `plain`: `plain_request` has decoded
        it.
        """
        if self.recurring is not None and self.recurring.signature is asked.model.signature:
            self.changes += 1
        if self.changes > _MAX_CHANGES or b"content-encoding" in self.headers:
            return
        details = (asked.request, asked.model.signature, asked.response_format)
        self.recurring = None
        if plain and isinstance(body, bytes):
            self.recurring = recurring_json(body, *details)
        elif self.json_bytes:
            self.recurring = recurring_binary(body, self.json_bytes, *details)
        if self.recurring is None:
            # To find that out each time would cost more than it saves.
            self.changes += 1

    @property
    def json_bytes(self) -> int:
        """How much of the body is JSON, according to its header; 0 if that says nothing that can be."""
        length = self.headers.get(b"inference-header-content-length", b"")
        return int(length) if length.isdigit() else 0


class InferHeads:
    """Reads heads for all connections of a server."""

    def __init__(self, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest body that the fast lane takes."""
        self._max_request_bytes = max_request_bytes
        # By what the parser makes of them, and by their bytes.
        self._read: dict[tuple[object, ...], InferHead | None] = {}
        self._known: dict[bytes, InferHead] = {}

    def read(self, url: bytes, headers: Headers, *, keep_alive: bool) -> InferHead | None:
        """The head of a POST request over HTTP/1.1, the same object for the same head; None if it goes the way of ASGI:
        if it is for another route, or if its body is chunked, too large or waits for 100 Continue.
        """
        key = (url, keep_alive, *headers)
        try:
            return self._read[key]
        except KeyError:
            head = self._read_anew(url, headers, keep_alive=keep_alive)
        if len(url) + sum(map(len, chain.from_iterable(headers))) <= MAX_HEAD_BYTES:
            if len(self._read) >= MAX_REMEMBERED:
                self._read.clear()
            self._read[key] = head
        return head

    def _read_anew(self, url: bytes, headers: Headers, *, keep_alive: bool) -> InferHead | None:
        target = _infer_target(url)
        if target is None:
            return None
        wanted: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in WANTED_HEADERS:
                wanted[name] = value
            elif name in _UNUSUAL_HEADERS:
                return None
        length = wanted.get(b"content-length")
        if length is None or int(length) > self._max_request_bytes:
            return None
        return InferHead(*target, wanted, int(length), keep_alive)

    def note(self, data: bytes, head: InferHead) -> None:
        """Remember a head. `data`: all that the parser was given since the request before this one was complete."""
        end = data.find(_END) + len(_END)
        # Otherwise there was more than this request, or lines that end in another way.
        missing = head.body_bytes - len(data) + end
        fits = not missing or missing >= LARGE_BYTES
        if fits and end <= MAX_HEAD_BYTES and head.keep_alive:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[data[:end]] = head

    def recall(self, data: bytes) -> tuple[InferHead, bytes | memoryview] | None:
        """Head and body of `data`, if that is one request with a head that has been noted: a whole one, or one of which
        much is missing. Then the body is a view of what is there.
        """
        end = data.find(_END) + len(_END)
        head = self._known.get(data[:end])
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
    target = parse_target(unquote(path.decode("ascii"))) if path is not None and path.isascii() else None
    return target[1:] if target is not None and target[0] == "infer" else None
