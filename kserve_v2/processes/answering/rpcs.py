"""RPCs that clients have called at a worker, answered by the home's."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from kserve_v2.acceptance import Acceptance, Carrying
from kserve_v2.errors import ServingError, UnfinishedError
from kserve_v2.memory.inflight import COUNTED_BYTES, InflightBytes
from kserve_v2.processes.answering.http import Begin
from kserve_v2.processes.calls import ACCEPTED, read_call, read_metadata, read_reason
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.link import Link, Party
from kserve_v2.processes.window import Window
from kserve_v2.rpc.calls import Asked, Direct, Metadata, Parts, Rpc, Serialized, Streaming
from kserve_v2.rpc.status import StatusCode, known, status_of
from kserve_v2.scheduling.failures import unless_cancelled

_EXITING = "Server exiting: the request was not finished in time"


class RpcAnswering:
    """Answers them for one server."""

    def __init__(self, rpcs: Sequence[Rpc], inflight: InflightBytes, begin: Begin) -> None:
        """`rpcs` in the order that workers know. `begin`: makes a task."""
        self._rpcs = rpcs
        self._inflight = inflight
        self._begin = begin

    def open(self, link: Link, number: int, payload: Payload) -> None:
        """Take a call with one message each way; see `link.Opener`."""
        place, metadata, message = read_call(payload)
        rpc = self._rpcs[place]
        assert isinstance(rpc, Direct)  # noqa: S101 - as `calls.table` has it
        _start(rpc, link, number, metadata, message, self._inflight)

    def open_stream(self, link: Link, number: int, payload: Payload) -> None:
        """Take a call with streams."""
        place, metadata, _ = read_call(payload)
        rpc = self._rpcs[place]
        call = _StreamCall(link, number, metadata, self._inflight)
        assert isinstance(rpc, Streaming)  # noqa: S101 - as above
        with Carrying(call.acceptance):
            call.begin(self._begin, call.send_all(rpc.answer(call.requests(), call)))


def _start(
    rpc: Direct, link: Link, number: int, metadata: bytes, message: Payload, inflight: InflightBytes
) -> None:
    """Answer a call with one message each way."""
    try:
        found = rpc.recall(message)
    except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
        link.fail(number, known(error))
        return
    if found is not None and not isinstance(found, Asked):
        link.answer(number, found)
        return
    call = _DirectCall(link, number, metadata, inflight)
    try:
        if rpc.keeps_message and len(message) >= COUNTED_BYTES:
            call.hold(len(message))
        call.take(rpc.start(message, call) if found is None else found)
    except Exception as error:  # noqa: BLE001 - as above
        call.give_up()
        call.fail(error)


class _Call(Party):
    """A call: what its RPC may ask about it."""

    def __init__(self, link: Link, number: int, metadata: bytes) -> None:
        self.link = link
        self.number = number
        self._metadata = metadata
        self._callbacks: list[Callable[[int, str], None]] = []

    @property
    def metadata(self) -> Metadata:
        return read_metadata(self._metadata)

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        self._callbacks.append(callback)

    def fail(self, error: Exception) -> None:
        """The call ends with an error."""
        told = known(error)
        self.link.fail(self.number, told)
        self.end(*status_of(told))

    def end(self, code: int = StatusCode.OK, details: str = "") -> None:
        """The call is over."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(code, details)

    def cancelled(self, reason: Payload) -> None:
        self.give_up()
        self.end(*read_reason(reason))

    def abandon(self) -> None:
        self.give_up()
        self.fail(UnfinishedError(_EXITING))

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        raise NotImplementedError


class _DirectCall(_Call):
    """One message each way."""

    _asked: Asked | None = None
    _held_bytes = 0

    def __init__(self, link: Link, number: int, metadata: bytes, inflight: InflightBytes) -> None:
        super().__init__(link, number, metadata)
        self._inflight = inflight

    def hold(self, size: int) -> None:
        """The message, of that size, stays in memory until the answer is there. Raises as `InflightBytes.take`."""
        self._inflight.take(size)
        self._held_bytes = size

    def _forget_message(self) -> None:
        if self._held_bytes:
            self._inflight.give(self._held_bytes)
            self._held_bytes = 0

    def take(self, found: Parts | Asked) -> None:
        """Send the answer, or wait for it."""
        if not isinstance(found, Asked):
            self._answer(found)
            return
        found.on_answer = self._answer
        self._asked = found
        self.link.join(self.number, self)

    def _answer(self, outcome: Parts | ServingError) -> None:
        self._asked = None
        self._forget_message()
        if isinstance(outcome, ServingError):
            self.fail(outcome)
        else:
            self.link.answer(self.number, outcome)
            self.end()

    def give_up(self) -> None:
        self._forget_message()
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.give_up()


class _StreamCall(_Call):
    """Any number of messages each way, with a task, which ends when nobody waits for it any more."""

    _task: "asyncio.Task[None] | None" = None
    _told: Callable[[], None] | None = None

    def __init__(self, link: Link, number: int, metadata: bytes, inflight: InflightBytes) -> None:
        super().__init__(link, number, metadata)
        self._inflight = inflight
        self._window = Window()
        self._messages: deque[tuple[int, Payload]] = deque()
        # Of the message that was taken last.
        self.acceptance = Acceptance()
        # Bytes of these that are counted as in flight.
        self._held_bytes = 0
        self._ended = False
        self._wake = asyncio.Event()

    def begin(self, begin: Begin, work: Coroutine[Any, Any, None]) -> None:
        """Have the answers made."""
        self.link.join(self.number, self)
        self._task = begin(work)

    def on_message(self, callback: Callable[[], None]) -> None:
        """See `calls.StreamContext`."""
        self._told = callback
        for _ in self._messages:
            callback()

    async def requests(self) -> AsyncIterator[Serialized]:
        """The client's messages, as they come."""
        while True:
            while self._messages:
                kind, size = self._messages[0][0], len(self._messages[0][1])
                self._hold(-size)
                self.acceptance.given = kind == ACCEPTED
                # No reference is kept here while the RPC waits for the next message.
                yield self._messages.popleft()[1]
                # Not before: now the RPC has begun what it is to do for this one.
                self.link.credit(self.number, size)
            if self._ended:
                return
            self._wake.clear()
            await self._wake.wait()

    async def send_all(self, answers: Any) -> None:
        """Send what the RPC yields, no faster than the worker takes it."""
        try:
            async with aclosing(answers):
                async for answer in answers:
                    self._window.spend(sum(map(len, answer)))
                    self.link.send(self.number, 0, answer)
                    # An idle call must not keep its last answer alive.
                    del answer
                    await self._window.room()
                    await self.link.drain()
            self.link.answer(self.number, ())
            self.end()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of ours is one call's failure
            self.fail(unless_cancelled(error))
        finally:
            self._forget_messages()

    def give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()
        # The task may not have begun.
        self._forget_messages()

    def _forget_messages(self) -> None:
        self._messages.clear()
        self._hold(-self._held_bytes)

    def message(self, kind: int, payload: Payload) -> None:
        self._messages.append((kind, payload))
        if self._told is not None:
            self._told()
        if len(payload) >= COUNTED_BYTES:
            self._hold(len(payload))
        self._wake.set()

    def _hold(self, size: int) -> None:
        size = max(size, -self._held_bytes)
        self._held_bytes += size
        self._inflight.hold(size)

    def ended(self) -> None:
        self._ended = True
        self._wake.set()

    def credited(self, size: int) -> None:
        self._window.credit(size)
