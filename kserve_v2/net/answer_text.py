"""Answers as text of HTTP/1.1, where ASGI does not write it."""

import re
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Parts = Sequence[bytes | memoryview]
"""An answer in pieces, so that large ones need not be copied."""

JOIN_BYTES = 64 * 1024
"""Answers up to this size are sent in one piece; the parts of larger ones are not copied together."""

_PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_BINARY_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
    b"inference-header-content-length: %d\r\ncontent-length: %d\r\n\r\n"
)
# Found by a pattern, because what comes from elsewhere is a view.
_END = re.compile(b"\r\n\r\n")
_CLOSE = b"\r\nconnection: close\r\n\r\n"


def usual_answer(body: Parts, json_bytes: int) -> Parts:
    """The usual answer: status 200, and JSON; if not all of it is that, tensors behind so many bytes."""
    size = sum(map(len, body)) if len(body) > 1 else len(body[0])
    head = _BINARY_HEAD % (json_bytes, size) if json_bytes else _PLAIN_HEAD % size
    return (head + b"".join(body),) if size <= JOIN_BYTES else (head, *body)


def any_answer(status: int, headers: Sequence[tuple[bytes, bytes]], body: Parts) -> Parts:
    """An answer with `headers`, Content-Length among them."""
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
    if sum(map(len, body)) <= JOIN_BYTES:
        return (b"".join((*lines, *body)),)
    return (b"".join(lines), *body)


class LastParts(tuple[bytes | memoryview, ...]):
    """An answer behind which the connection is closed. Its head says so."""

    __slots__ = ()


def last_answer(parts: Parts) -> LastParts:
    """An answer that says that the connection is closed behind it."""
    if isinstance(parts, LastParts):
        return parts
    found = _END.search(parts[0])
    assert found is not None  # noqa: S101 - where its head ends
    text = memoryview(parts[0])
    rest = filter(len, (text[found.end() :], *parts[1:]))
    return LastParts((bytes(text[: found.start()]) + _CLOSE, *rest))
