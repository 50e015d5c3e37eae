"""uvicorn's HTTP protocol, but: a request whose client has left is cancelled at once, and inference requests of the
usual form take the fast lane; all others go the way of ASGI.

ASGI tells an application of a disconnect only if it waits for one, which would take a task per request. A client that
closes its half of the connection has left: a full close looks the same.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from kserve_v2.errors import ServingError
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rest.answer_text import Parts
from kserve_v2.rest.endpoint import WAITING_TASKS
from kserve_v2.rest.fast_lane import FastCall, Lane
from kserve_v2.rest.heads import InferHead
from kserve_v2.rest.infer import Asked
from kserve_v2.rest.large_body import LargeBody
from kserve_v2.rest.limited import LimitedConnection, RefusalError

# The most requests of one connection that are read while another is answered.
_MAX_PIPELINED = 8


class HttpConnection(LimitedConnection):
    """One HTTP/1.1 connection."""

    def __init__(self, *arguments: Any, lane: Lane | None = None, **options: Any) -> None:
        """`lane`: None for a server without one; the rest as `LimitedConnection` has it."""
        super().__init__(*arguments, **options)
        self._lane = lane
        # The request in the fast lane: one at a time. Requests pipelined behind it go through ASGI.
        self._call: FastCall | None = None
        # The head of the request that is being read, or was read last, if the fast lane takes it.
        self._lane_head: InferHead | None = None
        self._waiting_tasks: set[asyncio.Task[None]] = set()
        # Requests with another one pipelined behind them; uvicorn itself remembers only the last.
        self._earlier_cycles: list[RequestResponseCycle] = []
        # Requests that have begun in the last read.
        self._begun = 0

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
            if isinstance(reason, RefusalError):
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
                # Left to the parser, which can skip a body that is not kept.
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
            self._begin_call(lane, head).wait(found)
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
        self._check_head()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusalError(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed")
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

    def _begin_call(self, lane: Lane, head: InferHead) -> FastCall:
        call = self._call = FastCall(lane, self, head)
        # uvicorn treats the call as its request-response cycle.
        self.cycle = call  # type: ignore[assignment]
        return call

    def _read_large_body(self, call: FastCall) -> None:
        """Let the transport read the rest of a body to where it is used, if much is missing."""
        if call.missing_bytes >= LARGE_BYTES and call.has_room():
            head, parts, on_more = call.head, call.take_parts(), self._read_more_of_body
            LargeBody(self, self.transport, head.body_bytes, parts, head.json_bytes, on_more).begin()

    def _read_more_of_body(self, large: LargeBody, body: memoryview | None) -> None:
        # The timer has been running since the request began.
        self._stalled_since = self.loop.time()
        call = self._call
        if call is None:
            # The request was refused meanwhile because it came too slowly.
            large.end()
        elif body is None:
            try:
                call.hold(large.read_bytes)
            except ServingError as error:
                large.end()
                self._refuse(HTTPStatus(error.code.value.http), error.message)
        else:
            # The old parser still waits for the body, which it never gets.
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
            # An idle connection must not keep its last request alive.
            self.cycle = None  # type: ignore[assignment]
        if call.disconnected or self.transport.is_closing():
            return
        self._write(parts)
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def abandon(self) -> None:
        """The server's time to exit is up: the request in the fast lane fails."""
        if self._call is not None:
            self._call.abandon()

    # --- what is given up -----------------------------------------------------------------------------------------

    def _discard(self, cycle: RequestResponseCycle, status: HTTPStatus) -> bool:
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            # The request before it is the last one now.
            self.cycle = self._earlier_cycles.pop()
        elif cycle.response_started:
            return True
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._cancel_waiting()
            # In the fast lane it is not in flight yet: its body is not complete.
            if self._call is not None:
                self._call.discard(status)
                self._call = None
        return False

    def _cancel_waiting(self) -> None:
        while self._waiting_tasks:
            self._waiting_tasks.pop().cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for cycle in self._earlier_cycles:
            cycle.disconnected = True
        self._cancel_waiting()
        if self._call is not None:
            self._call.give_up()
            self._call = None
