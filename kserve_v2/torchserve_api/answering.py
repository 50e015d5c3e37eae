"""Answers of TorchServe's APIs, as what an ASGI server sends."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from kserve_v2.torchserve.rows import Answer
from kserve_v2.torchserve_api.errors import TorchServeError, error_body, json_body, status_body

Headers = Sequence[tuple[bytes, bytes]]

_JSON = "application/json"
_NEVER_KEPT: Headers = (
    (b"pragma", b"no-cache"),
    (b"cache-control", b"no-cache; no-store, must-revalidate, private"),
    (b"expires", b"Thu, 01 Jan 1970 00:00:00 UTC"),
)
_IN_PARTS = (b"ts_stream_next", b"true")
# What the server itself says of the connection and the length.
_OURS = frozenset({"content-length", "connection", "transfer-encoding", "content-type"})


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `more`: the parts of a stream behind `body`, whose length nobody knows."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)
    more: AsyncGenerator[Answer, None] | None = None
    bare: bool = False
    """Without the headers that every answer has."""


def of_json(document: object, status: int = 200) -> Reply:
    return Reply(status, json_body(document), _JSON)


def of_status(text: str, status: int = 200) -> Reply:
    return Reply(status, status_body(text), _JSON)


def of_error(error: TorchServeError) -> Reply:
    return Reply(error.code, error_body(error), _JSON)


TOO_LARGE = Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, bare=True)
"""Nothing else than that is said."""


def of_answer(answer: Answer, more: AsyncGenerator[Answer, None] | None = None) -> Reply:
    return Reply(answer.status, answer.body, answer.content_type, answer.headers, more)


def head(reply: Reply, request_id: str, cors: Headers) -> list[tuple[bytes, bytes]]:
    """All headers of an answer."""
    closes = reply.status >= HTTPStatus.BAD_REQUEST
    headers: list[tuple[bytes, bytes]] = []
    if not reply.bare:
        headers += [(b"x-request-id", request_id.encode()), *_NEVER_KEPT, *cors]
    for name, value in reply.headers:
        if name.lower() not in _OURS and _is_sendable(name, value):
            headers.append((name.encode("latin-1"), value.encode("latin-1", "replace")))
    if reply.content_type and _is_sendable("content-type", reply.content_type):
        headers.append((b"content-type", reply.content_type.encode("latin-1", "replace")))
    if reply.more is None:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    else:
        headers.append(_IN_PARTS)
    if not reply.bare:
        headers.append((b"connection", b"close" if closes else b"keep-alive"))
    return headers


def _is_sendable(name: str, value: str) -> bool:
    """A handler may have made them of what a client has sent: no header begins another one."""
    return (
        bool(name)
        and name.isascii()
        and not any(mark in name + value for mark in "\r\n\0")
        and " " not in name
    )
