"""Heads of requests and answers on their way to another process: what stands before the body.

They are lines. No field can have a line end in it: HTTP/1.1 has none, and what is decoded travels encoded.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import unquote

from starlette.types import Scope

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.processes.frames import Payload

Headers = Sequence[tuple[bytes, bytes]]

_SIZE_BYTES = 4

_SCOPE_LINES = 10

_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})


def lines(first: Sequence[bytes], headers: Headers) -> bytes:
    """Some lines, and two for each header. Raises InvalidArgumentError for one with a line end in it."""
    head = b"\n".join((*first, *chain.from_iterable(headers)))
    if head.count(b"\n") != len(first) - 1 + 2 * len(headers):
        raise InvalidArgumentError("a header of the request has a line end in it")
    return head


def pairs(found: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The headers of their lines."""
    return list(zip(found[::2], found[1::2], strict=True))


def sized(head: bytes) -> bytes:
    """A head as it stands before a body."""
    return len(head).to_bytes(_SIZE_BYTES, "little") + head


def split(payload: Payload) -> tuple[bytes, Payload]:
    """The head that stands before a body, and that body."""
    end = _SIZE_BYTES + int.from_bytes(payload[:_SIZE_BYTES], "little")
    return bytes(payload[_SIZE_BYTES:end]), payload[end:]


def scope_head(scope: Scope, *, has_body: bool) -> bytes:
    """A request, as ASGI tells of it. `has_body`: whether messages with its body follow."""
    first = [
        scope["method"].encode(),
        scope["http_version"].encode(),
        scope["scheme"].encode(),
        scope["raw_path"],
        scope["query_string"],
        *_address(scope["client"]),
        *_address(scope["server"]),
    ]
    return lines([b"%d" % has_body, *first], scope["headers"])


def read_scope(head: bytes) -> tuple[Scope, bool]:
    """The request, and whether it has a body."""
    found = head.split(b"\n")
    has_body, method, http_version, scheme, raw_path, query, *_ = found
    return make_scope(
        method.decode(),
        raw_path,
        query,
        pairs(found[_SCOPE_LINES:]),
        http_version=http_version.decode(),
        scheme=scheme.decode(),
        client=_read_address(found[6:8]),
        server=_read_address(found[8:10]),
    ), has_body == b"1"


def make_scope(method: str, raw_path: bytes, query: bytes, headers: Headers, **more: Any) -> Scope:
    """What uvicorn makes of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "client": None,
        "server": None,
        "root_path": "",
        "state": {},
        "method": method,
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        **more,
    }


def _address(address: tuple[str, int | None] | None) -> tuple[bytes, bytes]:
    """Host and port; both empty where there is no address."""
    if address is None:
        return b"", b""
    host, port = address
    return host.encode("unicode_escape"), b"-" if port is None else b"%d" % port


def _read_address(found: Sequence[bytes]) -> tuple[str, int | None] | None:
    host, port = found
    if not port:
        return None
    return host.decode("unicode_escape"), None if port == b"-" else int(port)


def answer_head(status: int, headers: Headers) -> bytes:
    """Status and headers of an answer."""
    return lines([b"%d" % status], headers)


def read_answer(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """What that says."""
    status, *found = head.split(b"\n")
    return int(status), pairs(found)


def has_body(headers: Headers) -> bool:
    """Whether a request with these headers may have a body."""
    return any(name in _BODY_HEADERS for name, _ in headers)


def expects_go_ahead(headers: Headers) -> bool:
    """Whether the client waits for 100 Continue before it sends the body."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
