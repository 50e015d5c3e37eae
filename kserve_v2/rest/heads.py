"""The heads of inference requests, read from bytes: what the fast lane takes is understood here, without a parser.

Many clients give each request a trace, an id or a token, so that no two heads are the same. What matters of them is
little: the target, lengths, encodings, whether the connection is to go on; what these mean is remembered. Heads that do
come again are remembered as they are. For the others, what a client's heads have in common is the order of their names:
one pattern for each order finds what matters, and sees that the rest is of the usual form.

The patterns are far narrower than HTTP/1.1. What they do not match, or what is said twice, is left to the parser, which
may take it or refuse it; what they match means the same to that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, compress

import httptools

from kserve_v2.memory.remembered import Remembered
from kserve_v2.rest.endpoint import WANTED_HEADERS, Headers, decode_path, parse_target

MAX_HEAD_BYTES = 8192
"""The longest head that is read here; a token may be long. Less than what any connection accepts."""

MAX_HEADERS = 64
"""As many as are read here."""

# The longest head that is remembered, the most memory that all heads and all that they mean may take, and roughly what
# each takes on top of its bytes.
_MAX_KNOWN_BYTES = 2048
MAX_REMEMBERED_BYTES = 2 * 1024 * 1024
_OVERHEAD_BYTES = 1024

# As many orders of names have patterns, which are tried one after the other; and as long may all names be together.
MAX_ORDERS = 8
MAX_ORDER_BYTES = 512

# More digits than any size has.
_MAX_DIGITS = 20

_NAME = rb"[!#-'*+\-.0-9A-Z^-z|~]++"
_VALUE = rb"[!-~]++(?: ++[!-~]++)*+"
_TARGET = rb"/[!\"$-~]*+"
_LINE = rb"POST (%b) HTTP/1\.1" % _TARGET
_HEAD = re.compile(rb"%b((?:\r\n%b: ?%b){1,%d}+)\r\n\r\n" % (_LINE, _NAME, _VALUE, MAX_HEADERS))
_HEADER = re.compile(rb"\r\n(%b): ?(%b)" % (_NAME, _VALUE))

# With one of these, it depends on more than what is read here where a request ends, or what its client waits for; or
# its body is not what was sent.
_UNUSUAL_HEADERS = frozenset(
    {b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection"}
)

_END = b"\r\n\r\n"
_KEEP_ALIVE = b"keep-alive"
_LENGTH = b"content-length"

Body = bytes | memoryview

Meaning = tuple[str, ...]
"""What a target means: model and version first."""

Said = tuple[bytes, Meaning, Mapping[bytes, bytes], int, bool]
"""What a head says beside the size of its body, as `InferHead` takes it."""


@dataclass(slots=True, eq=False, repr=False)
class InferHead:
    """What the head of `POST /v2/models/M[/versions/N]/infer` says. `target`: the path as it was sent, with what
    follows it. `version` may be a label, and is "" where the path names none.

    `headers`: what is known of those that matter beside Content-Length. `lines`: all of the head, as it was sent.
    `body_bytes`: the size of its body. `json_bytes`: how much of that is JSON, according to its header; 0 if that says
    nothing that can be. `keep_alive`: whether the client wants to go on with the connection.
    """

    lines: bytes
    body_bytes: int
    target: bytes
    meaning: Meaning
    headers: Mapping[bytes, bytes]
    json_bytes: int
    keep_alive: bool
    model_name: str = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.model_name, self.version = self.meaning[:2]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model_name}/{self.version} {self.body_bytes} bytes>"

    @property
    def all_headers(self) -> Headers:
        """All that are in the head, with names in lower case. Found when somebody asks, as nearly nobody does."""
        return [(name.lower(), value) for name, value in spelt_headers(self.lines)]


def spelt_headers(lines: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a head that has been read, with names as the client has spelt them."""
    return _HEADER.findall(lines)


class InferHeads:
    """Reads heads for all connections of a server."""

    matters = WANTED_HEADERS | _UNUSUAL_HEADERS | {b"host", b"connection"}
    """Headers that are looked at."""

    head: type[InferHead] = InferHead

    learn_every = 64
    """After so many heads, an order of names is worth a pattern: to make it takes as long as to read about as many."""

    def __init__(self, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest body that the fast lane takes."""
        self._max_request_bytes = max_request_bytes
        self._known: Remembered[bytes, InferHead] = Remembered(MAX_REMEMBERED_BYTES)
        # By the target, and names and values of the headers that matter, in their order, but Content-Length.
        self._said: Remembered[tuple[bytes, ...], Said] = Remembered(MAX_REMEMBERED_BYTES)
        # Patterns whose groups are such a key but for Content-Length, and which group that is. The one that was used
        # last comes first. How often the others were seen.
        self._orders: list[tuple[re.Pattern[bytes], int]] = []
        self._seen_orders: Remembered[tuple[bytes, ...], None] = Remembered(0)

    def read(self, data: bytes) -> InferHead | None:
        """The head that `data` begins with. None if it goes another way: if it is not all there, or not of the usual
        form; if it is for another route; if its body is chunked, too large or waits for 100 Continue.
        """
        lines = data[: data.find(_END, 0, _MAX_KNOWN_BYTES) + len(_END)]
        known = self._known[lines]
        if known is not None:
            return known
        head = self._read(data)
        if head is not None and head.lines == lines and self._known.is_seen_again(lines):
            self._known.keep(lines, head, len(lines) + _OVERHEAD_BYTES)
        return head

    def _read(self, data: bytes) -> InferHead | None:
        for order in self._orders:
            found = order[0].match(data, 0, MAX_HEAD_BYTES)
            if found is not None:
                if order is not self._orders[0]:
                    self._orders.remove(order)
                    self._orders.insert(0, order)
                groups, at = found.groups(), order[1]
                break
        else:
            found = _HEAD.match(data, 0, MAX_HEAD_BYTES)
            if found is None:
                return None
            groups, at = self._groups(*found.groups())
        body_bytes = _size(groups[at]) if at else None
        if body_bytes is None or body_bytes > self._max_request_bytes:
            return None
        key = groups[: at - 1] + groups[at + 1 :]
        said = self._said[key] or self._learn(key)
        return None if said is None else self.head(found[0], body_bytes, *said)

    def _groups(self, target: bytes, lines: bytes) -> tuple[tuple[bytes, ...], int]:
        """What the groups of a pattern for the order of these names would be, and which of them is Content-Length; 0
        for none. If it is worth while, that pattern is made.
        """
        fields = spelt_headers(lines)
        names = tuple(name for name, _ in fields)
        matters = [name.lower() in self.matters for name in names]
        groups = (target, *chain.from_iterable(compress(fields, matters)))
        lower = [name.lower() for name in groups[1::2]]
        at = 2 * lower.index(_LENGTH) + 2 if _LENGTH in lower else 0
        if (
            at
            and self._seen_orders.sightings(names) % self.learn_every == 0
            and sum(map(len, names)) <= MAX_ORDER_BYTES
        ):
            headers = (
                rb"\r\n%b: ?%b" % (group % re.escape(name), group % _VALUE)
                for name, group in zip(names, [(b"%b", b"(%b)")[each] for each in matters], strict=True)
            )
            pattern = re.compile(b"".join((_LINE, *headers, rb"\r\n\r\n")))
            self._orders = [(pattern, at), *self._orders][:MAX_ORDERS]
        return groups, at

    def _learn(self, key: tuple[bytes, ...]) -> Said | None:
        """What a head means, to be remembered when it comes for the second time."""
        said = self._understand(*key)
        if said is not None and self._said.is_seen_again(key):
            self._said.keep(key, said, sum(map(len, key)) + _OVERHEAD_BYTES)
        return said

    def _understand(self, target: bytes, *fields: bytes) -> Said | None:
        meaning = self._meaning(target)
        names = [name.lower() for name in fields[::2]]
        headers = dict(zip(names, fields[1::2], strict=True))
        connection = headers.get(b"connection", _KEEP_ALIVE).lower()
        if (
            meaning is None
            or len(headers) < len(names)
            or not _UNUSUAL_HEADERS.isdisjoint(headers)
            or b"host" not in headers
            or connection not in (_KEEP_ALIVE, b"close")
            or _LENGTH in headers
        ):
            return None
        json_bytes = _size(headers.get(b"inference-header-content-length")) or 0
        return target, meaning, headers, json_bytes, connection == _KEEP_ALIVE

    def _meaning(self, target: bytes) -> Meaning | None:
        """What a target means, None if it is for another route."""
        try:
            path = httptools.parse_url(target).path
        except httptools.HttpParserInvalidURLError:
            return None
        found = parse_target(decode_path(path)) if path is not None else None
        return found[1:] if found is not None and found[0] == "infer" else None


def _size(digits: bytes | None) -> int | None:
    """The size that a header says, None if that can be none."""
    return int(digits) if digits is not None and digits.isdigit() and len(digits) < _MAX_DIGITS else None
