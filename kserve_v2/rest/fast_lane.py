"""The fast lane: `infer` requests of the usual form, answered without ASGI, a task or a scope.

A connection asks the lane for each request whose head is complete. What the lane does not take goes the way of ASGI,
and gets the same answer there; see `FastLane.take` for what that is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.inference import InferenceService
from kserve_v2.logs import Access, access_log_enabled, log_access
from kserve_v2.rest.endpoint import WANTED_HEADERS, parse_target
from kserve_v2.rest.errors import error_response, unexpected
from kserve_v2.rest.infer import JOIN_BYTES, Asked, answer, decode, encode
from kserve_v2.scheduling.pending import Outcome, Pending

# Requests with one of these are not of the usual form.
_UNUSUAL_HEADERS = frozenset({b"transfer-encoding", b"expect"})

# How many paths are remembered. Clients choose them, so they are forgotten when there are too many.
_MAX_TARGETS = 1024

_PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_LAST_PLAIN_HEAD = _PLAIN_HEAD.removesuffix(b"\r\n") + b"connection: close\r\n\r\n"

Headers = Sequence[tuple[bytes, bytes]]


class Connection(Protocol):
    """What a call needs of the connection that it came by."""

    def fast_answer(self, call: "FastCall", parts: Sequence[bytes | memoryview]) -> None:
        """Send an answer, whole: the call is over."""
        ...


class FastLane:
    """Takes `POST /v2/models/M[/versions/N]/infer` for all connections of a server."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest request that is accepted."""
        self._service = service
        self._max_request_bytes = max_request_bytes
        self._targets: dict[bytes, tuple[str, str] | None] = {}

    def take(self, url: bytes, headers: Headers, connection: Connection) -> "FastCall | None":
        """The call that will answer a POST request over HTTP/1.1, None if that goes the way of ASGI: if it is for
        another route, if its body is chunked, too large or waits for 100 Continue, or if requests are traced.
        """
        target = self._target(url)
        if target is None or self._service.tracer.on:
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
        return FastCall(self, connection, target, wanted, int(length))

    def _target(self, url: bytes) -> tuple[str, str] | None:
        """Model name and version ("" if not given) of an `infer` request, None for other requests."""
        try:
            return self._targets[url]
        except KeyError:
            if len(self._targets) >= _MAX_TARGETS:
                self._targets.clear()
            found = self._targets[url] = _infer_target(url)
            return found

    def decode(self, call: "FastCall", body: bytes | memoryview) -> Asked:
        """See `infer.decode`."""
        return decode(self._service, *call.target, call.headers, body, self._max_request_bytes)


def _infer_target(url: bytes) -> tuple[str, str] | None:
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        return None
    target = parse_target(unquote(path.decode("ascii"))) if path is not None and path.isascii() else None
    return target[1:] if target is not None and target[0] == "infer" else None


class FastCall:
    """One request in the fast lane.

    To uvicorn's protocol it is a request-response cycle, of which it knows the five attributes named first.
    """

    __slots__ = (
        "_access", "_asked", "_connection", "_lane", "_parts", "_pending", "body_bytes", "disconnected", "headers",
        "keep_alive", "missing_bytes", "response_complete", "response_started", "target",
    )  # fmt: skip

    # Nobody waits for it.
    message_event = asyncio.Event()

    def __init__(
        self,
        lane: FastLane,
        connection: Connection,
        target: tuple[str, str],
        headers: Mapping[bytes, bytes],
        body_bytes: int,
    ) -> None:
        """`target`: model name and version; `headers`: those of WANTED_HEADERS that the request has; `body_bytes`: the
        size of its body.
        """
        self.body_bytes = self.missing_bytes = body_bytes
        self.response_started = self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.target = target
        self.headers = headers
        self._lane = lane
        self._connection = connection
        self._parts: list[bytes] = []
        self._asked: Asked | None = None
        self._pending: Pending | None = None
        self._access = Access("rest", *target, status=200) if access_log_enabled() else None

    def __repr__(self) -> str:
        state = "complete" if self.response_complete else "waiting" if self._pending else "reading"
        return f"<FastCall {self.target} {state}>"

    @property
    def json_bytes(self) -> int:
        """How much of the body is JSON, according to its header; 0 if that says nothing that can be."""
        length = self.headers.get(b"inference-header-content-length", b"")
        return int(length) if length.isdigit() else 0

    def add_body(self, part: bytes) -> None:
        """The next part of the request's body."""
        self._parts.append(part)
        self.missing_bytes -= len(part)

    def take_parts(self) -> list[bytes]:
        """What has come of the body, for somebody else to put together."""
        parts, self._parts = self._parts, []
        return parts

    def start(self) -> None:
        """The request is complete: answer it, at once or when the model has. Does not raise."""
        parts = self.take_parts()
        self.answer_body(parts[0] if len(parts) == 1 else b"".join(parts))

    def answer_body(self, body: bytes | memoryview) -> None:
        """As `start`, with a body that was put together elsewhere."""
        try:
            asked = self._asked = self._lane.decode(self, body)
            if self._access is not None:
                self._access.request_id = asked.request.id
            self._pending = asked.model.submit(asked.request, self._take)
        except ServingError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            self._fail(unexpected(error))

    def _take(self, outcome: Outcome) -> None:
        asked = self._asked
        assert asked is not None  # noqa: S101 - a request is decoded before it is submitted
        if isinstance(outcome, ServingError):
            self._fail(outcome)
            return
        try:
            if self._access is not None:
                self._access.executed(outcome)
            encoded = encode(outcome, asked)
            if encoded.header_length is None and b"accept-encoding" not in self.headers:
                self._answer_plain(encoded.parts[0])
            else:
                self._answer(200, *answer(encoded, self.headers.get(b"accept-encoding")))
        except ServingError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            self._fail(unexpected(error))

    def _answer_plain(self, body: bytes | memoryview) -> None:
        """The usual answer: JSON, as it is."""
        head = _PLAIN_HEAD if self.keep_alive else _LAST_PLAIN_HEAD
        self._send((head % len(body), body))

    def _fail(self, error: ServingError) -> None:
        if self._access is not None:
            self._access.status = error.code.value.http
        response = error_response(error)
        self._answer(response.status_code, response.raw_headers, (bytes(response.body),))

    def _answer(self, status: int, headers: Headers, parts: Sequence[bytes | memoryview]) -> None:
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)]
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._send((b"".join(lines), *parts))

    def _send(self, parts: Sequence[bytes | memoryview]) -> None:
        self._end()
        if len(parts) == 2 and len(parts[1]) <= JOIN_BYTES:
            parts = (b"".join(parts),)
        self._connection.fast_answer(self, parts)

    def _end(self) -> None:
        self.response_started = self.response_complete = True
        # What the request held is not kept for as long as its connection.
        self._asked = self._pending = None
        if self._access is not None:
            log_access(self._access)

    def leave(self) -> None:
        """The client has left: what has not begun is not executed, and nothing is answered."""
        self.disconnected = True
        self._give_up()
        if self._access is not None and not self.response_complete:
            self._access.status = 499
            self._end()

    def expire(self) -> None:
        """The server's time to exit is up: fail if there is no answer yet."""
        if not self.response_complete:
            self._give_up()
            self._fail(UnavailableError("Server exiting: the request was not finished in time"))

    def _give_up(self) -> None:
        if self._asked is not None and self._pending is not None:
            self._asked.model.give_up(self._pending)
