"""The kinds of calls: with one message each way, and with a task for streams of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import NoneType
from typing import Any

from kserve_v2.errors import ServingError, UnsupportedError
from kserve_v2.memory.inflight import COUNTED_BYTES
from kserve_v2.rpc.calls import Asked, Direct, Parts, Serialized, Streaming
from kserve_v2.rpc.transport.call import Call, Owner
from kserve_v2.rpc.transport.head import RequestHead
from kserve_v2.scheduling.failures import unless_cancelled


class DirectCall(Call):
    """A `Direct` RPC."""

    _message: Serialized | None = None
    _asked: Asked | None = None

    def message_received(self, message: Serialized) -> None:
        if self._message is not None:
            raise UnsupportedError("this method takes one message")
        self._message = message
        self._hold_large(message)

    def only_message(self, message: Serialized) -> None:
        if self._message is not None:
            raise UnsupportedError("this method takes one message")
        self._run(message)

    def half_closed(self) -> None:
        message = self._message
        if message is None:
            raise UnsupportedError("this method takes one message, but none was sent")
        self._message = None
        self.hold(0)
        self._run(message)

    def _hold_large(self, message: Serialized) -> None:
        """Count a large message until it is over. Raises ServingError if there is no room for it."""
        if len(message) >= COUNTED_BYTES:
            self.hold(len(message))
            self.owner.check_buffered()

    def _run(self, message: Serialized) -> None:
        """Answer the request. Raises ServingError if there is no room for it."""
        rpc = self.head.terms.rpc
        assert isinstance(rpc, Direct)  # noqa: S101 - as `CALLS` has it
        if rpc.keeps_message:
            self._hold_large(message)
        try:
            found = rpc.recall(message)
            if found is None:
                found = rpc.start(message, self)
            self._take(found)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            self.fail(error)

    def _take(self, found: Parts | Asked | Exception) -> None:
        """Send the answer, or the error, or wait for the request's outcome."""
        if isinstance(found, Asked):
            found.on_answer = self._on_answer
            self._asked = found
            self.start_deadline()
        elif isinstance(found, Exception):
            self.fail(found)
        else:
            self.answer(found)

    def _on_answer(self, outcome: Parts | ServingError) -> None:
        self._asked = None
        self.hold(0)
        self._take(outcome)

    def give_up(self) -> None:
        if self._asked is not None:
            asked, self._asked = self._asked, None
            asked.give_up()


class AskedCall(DirectCall):
    """A call whose request has been read before the call was there."""

    def __init__(
        self, owner: Owner, stream_id: int, head: RequestHead, found: Parts | Asked | Exception
    ) -> None:
        """`found`: what the RPC has returned or raised."""
        super().__init__(owner, stream_id, head)
        self._found = found

    def opened(self, ended: bool) -> None:
        try:
            self._take(self._found)
        except Exception as error:  # noqa: BLE001 - as in `_run`
            self.fail(error)
        # An error's traceback would keep the request alive.
        del self._found


class StreamingCall(Call):
    """A `Streaming` RPC, in a task, which ends when nobody waits for it any more. Its messages are sent one by one, no
    faster than the client takes them.
    """

    _task: asyncio.Task[None] | None = None
    _told: Callable[[], None] | None = None

    def __init__(self, owner: Owner, stream_id: int, head: RequestHead) -> None:
        super().__init__(owner, stream_id, head)
        self._may_send = asyncio.Event()
        self._messages: deque[Serialized] = deque()
        self._half_closed = False
        self._wake = asyncio.Event()
        self._unread_bytes = 0
        # Of the messages that wait. Where it is little, it is not held.
        self._waiting_bytes = 0

    async def _send_all(self, answers: Any) -> None:
        """Send what the RPC yields."""
        try:
            async with aclosing(answers):
                async for answer in answers:
                    self._may_send.clear()
                    await self.send_message(answer)
                    # An idle call must not keep its last answer alive.
                    del answer
                    if self.queued:
                        await self._may_send.wait()
            self.finish()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of ours is one call's failure
            self.fail(unless_cancelled(error))

    def drained(self) -> None:
        self._may_send.set()

    def opened(self, ended: bool) -> None:
        """The answer does not have to wait for a message. The client's deadline counts from the start."""
        rpc = self.head.terms.rpc
        assert isinstance(rpc, Streaming)  # noqa: S101 - as `CALLS` has it
        self.start_deadline()
        self._task = self.owner.loop.create_task(self._send_all(rpc.answer(self._requests(), self)))
        super().opened(ended)

    def give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def on_message(self, callback: Callable[[], None]) -> None:
        """See `calls.StreamContext`."""
        self._told = callback
        for _ in self._messages:
            callback()

    def message_received(self, message: Serialized) -> None:
        self._messages.append(message)
        if self._told is not None:
            self._told()
        self._waiting_bytes += len(message)
        if self._waiting_bytes - self._held_bytes >= COUNTED_BYTES:
            self.hold(self._waiting_bytes)
            self.owner.check_buffered()
        self._wake.set()

    def consumed(self, size: int) -> None:
        """As long as the RPC does not read its messages, the client may send no more than a window."""
        self._unread_bytes += size
        if not self._messages:
            self._credit()

    def _credit(self) -> None:
        unread, self._unread_bytes = self._unread_bytes, 0
        super().consumed(unread)

    def half_closed(self) -> None:
        self._half_closed = True
        self._wake.set()

    async def _requests(self) -> AsyncIterator[Serialized]:
        while True:
            while self._messages:
                if len(self._messages) == 1:
                    self._credit()
                self._waiting_bytes -= len(self._messages[0])
                if self._held_bytes:
                    self.hold(self._waiting_bytes)
                # No reference is kept here while the RPC waits for the next message.
                yield self._messages.popleft()
            if self._half_closed:
                return
            self._wake.clear()
            await self._wake.wait()

    def _end(self, code: int, details: str) -> None:
        self._messages.clear()
        self._waiting_bytes = 0
        self._told = None
        super()._end(code, details)


CALLS: dict[type, type[Call]] = {
    NoneType: Call,
    Direct: DirectCall,
    Streaming: StreamingCall,
}
