"""uvicorn's HTTP protocol, but: a request whose client has left is cancelled at once, every error is JSON, and a
client cannot hold on to memory, or to a connection, with a request that does not end. Inference requests of the usual
form take the fast lane, all others the way of ASGI.

ASGI tells an application of a disconnect only if it waits for one, which would take a task per request. A client that
closes its half of the connection has left: a full close looks the same.
"""

import asyncio
from http import HTTPStatus
from itertools import chain
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kserve_v2.errors import ServingError
from kserve_v2.net.limits import HttpLimits
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rest.answer_text import Parts
from kserve_v2.rest.endpoint import WAITING_TASKS
from kserve_v2.rest.errors import RETRY_AFTER, error_body
from kserve_v2.rest.fast_lane import FastCall, FastLane
from kserve_v2.rest.heads import InferHead
from kserve_v2.rest.infer import Asked
from kserve_v2.rest.large_body import LargeBody

# How many requests of one connection are read while one is answered.
_MAX_PIPELINED = 8

# How long a client that is hung up on may go on sending. Closing at once would reset the connection, and the client
# could lose the answer that says why.
_LINGER_SECONDS = 1.0


class _RefusalError(Exception):
    """The request breaks a limit: raised through the parser."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpConnection(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    def __init__(
        self,
        *uvicorn_arguments: Any,
        limits: HttpLimits,
        lane: FastLane | None = None,
        **uvicorn_options: Any,
    ) -> None:
        """`limits` of the connection; `lane`: None for a server without one; the rest as uvicorn has it."""
        super().__init__(*uvicorn_arguments, **uvicorn_options)
        self._limits = limits
        self._lane = lane
        # The request that is in the fast lane: one at a time, those pipelined behind it go the way of ASGI.
        self._call: FastCall | None = None
        # The head of what is being read, or was read last, if that is for the fast lane.
        self._lane_head: InferHead | None = None
        self._waiting_tasks: set[asyncio.Task[None]] = set()
        # Requests with another one pipelined behind them; uvicorn itself remembers only the last.
        self._earlier_cycles: list[RequestResponseCycle] = []
        self._said_nothing = True
        # A request that has begun and not ended; whether its headers have not ended either.
        self._incomplete = False
        self._in_head = False
        # Bytes of that request in reads after its first one, less those of its body.
        self._later_bytes = 0
        self._read_bytes = 0
        # Requests that have begun in the last read.
        self._begun = 0
        self._chunks = 0
        # What is still to be said before hanging up. Nothing more is read for as long as it is set.
        self._last_words: bytes | None = None
        self._stalled_since = 0.0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_more()
        self._check_idle()

    def data_received(self, data: bytes) -> None:
        if self._last_words is not None:
            return
        at_start = not self._incomplete
        current: object = self.cycle
        if at_start and current is None and self._answer_known(data):
            return
        self._begun = 0
        self._read_bytes = len(data)
        self._later_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            reason = error.__context__
            if isinstance(reason, _RefusalError):
                self._refuse(reason.status, str(reason))
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "Invalid HTTP request received.")
        else:
            if at_start and self._begun == 1 and self._lane is not None and self._lane_head is not None:
                self._lane.heads.note(data, self._lane_head)
            if self._incomplete:
                self._await_rest_of_request()
                if self._lane_head is not None and self._call is not None:
                    self._read_large_body(self._call)

    def _answer_known(self, data: bytes) -> bool:
        """Answer without the parser, or go on reading, if what has come is one request with a head that is known."""
        lane = self._lane
        if lane is None or self.flow.write_paused or lane.tracer.on or lane.log_access:
            return False
        known = lane.heads.recall(data)
        if known is None:
            return False
        head, body = known
        if len(body) < head.body_bytes:
            if not lane.inflight.has_room(head.body_bytes):
                # The parser finds the end of a body that is not kept.
                return False
            self._said_nothing = False
            self._lane_head, self._incomplete, self._in_head = head, True, False
            call = self._begin_call(lane, head)
            call.add_body(body)
            self._await_more()
            self._read_large_body(call)
            return True
        self._said_nothing = False
        found = lane.infer(head, body)
        if isinstance(found, Asked):
            self._begin_call(lane, head).submit(found)
            return True
        self._write(found)
        self.on_response_complete()
        return True

    def _write(self, parts: Parts) -> None:
        if len(parts) == 1:
            self.transport.write(parts[0])
        else:
            self.transport.writelines(parts)

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser has passed over the body of the request, if it has one.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The head that has just been read, as the head of a request that asks for no other protocol."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # --- what the parser finds ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The scope is made when it is known to be needed."""
        self.url = b""
        self.headers = []
        self._said_nothing = False
        self._begun += 1
        self._lane_head = None
        self._incomplete = self._in_head = True
        self._later_bytes = self._chunks = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # In one small read there is no room for too much.
        if self._later_bytes or self._read_bytes > self._limits.max_head_bytes:
            self._check_head_size()
        if len(self.headers) > self._limits.max_headers:
            raise self._too_many_headers()
        self._check_framing(self.parser.get_http_version())
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _RefusalError(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed")
            return
        self._in_head = False
        if self._take_fast_lane():
            return
        current = self.cycle
        self._make_scope()
        super().on_headers_complete()
        self._keep_alive_as_asked()
        if self.pipeline:
            self._earlier_cycles.append(current)
        else:
            self._earlier_cycles.clear()

    def _take_fast_lane(self) -> bool:
        """Whether the fast lane takes the request whose headers are complete."""
        lane = self._lane
        if lane is None or self.flow.write_paused or self._last_words is not None or lane.tracer.on:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return False
        self._lane_head = lane.heads.read(self.url, self.headers, keep_alive=parser.should_keep_alive())
        if self._lane_head is None:
            return False
        self._begin_call(lane, self._lane_head)
        return True

    def _begin_call(self, lane: FastLane, head: InferHead) -> FastCall:
        call = self._call = FastCall(lane, self, head)
        # In uvicorn's place: to it the call is a cycle.
        self.cycle = call  # type: ignore[assignment]
        return call

    def _read_large_body(self, call: FastCall) -> None:
        """Let the transport read the rest of a body to where it is used, if much is missing."""
        if call.missing_bytes >= LARGE_BYTES and call.has_room():
            head, parts, on_more = call.head, call.take_parts(), self._read_more_of_body
            LargeBody(self, self.transport, head.body_bytes, parts, head.json_bytes, on_more).begin()

    def _read_more_of_body(self, large: LargeBody, body: memoryview | None) -> None:
        # The timer is set since the request has begun.
        self._stalled_since = self.loop.time()
        call = self._call
        if call is None:
            # It was refused in the meantime, for being too slow.
            large.end()
        elif body is None:
            try:
                call.hold(large.read_bytes)
            except ServingError as error:
                large.end()
                self._refuse(HTTPStatus(error.code.value.http), error.message)
        else:
            # The parser waits for a body that it will not see.
            self.parser = httptools.HttpRequestParser(self)
            self._incomplete = False
            call.answer_body(body)

    def _make_scope(self) -> None:
        """What uvicorn does when a request begins, and has headers."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        self.scope[WAITING_TASKS] = self._waiting_tasks  # type: ignore[literal-required]

    def _keep_alive_as_asked(self) -> None:
        """Keep a connection of HTTP/1.0 whose client asks for that; uvicorn would not."""
        if self.scope["http_version"] == "1.0" and self.parser.should_keep_alive():
            self.cycle.keep_alive = True
            self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"keep-alive")]

    def on_chunk_header(self) -> None:
        """Also called for the empty chunk that ends a body."""
        self._chunks += 1
        if self._chunks > self._limits.max_chunks + 1:
            raise _RefusalError(
                HTTPStatus.BAD_REQUEST,
                f"Chunked request body exceeds maximum of {self._limits.max_chunks} non-empty chunks. "
                "Send fewer or larger HTTP chunks.",
            )

    def on_body(self, body: bytes) -> None:
        self._later_bytes -= len(body)
        if self._lane_head is None:
            super().on_body(body)
        elif self._call is not None:
            self._call.add_body(body)

    def on_message_complete(self) -> None:
        if self._lane_head is not None:
            self._incomplete = False
            if self._call is not None:
                self._call.start()
            return
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._incomplete = False
        # uvicorn pauses reading when a body is large or another request follows; then it would not see the client
        # leave.
        if len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """The next pipelined request has its turn."""
        if self.pipeline:
            super().on_response_complete()
        elif self._last_words is not None:
            self._hang_up(self._last_words)
        else:
            self.server_state.total_requests += 1
            self._idle_since = self.loop.time()
            if self.flow.read_paused and not self.transport.is_closing():
                self.flow.resume_reading()

    def fast_answer(self, call: FastCall, parts: Parts) -> None:
        self._call = None
        current: object = self.cycle
        if current is call:
            # A connection that idles holds nothing of its last request.
            self.cycle = None  # type: ignore[assignment]
        if call.disconnected or self.transport.is_closing():
            return
        self._write(parts)
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def expire(self) -> None:
        """The server's time to exit is up: the request in the fast lane fails."""
        if self._call is not None:
            self._call.expire()

    def _check_framing(self, version: str) -> None:
        """Refuse what RFC 9112 wants refused (sections 3.2 and 6.1): another server on the way may have taken it for
        another request.
        """
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts != 1 and (hosts or version == "1.1"):
            found = f"has {hosts} Host headers" if hosts else "has no Host header"
            raise _RefusalError(HTTPStatus.BAD_REQUEST, f"the request {found}: exactly one is required")
        if version == "1.0" and b"transfer-encoding" in names:
            raise _RefusalError(
                HTTPStatus.BAD_REQUEST, "a request of HTTP/1.0 cannot have the header Transfer-Encoding"
            )

    # --- limits ---------------------------------------------------------------------------------------------------

    def _check_head_size(self) -> None:
        """Refuse a request whose headers, which are complete, are too long."""
        size = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if size > self._limits.max_head_bytes:
            raise self._head_too_large()

    def _too_many_headers(self) -> _RefusalError:
        return _RefusalError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the request has {len(self.headers)} headers; at most {self._limits.max_headers} are accepted",
        )

    def _head_too_large(self) -> _RefusalError:
        return _RefusalError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the request line and headers exceed {self._limits.max_head_bytes} bytes",
        )

    def _await_rest_of_request(self) -> None:
        """After a read that does not end the request."""
        limits = self._limits
        if self._later_bytes > limits.max_head_bytes + limits.chunk_overhead_bytes * self._chunks:
            # The parser keeps what it cannot hand out yet: a header without end, or a trailer.
            refusal = self._head_too_large()
            self._refuse(refusal.status, str(refusal))
        elif not self._in_head or self._later_bytes == 0:
            self._await_more()

    def _await_more(self) -> None:
        """From now on the client has `max_stall_s` for its next step."""
        self._stalled_since = self.loop.time()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._limits.max_stall_s, self._check_stall)

    def _check_stall(self) -> None:
        """Hang up if the client has let its time pass. One timer serves all requests: it is not set for each."""
        self._stall_timer = None
        if self._last_words is not None or not (self._incomplete or self._said_nothing):
            return
        if self.flow.read_paused:
            # It is the server that does not read.
            self._stalled_since = self.loop.time()
        left_s = self._stalled_since + self._limits.max_stall_s - self.loop.time()
        if left_s > 0:
            self._stall_timer = self.loop.call_later(left_s, self._check_stall)
        elif self._said_nothing:
            self.transport.close()
        else:
            part = "head" if self._in_head else "body"
            message = f"the {part} of the request did not arrive within {self._limits.max_stall_s:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)

    def _check_idle(self) -> None:
        """Close a connection that has had no request for the keep-alive time. One timer serves all requests, and not
        uvicorn's, which is set and cancelled for each.
        """
        now = self.loop.time()
        if not self._is_idle():
            self._idle_since = now
        left_s = self._idle_since + self.timeout_keep_alive - now
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._check_idle)
        else:
            self.transport.close()

    def _is_idle(self) -> bool:
        """Whether neither a request nor an answer is under way."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return not (self._said_nothing or self._incomplete or answering)

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is made."""
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size() + 1)

    def _await_reader(self, unread_bytes: int) -> None:
        """Hang up on a client that has not read anything since there were `unread_bytes`."""
        if not self.flow.write_paused or self.transport.is_closing():
            return
        unread_now = self.transport.get_write_buffer_size()
        if unread_now >= unread_bytes:
            self.transport.abort()
        else:
            self.loop.call_later(self._limits.max_stall_s, self._await_reader, unread_now)

    # --- hanging up -----------------------------------------------------------------------------------------------

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer what cannot be read to its end when all requests before it have their answers, and hang up."""
        body = error_body(message)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        )
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            head += f"retry-after: {RETRY_AFTER}\r\n"
        head += "\r\n"
        self._last_words = head.encode() + body
        if self._incomplete and not self._in_head and self._abandon(self.cycle, status):
            # It has its answer, or a part of it: another one would be taken for that of the next request.
            self.transport.close()
        elif not self.cycle or self.cycle.response_complete or self.cycle.disconnected:
            self._hang_up(self._last_words)

    def _abandon(self, cycle: RequestResponseCycle, status: HTTPStatus) -> bool:
        """Give up a request whose body is not complete, with that status. Returns whether its answer has begun."""
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            # The one before it is now the last.
            self.cycle = self._earlier_cycles.pop()
        elif cycle.response_started:
            return True
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._cancel_waiting()
            # If it is in the fast lane, it has not begun there: its body is not complete.
            if self._call is not None:
                self._call.abandon(status)
                self._call = None
        return False

    def _hang_up(self, last_words: bytes) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(last_words)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            # TLS ends both directions at once; it waits for the client to do the same.
            self.transport.close()
        self._linger_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _cancel_waiting(self) -> None:
        while self._waiting_tasks:
            self._waiting_tasks.pop().cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._stall_timer, self._idle_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        for cycle in self._earlier_cycles:
            cycle.disconnected = True
        self._cancel_waiting()
        if self._call is not None:
            self._call.leave()
            self._call = None
