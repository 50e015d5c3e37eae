"""Where the answers to one request go, from whatever thread of the model they come."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Union

from ..answers import ModelError, StreamedResponse
from .context import ModelContext
from .errors import TritonModelException, failed
from .response import InferenceResponse, outputs_of, parameters_of

COMPLETE_FINAL = 1
"""`TRITONSERVER_RESPONSE_COMPLETE_FINAL`"""

# How many responses to a request may wait until its client has taken the first: for threads, and for code on an event
# loop, which would hold up other requests if it had to wait.
_MAX_WAITING = 16
_MAX_WAITING_ON_LOOP = 4096

_LOST = "the model has dropped the request without an answer: its response sender was never used, or is gone"

_numbers = itertools.count(1)


class Exchange:
    """The answers to one request. `incoming`: the request as the server has it. `sender_made`: whether the model has
    got a sender for it.
    """

    decoupled = False

    def __init__(self, incoming: Any, wanted: frozenset[str], instance: str, context: ModelContext) -> None:
        """`wanted`: the outputs that are asked for, by the client or by the server itself."""
        self.incoming = incoming
        self.wanted = wanted
        self.instance = instance
        self.sender_made = False
        self._context = context
        self._number = next(_numbers)
        # Reentrant, because a finalizer may come at any time.
        self._lock = threading.RLock()
        self._closed = False
        self._responses = 0
        context.begin(self._number, incoming)

    def send(self, response: InferenceResponse | None, flags: int) -> None:
        """Take what a model sends. Raises TritonModelException for what it may not."""
        if flags not in (0, COMPLETE_FINAL):
            raise TritonModelException("Unable to send response. Unsupported flag provided.")
        if response is None and not flags:
            raise TritonModelException(
                "Inference Response object must be provided when the response flags is set to zero."
            )
        if response is not None and not isinstance(response, InferenceResponse):
            raise TypeError(f"send: expected an InferenceResponse, got {type(response).__name__}")
        with self._lock:
            self._check(response, flags)
            self._closed = bool(flags)
            self._responses += response is not None
        self._take(self._converted(response, final=bool(flags)), final=bool(flags))
        if flags:
            self._context.end(self._number)

    def _check(self, response: InferenceResponse | None, flags: int) -> None:
        if not self.decoupled:
            if response is not None and self._responses:
                raise TritonModelException(
                    "Unable to send response. Non-decoupled model cannot send more than one response."
                )
            if response is None and flags and not self._responses:
                raise TritonModelException(
                    "Unable to send response. Non-decoupled model cannot send complete final before sending a response."
                )
        if self._closed:
            raise TritonModelException("Unable to send response. Response sender has been closed.")

    def _converted(self, response: InferenceResponse | None, *, final: bool) -> StreamedResponse | None:
        if response is None:
            return None
        try:
            outputs = outputs_of(response, self.wanted, self.instance)
        except ModelError as error:
            return StreamedResponse(error=error, final=final)
        # The model may have other plans for its arrays.
        copied = {name: array.copy() for name, array in outputs.items()}
        return StreamedResponse(copied, final=final, parameters=parameters_of(response))

    def _take(self, response: StreamedResponse | None, *, final: bool) -> None:
        raise NotImplementedError

    def lost(self) -> None:
        """There is no sender any more: nothing will come."""
        raise NotImplementedError

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        return bool(self.incoming.cancelled)

    def lost_error(self) -> ModelError:
        """The outcome of a request that the model has dropped."""
        return ModelError(failed(self.instance, _LOST))


Outcome = Union[dict[str, Any], BaseException]


class OneAnswer(Exchange):
    """For a request that has one answer."""

    def __init__(self, incoming: Any, *others: Any) -> None:
        super().__init__(incoming, *others)
        self.outcome: Outcome | None = None
        self._answered: Callable[[], None] | None = None

    def _take(self, response: StreamedResponse | None, *, final: bool) -> None:
        if response is None or self.outcome is not None:
            return
        if response.error is None:
            self.incoming.response_parameters.update(response.parameters)
        self.settle(response.error if response.error is not None else dict(response.outputs))

    def lost(self) -> None:
        """It fails, unless it is answered."""
        self.settle(self.lost_error())

    def settle(self, outcome: Outcome) -> None:
        """Take the outcome, unless there is one."""
        with self._lock:
            if self.outcome is not None:
                return
            self.outcome = outcome
            answered, self._answered = self._answered, None
        self._context.end(self._number)
        if answered is not None:
            answered()

    def when_answered(self, callback: Callable[[], None]) -> None:
        """Have `callback` called as soon as there is an outcome, on whatever thread."""
        with self._lock:
            if self.outcome is None:
                self._answered = callback
                return
        callback()

    def wait(self) -> None:
        """Block until there is an outcome."""
        if self.outcome is None:
            # What is called may be called by a finalizer, in the middle of this: a queue like this one allows that.
            answered: queue.SimpleQueue[None] = queue.SimpleQueue()
            self.when_answered(lambda: answered.put(None))
            answered.get()


class RoundAnswer(OneAnswer):
    """For a request that may be executed again, and answered each time: its sender may send one response in each round,
    and the final flag alone.
    """

    def _check(self, response: InferenceResponse | None, flags: int) -> None:
        if self._closed:
            raise TritonModelException("Unable to send response. Response sender has been closed.")
        if response is not None and self._responses:
            raise TritonModelException(
                "Unable to send response. An iterative model sends one response in each round."
            )

    def _take(self, response: StreamedResponse | None, *, final: bool) -> None:
        super()._take(response, final=final)
        if final:
            self.settle({})


class ManyAnswers(Exchange):
    """For a request of a decoupled model: its responses wait here, not too many of them, until they are taken."""

    decoupled = True

    def __init__(self, incoming: Any, *others: Any) -> None:
        """On the event loop that takes the responses."""
        super().__init__(incoming, *others)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = threading.Condition(self._lock)
        self._waiting: deque[StreamedResponse | BaseException] = deque()
        self._sending = threading.Lock()
        self._ended = False
        self._left = False
        self._lost = False

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        return self._left or super().cancelled

    @property
    def open(self) -> bool:
        """Whether the model may still send something."""
        return not self._closed

    # --- the model's side ---------------------------------------------------------------------------------------------

    def send(self, response: InferenceResponse | None, flags: int) -> None:
        """Take what a model sends; in the order in which its threads send it."""
        with self._sending:
            super().send(response, flags)

    def _take(self, response: StreamedResponse | None, *, final: bool) -> None:
        if response is not None:
            self._put(response)
        if final:
            self._end()

    def _put(self, response: StreamedResponse) -> None:
        on_loop = asyncio._get_running_loop() is not None
        most = _MAX_WAITING_ON_LOOP if on_loop else _MAX_WAITING
        with self._room:
            while len(self._waiting) >= most and not self._left:
                self._room.wait()
            if self._left:
                return
            self._waiting.append(response)
        self._wake_reader()

    def _end(self) -> None:
        self._ended = True
        self._wake_reader()

    def _wake_reader(self) -> None:
        # The loop may be gone, and whoever read with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    def fail(self, error: BaseException) -> None:
        """The model has failed: if it has not sent all, this is the last that comes."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # There is always room for it: nothing else of the model's is to wait for this client.
            self._waiting.append(error)
        self._end()
        self._context.end(self._number)

    def lost(self) -> None:
        """Nothing more comes. Without a single response that is an error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._responses and not self._left:
                self._waiting.append(self.lost_error())
            self._lost = True
        self._end()
        self._context.end(self._number)

    # --- the server's side, on its loop -------------------------------------------------------------------------------

    async def next(self) -> StreamedResponse | None:
        """The next response, None after the last one. Raises what the model has failed with."""
        while True:
            self._wake.clear()
            with self._room:
                if self._waiting:
                    response = self._waiting.popleft()
                    self._room.notify_all()
                    break
                if self._ended:
                    self._tell_lost()
                    return None
            await self._wake.wait()
        if isinstance(response, BaseException):
            raise response
        return response

    def _tell_lost(self) -> None:
        """Write into the log what a finalizer must not: it may have come in the middle of something that is written."""
        if self._lost and self._responses:
            self._context.services.log(
                "warning",
                f"{self.instance}: the response sender of request '{self.incoming.id}' is gone and has not sent the "
                "final flag: the stream is ended",
            )

    def leave(self) -> None:
        """Nobody takes responses any more."""
        with self._room:
            self._left = True
            self._waiting.clear()
            self._room.notify_all()
