"""The RPCs of a worker: the home answers them. Messages are handed on unread."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.processes.accepted import Accepted, Counted
from kserve_v2.processes.calls import ACCEPTED, PLAIN, call_head, read_table, reason_bytes
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link, Party
from kserve_v2.processes.window import Window
from kserve_v2.rpc.calls import (
    Asked,
    Context,
    Direct,
    Metadata,
    Parts,
    Rpc,
    Serialized,
    StreamContext,
    Streaming,
)
from kserve_v2.rpc.infer import Sliced
from kserve_v2.rpc.servicer import MODEL_INFER


class LocalInfer(Protocol):
    """Answers ModelInfer for models that this process has; see `calls.Direct`."""

    def recall(self, data: Serialized) -> Parts | Asked | None:
        """As there."""
        ...

    def start(self, data: Serialized, context: Context) -> Parts | Asked | None:
        """As there; None if there is no route for the model here, and then nothing has happened."""
        ...


async def forwarding_rpcs(link: Link, accepted: Accepted, local: LocalInfer | None = None) -> tuple[Rpc, ...]:
    """All RPCs of the home, which is asked for them. `accepted`: where messages that go to it are counted. `local`:
    answers what it can.
    """
    rpcs: list[Rpc] = []
    for place, path in enumerate(read_table(await link.call(Kind.RPC_TABLE))):
        heads = _Heads(place)
        if path.streams:
            rpcs.append(Streaming(path.path, _ForwardedStream(link, heads, accepted).answer))
        elif path.path == MODEL_INFER and local is not None:
            infer = _Infer(_Forwarding(link, heads, accepted), local)
            rpcs.append(Direct(path.path, infer.start, local.recall))
        else:
            rpcs.append(Direct(path.path, _Forwarding(link, heads, accepted).start))
    return tuple(rpcs)


class _Heads:
    """Makes the heads of the calls of one RPC. Nearly all calls have the metadata of the one before."""

    __slots__ = ("_head", "_metadata", "_place")

    def __init__(self, place: int) -> None:
        self._place = place
        self._metadata: Metadata = ()
        self._head = call_head(place, ())

    def head(self, metadata: Metadata) -> bytes:
        """What stands before the message."""
        if metadata != self._metadata:
            self._head = call_head(self._place, metadata)
            self._metadata = metadata
        return self._head


class _Forwarding:
    """An RPC with one message each way."""

    def __init__(self, link: Link, heads: _Heads, accepted: Accepted) -> None:
        self._link = link
        self._heads = heads
        self._accepted = accepted

    def start(self, data: Serialized, context: Context) -> Asked:
        """See `calls.Direct`."""
        parts = (self._heads.head(context.metadata), data)
        counted = self._accepted.take()
        try:
            return _Forwarded(self._link, parts, context, counted)
        except ServingError:
            counted.end()
            raise


class _Infer:
    """ModelInfer, which may be answered here."""

    def __init__(self, forwarding: _Forwarding, local: LocalInfer) -> None:
        self._forwarding = forwarding
        self._local = local

    def start(self, data: Serialized, context: Context) -> Parts | Asked:
        """See `calls.Direct`."""
        found = self._local.start(data, context)
        if isinstance(found, Sliced):
            found.elsewhere = partial(self._forwarding.start, data, context)
        return self._forwarding.start(data, context) if found is None else found


class _Forwarded(Asked, Party):
    """A call that the home has."""

    __slots__ = ("_counted", "_link", "_number", "_reason")

    def __init__(self, link: Link, parts: Parts, context: Context, counted: Counted) -> None:
        """Ask. Raises as `Link.ask`."""
        self._link = link
        self._reason = b""
        self._counted = counted
        self._number = link.ask(Kind.RPC_ACCEPTED if counted.accepted else Kind.RPC, parts, self)
        context.on_end(self._ended)

    def answered(self, payload: Payload) -> None:
        self._counted.end()
        self.on_answer((payload,))

    def failed(self, error: ServingError) -> None:
        self._counted.end()
        self.on_answer(error)

    def give_up(self) -> None:
        # The call gets its status next.
        asyncio.get_running_loop().call_soon(self._cancel)

    def _ended(self, code: int, details: str) -> None:
        if code:
            self._reason = reason_bytes(code, details)

    def _cancel(self) -> None:
        self._counted.end()
        self._link.cancel(self._number, self._reason)


class _ForwardedStream:
    """An RPC with streams of messages."""

    def __init__(self, link: Link, heads: _Heads, accepted: Accepted) -> None:
        self._link = link
        self._heads = heads
        self._accepted = accepted

    async def answer(
        self, messages: AsyncIterator[Serialized], context: StreamContext
    ) -> AsyncGenerator[Parts, None]:
        """See `calls.Streaming`."""
        link = self._link
        asked = _AskedStream(self._accepted)
        context.on_end(asked.call_ended)
        number = link.ask(Kind.RPC_STREAM, (self._heads.head(context.metadata),), asked)
        context.on_message(asked.has_read)
        sending = asyncio.create_task(self._send_all(number, asked, messages))
        try:
            while (payload := await asked.next()) is not None:
                size = len(payload)
                yield (payload,)
                # An idle call must not keep its last answer alive.
                del payload
                link.credit(number, size)
        finally:
            sending.cancel()
            asked.over()
            link.cancel(number, asked.reason)

    async def _send_all(
        self, number: int, asked: "_AskedStream", messages: AsyncIterator[Serialized]
    ) -> None:
        """Send the client's messages, no faster than the home takes them."""
        async for message in messages:
            kind = ACCEPTED if asked.sends(message) else PLAIN
            self._link.send(number, kind, (message,))
            del message
            await asked.window.room()
        self._link.end(number)


class _AskedStream(Party):
    """The answers of a stream, as they come."""

    def __init__(self, accepted: Accepted) -> None:
        self.window = Window()
        self._accepted = accepted
        self._answers: deque[Payload] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._error: ServingError | None = None
        self.reason = b""
        # Messages that wait to be sent, and those that the home has not taken.
        self._read: deque[Counted] = deque()
        self._sent: deque[Counted] = deque()

    def has_read(self) -> None:
        """A message is there, however long there is no room for it."""
        self._read.append(self._accepted.take(False if self._ended else None))

    def sends(self, message: Serialized) -> bool:
        """A message is about to be sent. Returns whether it is accepted."""
        self.window.spend(len(message))
        self._sent.append(self._read.popleft())
        return self._sent[-1].accepted

    def over(self) -> None:
        """Nothing that was read or sent is waited for any more."""
        self._ended = True
        for counted in (*self._sent, *self._read):
            counted.end()

    def call_ended(self, code: int, details: str) -> None:
        """The client gets this status."""
        if code:
            self.reason = reason_bytes(code, details)

    async def next(self) -> Payload | None:
        """The next one, None after the last. Raises the error that has ended the stream."""
        while not self._answers:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._answers.popleft()

    def message(self, kind: int, payload: Payload) -> None:
        self._answers.append(payload)
        self._wake.set()

    def answered(self, payload: Payload) -> None:
        self.over()
        self.window.open()
        self._wake.set()

    def failed(self, error: ServingError) -> None:
        self._error = error
        self.answered(b"")

    def credited(self, size: int) -> None:
        # Of one message, and in their order.
        self._sent.popleft().end()
        self.window.credit(size)
