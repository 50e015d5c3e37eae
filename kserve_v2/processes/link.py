"""A channel between two processes of one server, over a Unix socket pair: calls and notes both ways, and exchanges of
messages. All of it happens on the event loop's thread.

The transport writes once in a turn of the loop what was sent in it, and a wake-up of the other side reads all that
has come. When the other side is gone, whoever waits for it is told so at once.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from kserve_v2.errors import ServingError, UnavailableError, UnfinishedError, ordinary
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.processes.failures import error_bytes, error_of
from kserve_v2.processes.frames import HEAD, JOIN_BYTES, PIECE_BYTES, FrameReader, Parts, Payload, Step, Turns
from kserve_v2.processes.kinds import Kind
from kserve_v2.scheduling.failures import known

logger = logging.getLogger(__name__)

Handler = Callable[[Payload], Awaitable[bytes] | bytes | None]
"""Answers a call, or takes a note. What it raises is the caller's error."""

Opener = Callable[[int, Payload], None]
"""Takes the number and the payload of an exchange that the other side begins: answers it, or has a party join it."""

_MAX_NUMBER = 2**32 - 2

# How much may wait to be written before those who send in parts have to wait, too.
_WRITE_BUFFER_BYTES = 256 * 1024


class Party:
    """Who is at this end of an exchange. None of this raises. Subclasses say what they expect."""

    __slots__ = ()

    def answered(self, payload: Payload) -> None:
        """To who has asked: the exchange is over, and well."""

    def failed(self, error: ServingError) -> None:
        """To who has asked: the exchange is over."""

    def cancelled(self, reason: Payload) -> None:
        """To who was asked: nobody waits for the answer. `reason`: as told by who has asked, or empty."""

    def message(self, kind: int, payload: Payload) -> None:
        """The next message of the other side."""

    def ended(self) -> None:
        """There are no more messages."""

    def credited(self, size: int) -> None:
        """The other side has taken `size` of what was sent."""

    def abandon(self) -> None:
        """To who was asked: the server's time to exit is up. Whoever has no answer yet fails."""


class Link(asyncio.BufferedProtocol):
    """One end."""

    def __init__(self, *, home: bool, inflight: InflightBytes | None = None) -> None:
        """`home`: whether this is the home's end. `inflight`: where large payloads are counted while they come."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.alive = False
        self._inflight = inflight
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(self)
        self._turns = Turns()
        self._write_paused = False
        self._may_write = asyncio.Event()
        self._parity = 0 if home else 1
        self._numbers = itertools.count(2 + self._parity, 2)
        self._parties: dict[int, Party] = {}
        self._openers: dict[int, Opener] = {}
        self._handlers: dict[int, Handler] = {}
        # The event loop holds tasks weakly.
        self._tasks: set[asyncio.Future[bytes]] = set()

    def __repr__(self) -> str:
        return f"<Link {'open' if self.alive else 'closed'}, {len(self._parties)} under way>"

    async def open(self, sock: socket.socket) -> None:
        """Use a connected Unix socket, which belongs to the link from here on."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=sock)

    def close(self) -> None:
        """Send what was given to send, and end: whoever waits for the other side is told so."""
        if self._transport is not None and self.alive:
            while self._turns:
                self._transport.writelines(self._turns.next())
            self.alive = False
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """The server's time to exit is up: have all fail that the other side still waits for."""
        for number, party in list(self._parties.items()):
            if number % 2 != self._parity:
                party.abandon()

    # --- calls and notes ------------------------------------------------------------------------------------------

    def on(self, kind: Kind, handler: Handler) -> None:
        """Have calls and notes of that kind answered."""
        self._handlers[kind] = handler
        self._openers[kind] = lambda number, payload: self._run(number, handler, payload)

    async def call(self, kind: Kind, payload: bytes = b"") -> bytes:
        """The answer of the other side's handler. Raises its error, and UnavailableError if the other side is gone."""
        reply = _Reply()
        number = self.ask(kind, (payload,), reply)
        try:
            return await reply.answer
        except asyncio.CancelledError:
            self.cancel(number)
            raise

    def notify(self, kind: Kind, payload: bytes = b"") -> None:
        """Say something that is not answered. Nothing happens if the other side is gone."""
        self._send(Step.NOTE, kind, 0, (payload,))

    async def drain(self) -> None:
        """Wait while there is much that the other side has not read yet."""
        while self._write_paused and self.alive:
            await self._may_write.wait()

    def _run(self, number: int, handler: Handler, payload: Payload) -> None:
        found = handler(payload)
        if isinstance(found, Awaitable):
            work = self._begin(found)
            work.add_done_callback(lambda work: self._finish(number, work))
            self.join(number, _Work(work))
        else:
            self.answer(number, (found or b"",))

    def _finish(self, number: int, work: "asyncio.Future[bytes]") -> None:
        error = None if work.cancelled() else work.exception()
        if work.cancelled():
            self.fail(number, UnfinishedError("the work for the answer was cancelled"))
        elif error is not None:
            self.fail(number, ordinary(error))
        else:
            self.answer(number, (work.result() or b"",))

    def _note(self, kind: int, payload: Payload) -> None:
        found = self._handlers[kind](payload)
        if isinstance(found, Awaitable):
            self._begin(found).add_done_callback(_noted)

    def _begin(self, work: Awaitable[bytes]) -> "asyncio.Future[bytes]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- exchanges ------------------------------------------------------------------------------------------------

    def on_ask(self, kind: Kind, opener: Opener) -> None:
        """Have exchanges of that kind taken by `opener`."""
        self._openers[kind] = opener

    def ask(self, kind: int, parts: Parts, party: Party, aligned_at: int | None = None) -> int:
        """Begin an exchange, whose number is returned: `party` gets its answer, in a later turn of the event loop.
        `aligned_at`: which byte is to be aligned in the other side's memory, if there are many; None for the end.

        Raises UnavailableError if the other side is gone.
        """
        if not self.alive:
            raise UnavailableError("the process that answers is gone; another one is about to take its place")
        number = next(self._numbers)
        if number > _MAX_NUMBER or number in self._parties:
            number = self._next_free(number)
        self._parties[number] = party
        self._send(Step.ASK, kind, number, parts, aligned_at)
        return number

    def _next_free(self, number: int) -> int:
        while number > _MAX_NUMBER or number in self._parties:
            if number > _MAX_NUMBER:
                self._numbers = itertools.count(2 + self._parity, 2)
            number = next(self._numbers)
        return number

    def join(self, number: int, party: Party) -> None:
        """Take part in an exchange that the other side has begun."""
        self._parties[number] = party

    def answer(self, number: int, parts: Parts) -> None:
        """Answer an exchange, which is over with that."""
        self._parties.pop(number, None)
        self._send(Step.ANSWER, 0, number, parts)

    def fail(self, number: int, error: Exception) -> None:
        """Answer an exchange with an error."""
        self._parties.pop(number, None)
        told = known(ordinary(error), "link to another process")
        self._send(Step.FAIL, 0, number, (error_bytes(told),))

    def cancel(self, number: int, reason: bytes = b"") -> None:
        """Nobody here waits for an answer any more. Nothing happens if the exchange is over."""
        if self._parties.pop(number, None) is not None:
            self._turns.forget(number)
            self._send(Step.CANCEL, 0, number, (reason,))

    def send(self, number: int, kind: int, parts: Parts) -> None:
        """Send a message in an exchange."""
        self._send(Step.MESSAGE, kind, number, parts)

    def end(self, number: int) -> None:
        """Say that no message follows."""
        self._send(Step.END, 0, number, ())

    def credit(self, number: int, size: int) -> None:
        """Say that so much of the other side's messages was taken."""
        self._send(Step.CREDIT, 0, number, (size.to_bytes(8, "little"),))

    # --- frames ---------------------------------------------------------------------------------------------------

    def _send(self, step: Step, kind: int, number: int, parts: Parts, aligned_at: int | None = None) -> None:
        if not self.alive or self._transport is None:
            return
        size = sum(map(len, parts))
        if size > PIECE_BYTES or (self._turns and number in self._turns):
            self._turns.add(step, kind, number, parts, aligned_at)
            self._write_turns()
            return
        head = HEAD.pack(size, number, step, kind)
        if size <= JOIN_BYTES:
            self._transport.write(b"".join((head, *parts)))
        else:
            self._transport.writelines((head, *parts))

    def _write_turns(self) -> None:
        assert self._transport is not None  # noqa: S101 - called by who has one
        while not self._write_paused and self._turns:
            self._transport.writelines(self._turns.next())

    def take(self, step: int, kind: int, number: int, payload: Payload) -> None:
        """A frame has come; see `frames.Owner`."""
        try:
            self._take(step, kind, number, payload)
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            if step == _ASK:
                self.fail(number, error)
            else:
                known(error, "link to another process")

    def _take(self, step: int, kind: int, number: int, payload: Payload) -> None:
        if step == _ASK:
            self._openers[kind](number, payload)
        elif step == _ANSWER:
            party = self._over(number)
            if party is not None:
                party.answered(payload)
        elif step == Step.NOTE:
            self._note(kind, payload)
        elif step == Step.FAIL:
            party = self._over(number)
            if party is not None:
                party.failed(error_of(payload))
        elif step == Step.CANCEL:
            self._reader.forget(number)
            party = self._over(number)
            if party is not None:
                party.cancelled(payload)
        else:
            self._go_on(step, kind, number, payload)

    def _over(self, number: int) -> Party | None:
        """The party of an exchange that the other side has ended."""
        if self._turns and self._turns.forget(number):
            # The other side has a part of it.
            self._send(Step.CANCEL, 0, number, ())
        return self._parties.pop(number, None)

    def _go_on(self, step: int, kind: int, number: int, payload: Payload) -> None:
        party = self._parties.get(number)
        if party is None:
            return
        if step == Step.MESSAGE:
            party.message(kind, payload)
        elif step == Step.CREDIT:
            party.credited(int.from_bytes(payload, "little"))
        else:
            party.ended()

    def large_begins(self, step: int, number: int, size: int) -> bool:
        """Whether there is room for what is about to come; see `frames.Owner`."""
        if self._inflight is None:
            return True
        if step in _REFUSABLE and not self._inflight.has_room(size):
            party = self._parties.get(number)
            self.fail(number, self._inflight.refusal(size))
            if party is not None:
                party.cancelled(b"")
            return False
        self._inflight.hold(size)
        return True

    def large_ends(self, size: int) -> None:
        """It has come; see `frames.Owner`."""
        if self._inflight is not None:
            self._inflight.give(size)

    # --- the transport --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._transport = transport
        self.alive = True

    def get_buffer(self, sizehint: int) -> Any:
        return self._reader.place()

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.filled(nbytes)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._may_write.set()
        self._write_turns()

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._write_paused = False
        self._may_write.set()
        self._reader.forget_all()
        parties, self._parties = self._parties, {}
        for number, party in parties.items():
            if number % 2 == self._parity:
                party.failed(UnfinishedError(_ENDED))
            else:
                party.cancelled(b"")
        if not self.closed.done():
            self.closed.set_result(None)


# How a process beside the first one has ended is logged; if it was the first one, nobody is left who would.
_ENDED = (
    "the process that was to answer has ended before it did: see the server's log, or the system's if that one ends "
    "there"
)
# Members of an enumeration are slower to find, and to compare.
_ASK, _ANSWER = int(Step.ASK), int(Step.ANSWER)
# What may be refused because it is too large for what is under way: answers are not.
_REFUSABLE = (int(Step.ASK), int(Step.MESSAGE))


class _Reply(Party):
    """The answer to a call, which is awaited."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def answered(self, payload: Payload) -> None:
        if not self.answer.done():
            self.answer.set_result(bytes(payload))

    def failed(self, error: ServingError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Work(Party):
    """The work for an answer."""

    __slots__ = ("_work",)

    def __init__(self, work: "asyncio.Future[bytes]") -> None:
        self._work = work

    def cancelled(self, reason: Payload) -> None:
        self._work.cancel()


def _noted(work: "asyncio.Future[bytes]") -> None:
    """Nobody waits for its outcome."""
    error = None if work.cancelled() else work.exception()
    if error is not None:
        known(ordinary(error), "link to another process")
