"""The instances of an isolated model that execute one thing at a time, on the server's side."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple

from kserve_v2_child.answers import StreamedResponse
from kserve_v2_child.messages import ChannelClosed, Kind

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
        return link is None or link.ended or not link.process.alive

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
        self, process: ModelProcess, requests: Sequence[InferRequest], how: str = ""
    ) -> tuple[int, Json]:
        """An execution begins: its number, and what the process is told of it. `how`: `separate` or `stream`."""
        number = next(process.numbers)
        process.executing[number] = requests
        for index, request in enumerate(requests):
            # Set before it is asked whether that has happened.
            request.on_cancel = partial(process.cancelled, number, index)
        fields: Json = {"requests": [told(request) for request in requests]}
        if how:
            fields[how] = True
        return number, fields

    def _link(self) -> Link:
        """The way to it. Raises UnavailableError if there is none, and there is no use in waiting for it."""
        seat = self._seat
        seat.close_retired()
        if seat.deaths >= MOST_DEATHS and self.lost:
            # Of a batch that has killed one process, each member is executed again, alone. It may be all of them.
            raise self._keeper.error()
        return self._keeper.link(seat)

    def _died(self, requests: Sequence[InferRequest]) -> None:
        """The process has died of these."""
        self._seat.deaths += 1
        self._suspects.died(requests)


class _Posted(NamedTuple):
    """What the event loop has handed over. `timer`: kills the process if it takes too long."""

    link: Link
    number: int
    requests: Sequence[InferRequest]
    timer: asyncio.TimerHandle | None


class IsolatedInstance(Isolated):
    """Executes one batch at a time, whose tensors are joined. See `PostingInstance`."""

    how = ""

    def __init__(self, keeper: Keeper, seat: Seat, suspects: Suspects) -> None:
        super().__init__(keeper, seat, suspects)
        seat.listened = True
        self._posted: _Posted | None = None
        # The way whose descriptor the event loop listens on. There may be a new process, and another way, already.
        self._heard: Link | None = None

    def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        """Execute a batch."""
        self._suspects.check(requests)
        groups = tensors if self.how else (tensors,)
        while True:
            link = self._link()
            process = link.process
            number, fields = self._begin(process, requests, self.how)
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
            return answers_of(message.fields, message.groups)

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
        number, fields = self._begin(link.process, requests, self.how)
        timer = None
        if link.timeout_s:
            timer = asyncio.get_running_loop().call_later(link.timeout_s, link.end_late)
        self._posted = _Posted(link, number, requests, timer)
        try:
            link.post(number, fields, tensors if self.how else (tensors,))
        except NotSentError:
            self._end_posted()
            raise ExecutionLostError from None
        except BaseException:
            self._end_posted()
            raise

    def collect(self) -> Any:
        """What was answered, if anything was."""
        posted = self._posted
        link = self._heard if posted is None else posted.link
        if link is None:
            raise ExecutionLostError
        try:
            message = link.collect(0 if posted is None else posted.number)
        except ChannelClosed:
            raise ExecutionLostError from None
        except BaseException:
            self._end_posted()
            raise
        if message is None or posted is None:
            return None
        self._end_posted()
        self._seat.deaths = 0
        take_back(message.fields, message.groups, posted.requests)
        return answers_of(message.fields, message.groups)

    def _end_posted(self) -> None:
        posted, self._posted = self._posted, None
        if posted is not None:
            posted.link.process.executing.pop(posted.number, None)
            if posted.timer is not None:
                posted.timer.cancel()

    def conclude(self) -> None:
        """Say of what the process has died."""
        # Its timer is the event loop's, and does nothing to a process that is gone.
        posted, self._posted = self._posted, None
        assert posted is not None  # noqa: S101 - it was posted and not collected
        posted.link.process.executing.pop(posted.number, None)
        error = posted.link.process.error()
        self._died(posted.requests)
        raise error


class IsolatedSeparateInstance(IsolatedInstance):
    """Executes one batch at a time, in which each request has tensors of its own."""

    how = "separate"


class IsolatedStreamInstance(Isolated):
    """Answers one request at a time, any number of times."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors | StreamedResponse]:
        """Yield the responses to a request."""
        requests = (request,)
        self._suspects.check(requests)
        link = self._link()
        process = link.process
        number, fields = self._begin(process, requests, "stream")
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
