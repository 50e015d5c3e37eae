"""A request on its way through a queue."""

import asyncio
import logging
import time
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.statistics import ExecutionTimes
from kserve_v2.scheduling.target import Reply
from kserve_v2.tensors.datatypes import Array

logger = logging.getLogger(__name__)

Outputs = dict[str, Array]


class Owner(Protocol):
    """Whoever has taken a request, and counts it."""

    def ended(self, pending: "Pending") -> None:
        """The request is over, however that came about. Called once."""
        ...

    def given_up(self, pending: "Pending") -> None:
        """Nobody waits for the request any more: it must not be executed, if that has not begun."""
        ...


class Pending:
    """One request in a queue, or in execution. It is the `Ticket` of its caller.

    `enqueued_ns`, `key`, `request` and `rows` are read by the instance thread that takes the request, all else by
    the server's event loop alone. Compared by identity: two equal requests are two requests.
    """

    __slots__ = (
        "_reply", "done", "enqueued_ns", "found_idle", "held_bytes", "key", "level", "owner", "request",
        "rows", "timer",
    )  # fmt: skip

    # Whether it is part of a request that was admitted to the queue before.
    admitted = False
    # Whether it is some rows of a larger request, which is counted and answered as a whole.
    is_part = False
    # Whether it stands in a batch for a sequence without a request, and is neither counted nor answered.
    is_null = False

    def __init__(self, request: InferRequest, reply: Reply) -> None:
        self.request = request
        self.rows = request.rows
        self.key = request.batch_key
        self.enqueued_ns = time.monotonic_ns()
        self.found_idle = False
        # The index of its level of priority.
        self.level = 0
        # What it counts for among the bytes in flight, as long as it does.
        self.held_bytes = 0
        self.done = False
        self.timer: asyncio.TimerHandle | None = None
        self.owner: Owner | None = None
        self._reply = reply

    def __repr__(self) -> str:
        state = "done" if self.done else "pending"
        return f"<{type(self).__name__} id={self.request.id!r} rows={self.rows} key={self.key!r} {state}>"

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Pass on one of many responses; see `Reply.respond`. Not to be called for a request that is over."""
        return self._reply.respond(response)

    def answer(self, response: InferResponse) -> None:
        """Pass on the only response, unless the request is over."""
        if not self.done:
            self._close()
            try:
                self._reply.respond(response)
                self._reply.end()
            except Exception:
                # The other requests of the batch must still get their outcomes.
                logger.exception("the answer to a request was not taken")

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses, unless the request is over already."""
        if not self.done:
            self._close()
            try:
                self._reply.end(error)
            except Exception:
                logger.exception("the end of a request was not taken")

    def give_up(self) -> None:
        """Nobody waits for the outcome any more; see `Ticket.give_up`."""
        if not self.done:
            self.request.cancel()
            owner = self.owner
            self._close()
            if owner is not None:
                owner.given_up(self)

    def executed(self, times: ExecutionTimes) -> None:
        """Its batch was executed. On the event loop, before it is answered."""

    def failing_since_ns(self) -> int | None:
        """It fails: when the request came whose failure is to be counted. None if that is counted already."""
        return self.enqueued_ns

    def _close(self) -> None:
        self.done = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.owner is not None:
            self.owner.ended(self)
            self.owner = None
