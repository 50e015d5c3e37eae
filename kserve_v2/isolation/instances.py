"""The instances of an isolated model that execute one thing at a time, on the server's side."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple

from kserve_v2_child.answers import StreamedResponse
from kserve_v2_child.channel.messages import ChannelClosed, Kind

from kserve_v2.backend import ExecutionLostError
from kserve_v2.errors import UnavailableError
from kserve_v2.isolation.keeper import Keeper, Seat
from kserve_v2.isolation.link import Link, NotSentError
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.requests import answers_of, response_of, take_back, told
from kserve_v2.isolation.suspects import MOST_DEATHS, Suspects
from kserve_v2.messages import InferRequest, Tensors

Json = dict[str, Any]


class Isolated:
    """What all kinds have in common. See `RevivedInstance`."""

    # What comes out of the channel is the server's own.
    fresh_outputs: Literal[True] = True
    revives: Literal[True] = True

    def __init__(self, keeper: Keeper, seat: Seat, suspects: Suspects) -> None:
        self._keeper = keeper
        self._seat = seat
        self._suspects = suspects

    @property
    def lost(self) -> bool:
        """Whether there is no process for it now."""
        link = self._seat.link
        return link is None or link.lost

    def await_revival(self) -> None:
        """Wait until there is a process again, or never will be."""
        link = self._seat.link
        if link is not None and link.ended:
            # It may have closed no more than its end of the channel: then it is killed.
            link.process.error()
        self._keeper.await_process()
        self._seat.close_retired()
        self._seat.deaths = 0

    def close(self) -> None:
        """Close the instance in its process."""
        self._keeper.give_up(self._seat)
        self._seat.close_retired()
        link = self._seat.link
        if link is not None:
            link.close()

    def _begin(
        self, process: ModelProcess, requests: Sequence[InferRequest], *, stream: bool = False
    ) -> tuple[int, Json]:
        """An execution begins: its number, and what the process is told of it, which is nothing for one request as it
        usually is. Raises UnavailableError for a step whose sequence another process knew.
        """
        # After the way to the process was asked for: nothing comes back before everybody knows what was lost with it.
        for request in requests:
            if request.sequence is not None and request.sequence.lost:
                raise UnavailableError(request.sequence.lost)
        number = next(process.numbers)
        process.executing[number] = requests
        for index, request in enumerate(requests):
            # Set before it is asked whether that has happened.
            request.on_cancel = partial(process.cancelled, number, index)
        each = [told(request) for request in requests]
        fields: Json = {"requests": each} if len(each) != 1 or each[0] else {}
        if stream:
            fields["stream"] = True
        return number, fields

    def _link(self) -> Link:
        """The way to it. Raises UnavailableError if there is none, and there is no use in waiting for it."""
        seat = self._seat
        seat.close_retired()
        link = seat.link
        assert link is not None  # noqa: S101 - it was made with one
        if seat.deaths >= MOST_DEATHS and link.lost:
            # Of a batch that has killed one process, each member is executed again, alone. It may be all of them.
            raise self._keeper.error(link)
        return self._keeper.link(seat)

    def _died(self, requests: Sequence[InferRequest]) -> None:
        """The process has died of these."""
        self._seat.deaths += 1
        self._suspects.died(requests)


class _Posted(NamedTuple):
    """What the event loop has handed over."""

    link: Link
    number: int
    requests: Sequence[InferRequest]


class IsolatedInstance(Isolated):
    """Executes one batch at a time, whose tensors are joined. See `PostingInstance`."""

    separate = False

    def __init__(self, keeper: Keeper, seat: Seat, suspects: Suspects) -> None:
        super().__init__(keeper, seat, suspects)
        seat.listened = True
        # Answered in this order. The timer kills the process if the first one takes too long.
        self._posted: deque[_Posted] = deque()
        self._unflushed = 0
        self._timer: asyncio.TimerHandle | None = None
        # When it does, on the event loop's clock.
        self._due_s = 0.0
        # The way whose descriptor the event loop listens on. There may be a new process, and another way, already.
        self._heard: Link | None = None

    def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        """Execute a batch."""
        self._suspects.check(requests)
        groups = tensors if self.separate else (tensors,)
        while True:
            link = self._link()
            process = link.process
            number, fields = self._begin(process, requests)
            try:
                message = link.ask(Kind.EXECUTE, number, fields, groups)
            except NotSentError:
                # It was not executed: the process had died before.
                process.error()
                continue
            except UnavailableError:
                if not process.alive:
                    self._died(requests)
                raise
            finally:
                process.executing.pop(number, None)
            self._seat.deaths = 0
            take_back(message.fields, message.groups, requests)
            return answers_of(message.fields, message.groups, separate=self.separate)

    # --- by the server's event loop ---------------------------------------------------------------------------------

    @property
    def descriptor(self) -> int | None:
        """What becomes readable with an answer, or when the process is gone. Nothing is posted to another process than
        that of the descriptor that was asked for last; nobody listens on any when it is asked for.
        """
        self._seat.close_retired()
        self._heard = None if self.lost else self._seat.link
        return None if self._heard is None else self._heard.descriptor

    def post(self, tensors: Any, requests: Sequence[InferRequest]) -> None:
        """Begin to execute a batch."""
        self._suspects.check(requests)
        link = self._heard
        if link is None:
            raise ExecutionLostError
        number, fields = self._begin(link.process, requests)
        try:
            link.post(number, fields, tensors if self.separate else (tensors,))
        except BaseException as error:
            link.process.executing.pop(number, None)
            if isinstance(error, NotSentError):
                raise ExecutionLostError from None
            raise
        self._posted.append(_Posted(link, number, requests))
        self._unflushed += 1
        if link.timeout_s and len(self._posted) == 1:
            self._time(link)

    def _time(self, link: Link) -> None:
        """The first one begins now. A timer that runs is left alone: it costs more than to look at the clock."""
        assert link.timeout_s is not None  # noqa: S101 - as those who call have found
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + link.timeout_s
        if self._timer is None:
            self._timer = loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        """The time of some execution is over: of the first one, or of one before it."""
        self._timer = None
        # There may be none: that of a process that is gone was left running, see `conclude`.
        first = next(iter(self._posted), None)
        loop = asyncio.get_running_loop()
        if first is not None and loop.time() < self._due_s:
            self._timer = loop.call_at(self._due_s, self._look)
        elif first is not None:
            first.link.end_late()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def flush(self) -> None:
        """Send what was posted."""
        unflushed, self._unflushed = self._unflushed, 0
        if not unflushed:
            return
        try:
            self._posted[-1].link.flush()
        except NotSentError:
            for _ in range(unflushed):
                link, number, _ = self._posted.pop()
                link.process.executing.pop(number, None)
            if not self._posted:
                self._stop_timer()
            raise ExecutionLostError from None

    def collect(self) -> Any:
        """What was answered, if anything was."""
        first = self._posted[0] if self._posted else None
        link = self._heard if first is None else first.link
        if link is None:
            raise ExecutionLostError
        try:
            message = link.collect(0 if first is None else first.number)
        except ChannelClosed:
            raise ExecutionLostError from None
        except BaseException:
            if first is not None:
                self._end_first()
            raise
        if message is None or first is None:
            return None
        requests = self._end_first()
        self._seat.deaths = 0
        take_back(message.fields, message.groups, requests)
        return answers_of(message.fields, message.groups, separate=self.separate)

    def _end_first(self) -> Sequence[InferRequest]:
        link, number, requests = self._posted.popleft()
        link.process.executing.pop(number, None)
        if not self._posted:
            self._stop_timer()
        elif link.timeout_s:
            self._time(link)
        return requests

    def conclude(self) -> None:
        """Say of what the process has died."""
        # The timer is the event loop's, and does nothing to a process that is gone.
        first = self._posted[0]
        for posted in self._posted:
            posted.link.process.executing.pop(posted.number, None)
        self._posted.clear()
        error = first.link.process.error()
        self._died(first.requests)
        raise error


class IsolatedSeparateInstance(IsolatedInstance):
    """Executes one batch at a time, in which each request has tensors of its own."""

    separate = True


class IsolatedStreamInstance(Isolated):
    """Answers one request at a time, any number of times."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors | StreamedResponse]:
        """Yield the responses to a request."""
        requests = (request,)
        self._suspects.check(requests)
        link = self._link()
        process = link.process
        number, fields = self._begin(process, requests, stream=True)
        try:
            message = link.ask(Kind.EXECUTE, number, fields, (tensors,))
            while not message.fields.get("end"):
                yield response_of(message.fields, message.groups, request)
                del message
                message = link.ask(Kind.NEXT, number)
        except GeneratorExit:
            # Of a process that is gone there is nothing to be closed.
            with suppress(NotSentError):
                link.ask(Kind.CLOSE, number)
            raise
        except NotSentError:
            raise process.error() from None
        except UnavailableError:
            if not process.alive:
                self._died(requests)
            raise
        finally:
            process.executing.pop(number, None)
