"""Replies for callers that wait in a task: for one answer, or for a stream of them."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.failures import no_answer
from kserve_v2.scheduling.room import no_room
from kserve_v2.scheduling.target import Reply, Ticket


class Asked(Protocol):
    """The part of a `Target` that a caller needs."""

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Have a checked request answered, as `Target.submit` does."""
        ...


async def infer(target: Asked, request: InferRequest) -> InferResponse:
    """The one answer to a checked request. Raises the error that is its outcome instead. Cancelling the call gives the
    request up.
    """
    reply = OneAnswer()
    asked = target.submit(request, reply)
    if isinstance(asked, InferResponse):
        return asked
    try:
        return await reply.answer
    except asyncio.CancelledError:
        asked.give_up()
        raise


async def stream(target: Asked, request: InferRequest) -> AsyncGenerator[InferResponse, None]:
    """All responses to a checked request. Raises the error that ends them. Whoever does not read to the end closes the
    generator, which gives the request up.
    """
    channel = Channel()
    asked = target.submit(request, channel)
    if isinstance(asked, InferResponse):
        yield asked
        return
    try:
        while (response := await channel.next()) is not None:
            yield response
    finally:
        # Does nothing if the request has ended.
        asked.give_up()
        channel.close()


Outcome = InferResponse | ServingError
"""What becomes of a request that has one answer: that, or the error that it gets instead."""


class OneOutcome:
    """A reply to a request with one outcome, for callers without a task. `ticket` is to be set when the request is
    under way; it is gone when that is over.
    """

    __slots__ = ("ticket",)

    ticket: Ticket | None
    take: Callable[[Outcome], None]
    """What is called with the outcome: a method of the subclass, or an attribute of the object."""

    def respond(self, response: InferResponse) -> None:
        """Take the answer. A second one is the model's mistake, and passed over."""
        if self.ticket is not None:
            self.ticket = None
            self.take(response)

    def end(self, error: ServingError | None = None) -> None:
        """Take the error, if there is no answer."""
        if self.ticket is not None:
            self.ticket = None
            self.take(error or no_answer())

    def give_up(self) -> None:
        """Nobody waits for the outcome any more."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.give_up()


class OneAnswer:
    """A reply that is awaited."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()

    def respond(self, response: InferResponse) -> None:
        """Take the answer. A second one is the model's mistake."""
        if not self.answer.done():
            self.answer.set_result(response)

    def end(self, error: ServingError | None = None) -> None:
        """Take the error, if there is no answer."""
        if not self.answer.done():
            self.answer.set_exception(error or no_answer())


class Nobody:
    """A reply to what nobody has asked for."""

    def respond(self, response: InferResponse) -> None:
        """Nobody takes it."""

    def end(self, error: ServingError | None = None) -> None:
        """Nobody is told."""


NOBODY = Nobody()


class Channel:
    """A reply that holds one response: the model goes on when that was taken, so a slow reader slows it down, and
    memory stays bounded.
    """

    def __init__(self) -> None:
        self._responses: deque[tuple[InferResponse, asyncio.Future[bool]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._error: ServingError | None = None
        self._ended = False
        self._closed = False

    def respond(self, response: InferResponse) -> asyncio.Future[bool]:
        """Offer the next response."""
        if self._closed:
            return no_room()
        taken: asyncio.Future[bool] = self._loop.create_future()
        self._responses.append((response, taken))
        self._wake.set()
        return taken

    def end(self, error: ServingError | None = None) -> None:
        """Let the reader have what is there, and then the error."""
        self._error, self._ended = error, True
        self._wake.set()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        while self._responses:
            _, taken = self._responses.popleft()
            taken.set_result(False)

    async def next(self) -> InferResponse | None:
        """The next response, None after the last one. Raises the error that has ended the stream."""
        while not self._responses:
            if self._ended:
                error, self._error = self._error, None
                if error is None:
                    return None
                try:
                    raise error
                finally:
                    # It holds this frame by its traceback: together they would be garbage for the collector.
                    del error
            self._wake.clear()
            await self._wake.wait()
        response, taken = self._responses.popleft()
        taken.set_result(True)
        return response
