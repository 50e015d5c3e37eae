"""A request on its way through a scheduler."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from kserve_v2.errors import ServingError
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.tensors.datatypes import Array

logger = logging.getLogger(__name__)

Outputs = dict[str, Array]


Outcome = InferResponse | ServingError
"""What becomes of a request: its answer, or the error that it gets instead."""

OnOutcome = Callable[[Outcome], None]
"""Takes the one outcome of a request, on the event loop's thread. It must not raise."""


class Pending:
    """One request on its way, and who takes its one outcome.

    `enqueued_ns`, `key`, `request` and `rows` are read by the instance thread that takes the request, all else by
    the server's event loop alone. Compared by identity: two equal requests are two requests.
    """

    __slots__ = (
        "_on_outcome",
        "done",
        "enqueued_ns",
        "found_idle",
        "held_bytes",
        "key",
        "release",
        "request",
        "rows",
        "timer",
    )

    # Whether it belongs to a request that has a place in the queue already.
    admitted = False
    # Whether its tensors are counted among the bytes in flight: those of a part are counted with the whole.
    counted = True

    def __init__(self, request: InferRequest, on_outcome: OnOutcome) -> None:
        self.request = request
        self.rows = request.rows
        self.key = request.batch_key
        self.enqueued_ns = time.monotonic_ns()
        self.found_idle = False
        # What it counts for among the bytes in flight: set by the pool that queues it.
        self.held_bytes = 0
        self.done = False
        self.timer: asyncio.TimerHandle | None = None
        # Called when it is over, however it ended: set by the pool that counts it.
        self.release: Callable[[Pending], None] | None = None
        self._on_outcome = on_outcome

    def __repr__(self) -> str:
        state = "done" if self.done else "pending"
        return f"<{type(self).__name__} id={self.request.id!r} rows={self.rows} key={self.key!r} {state}>"

    def conclude(self, outcome: Outcome) -> None:
        """Hand over the outcome, unless there is one already, or nobody who wants it."""
        if self.done:
            return
        self.leave()
        try:
            self._on_outcome(outcome)
        except Exception:
            # The others of the same batch must have their outcomes all the same.
            logger.exception("the outcome of a request was not taken")

    def fail(self, error: ServingError) -> None:
        """Take an error as the outcome, unless there is one already."""
        self.conclude(error)

    def failing_since_ns(self) -> int | None:
        """It fails: when the request came whose failure is to be counted. None if that is counted already."""
        return self.enqueued_ns

    def leave(self) -> None:
        """From now on nobody wants an outcome."""
        self.done = True
        if self.release is not None:
            self.release(self)
            self.release = None


class StreamResponse(NamedTuple):
    """One response on its way from the model to the caller; `taken` tells the model when to go on."""

    outputs: Outputs
    parameters: dict[str, ParameterValue]
    taken: Future[bool]


class PendingStream(Pending):
    """A queued request with any number of responses, and the channel that they come through.

    The channel holds one response: whoever produces them waits until the last one was taken, so a slow
    reader slows the model down and memory stays bounded. The instance's thread calls `put`; all else happens
    on the event loop.
    """

    __slots__ = ("_ended", "_error", "_left", "_loop", "_responses", "_wake")

    def __init__(self, request: InferRequest, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(request, _no_outcome)
        self._loop = loop
        self._responses: deque[StreamResponse] = deque()
        self._wake = asyncio.Event()
        self._error: ServingError | None = None
        self._ended = False
        self._left = False

    def put(self, outputs: Outputs) -> Future[bool]:
        """Hand over one response. The future is done when it was taken, with True, or when nobody will take
        it, with False: then the model has to stop.
        """
        # A copy, because the model goes on to its next response while this one is sent.
        taken: Future[bool] = Future()
        # So that it cannot be cancelled by a model that cancels its own task: somebody is going to set its result.
        taken.set_running_or_notify_cancel()
        response = StreamResponse(outputs, dict(self.request.response_parameters), taken)
        self._loop.call_soon_threadsafe(self._add, response)
        return response.taken

    def _add(self, response: StreamResponse) -> None:
        if self._left:
            response.taken.set_result(False)
        else:
            self._responses.append(response)
            self._wake.set()

    def fail(self, error: ServingError) -> None:
        """Raise `error` after the responses that are there already."""
        self._error = error
        self.end()

    def end(self) -> None:
        """There are no more responses."""
        self._ended = True
        self._wake.set()

    def leave(self) -> None:
        """The caller takes no more responses."""
        super().leave()
        self._left = True
        while self._responses:
            self._responses.popleft().taken.set_result(False)

    async def next(self) -> StreamResponse | None:
        """The next response, None after the last. Raises the error that ended the stream."""
        while not self._responses:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._wake.clear()
            await self._wake.wait()
        response = self._responses.popleft()
        response.taken.set_result(True)
        return response


def _no_outcome(outcome: Outcome) -> None:
    """A stream's outcome comes through its channel."""
