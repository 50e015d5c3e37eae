"""The requests of one connection that its fast lane takes: read from bytes, answered as text, with neither a parser nor
ASGI in between. All else is left to whoever owns the connection.
"""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.net.answer_text import LastParts, Parts, last_answer
from kserve_v2.net.read_in_place import LARGE_BYTES, ReadWhole
from kserve_v2.net.write_in_turns import TURN_BYTES, WriteInTurns
from kserve_v2.rest.fast_call import FastCall
from kserve_v2.rest.fast_lane import Lane
from kserve_v2.rest.heads import Body, InferHead
from kserve_v2.rest.infer import Asked
from kserve_v2.tensors.raw import aligned_memory


class Owner(Protocol):
    """Whose connection it is: keeps the time, and knows what else is under way."""

    def begun(self, call: FastCall, *, complete: bool) -> None:
        """A request is under way. `complete`: whether all of it has come."""
        ...

    def read_more(self) -> None:
        """More of its body has come."""
        ...

    def read_all(self) -> None:
        """All of its body has come."""
        ...

    def ended(self, call: FastCall) -> None:
        """It is over, answered or not."""
        ...

    def answered(self) -> None:
        """An answer has been sent."""
        ...

    def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer so, and hang up: the request that is being read cannot be taken."""
        ...


class FastConnection:
    """One request at a time: what comes behind it is the owner's to read, until it is answered."""

    call = FastCall

    def __init__(self, lane: Lane, owner: Owner, connection: asyncio.Protocol) -> None:
        """`connection`: the protocol that the transport has."""
        self._lane = lane
        self._owner = owner
        self._connection = connection
        self._transport: asyncio.Transport
        # The request that is under way, and whether it is still being read.
        self._call: FastCall | None = None
        self.reads = False
        # The answer that is being sent, if it is large.
        self._sending: WriteInTurns | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._call or 'idle'}>"

    def connect(self, transport: asyncio.Transport) -> None:
        """The connection is there."""
        self._transport = transport

    def take(self, data: bytes) -> bytes:
        """Read what has come, while nothing of another request is being read or waited for. Returns what it leaves: all
        of it, the very same object, if that is no request for the lane; what is behind one if it is.
        """
        if self.reads:
            return self._take_body(data)
        lane = self._lane
        head = lane.heads.read(data)
        if head is None or not lane.takes(head):
            return data
        start = len(head.lines)
        end = start + head.body_bytes
        if len(data) < end:
            self._begin(head, complete=False)
            return self._take_body(
                memoryview(data)[start:] if end - len(data) >= LARGE_BYTES else data[start:]
            )
        if lane.log_access:
            self._begin(head).answer_body(data[start:end])
            return data[end:]
        found = lane.infer(head, data[start:end])
        if isinstance(found, Asked):
            self._begin(head).wait(found)
        elif is_large(found):
            self.fast_answer(self._begin(head), found)
        elif len(data) > end or lane.together.is_first():
            self._write(found if head.keep_alive else last_answer(found))
        else:
            self._begin(head).answer_at_end(lane.together, found)
        return data[end:]

    def _begin(self, head: InferHead, *, complete: bool = True) -> FastCall:
        self.reads = not complete
        call = self._call = self.call(self._lane, self.fast_answer, head)
        self._owner.begun(call, complete=complete)
        return call

    def _take_body(self, data: Body) -> bytes:
        """The next part of a body. Returns what is behind it."""
        call = self._call
        assert call is not None  # noqa: S101 - it is being read
        missing = call.missing_bytes
        if len(data) < missing:
            call.add_body(data)
            self._owner.read_more()
            if call.missing_bytes >= LARGE_BYTES and call.has_room():
                self._read_in_place(call)
            return b""
        call.add_body(data[:missing])
        self._end_body()
        call.start()
        return bytes(data[missing:])

    def _end_body(self) -> None:
        self.reads = False
        self._owner.read_all()

    def _read_in_place(self, call: FastCall) -> None:
        """Let the transport read the rest of a body to where it is used."""
        # Its pages are only used once they are written: a client that announces much and sends little costs little.
        whole = aligned_memory(call.head.body_bytes, aligned_at=call.head.json_bytes)
        ReadWhole(self._connection, self._transport, whole, call.take_parts(), self._more_in_place).begin()

    def _more_in_place(self, large: ReadWhole, body: memoryview | None) -> None:
        call = self._call
        if call is None:
            # It was refused meanwhile because it came too slowly.
            large.end()
        elif body is not None:
            self._end_body()
            call.answer_body(body)
        else:
            self._owner.read_more()
            try:
                call.hold(large.read_bytes)
            except ServingError as error:
                large.end()
                self._owner.refuse(HTTPStatus(error.code.value.http), error.message)

    def fast_answer(self, call: FastCall, parts: Parts) -> None:
        """Send an answer, whole: the call is over when all of it has been handed to the transport."""
        self._call = None
        if call.disconnected or self._transport.is_closing():
            self._owner.ended(call)
            return
        if not call.keep_alive:
            parts = last_answer(parts)
        if is_large(parts):
            # What comes behind the request waits for its turn until then.
            call.response_started, call.response_complete = True, False
            self._sending = WriteInTurns(self._transport, parts, partial(self._sent, call, parts))
            self._sending.begin()
        else:
            self._owner.ended(call)
            self._write(parts)

    def _sent(self, call: FastCall, parts: Parts) -> None:
        """All of a large answer has been handed over."""
        self._sending = None
        call.response_complete = True
        self._owner.ended(call)
        # Meanwhile the server may have begun to exit.
        self._end_answer(last=isinstance(parts, LastParts) or not call.keep_alive)

    def _write(self, parts: Parts) -> None:
        if len(parts) == 1:
            self._transport.write(parts[0])
        else:
            self._transport.writelines(parts)
        self._end_answer(last=isinstance(parts, LastParts))

    def _end_answer(self, *, last: bool) -> None:
        if last:
            self._transport.close()
        self._owner.answered()

    # --- what is given up -----------------------------------------------------------------------------------------

    def discard(self, status: HTTPStatus) -> None:
        """The owner has answered with that status what is being read."""
        if self._call is not None:
            self._call.discard(status)
            self._forget()

    def give_up(self) -> None:
        """The client has left."""
        if self._call is not None:
            self._call.give_up()
            self._forget()
        if self._sending is not None:
            self._sending.give_up()
            self._sending = None

    def abandon(self) -> None:
        """The server's time to exit is up."""
        if self._call is not None:
            self._call.abandon()
        if self._sending is not None:
            self._sending.finish()

    def _forget(self) -> None:
        self._call = None
        self.reads = False


def is_large(parts: Parts) -> bool:
    """Whether an answer is sent in several turns of the loop."""
    return len(parts) > 1 and sum(map(len, parts)) > TURN_BYTES
