"""The instances of an isolated model that execute one thing at a time, on the server's side."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from kserve_v2_child.messages import Kind, Message

from kserve_v2.errors import UnavailableError
from kserve_v2.isolation.keeper import Keeper, Seat
from kserve_v2.isolation.link import Link, NotSentError
from kserve_v2.isolation.requests import outputs_of, take_back, told
from kserve_v2.isolation.suspects import MOST_DEATHS, Suspects
from kserve_v2.messages import InferRequest, Tensors


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
        return link is None or not link.process.alive

    def await_revival(self) -> None:
        """Wait until there is a process again, or never will be."""
        self._keeper.await_process()
        self._seat.deaths = 0

    def close(self) -> None:
        """Close the instance in its process."""
        self._keeper.give_up(self._seat)
        link = self._seat.link
        if link is not None:
            link.close()

    def _link(self) -> Link:
        """The way to it. Raises UnavailableError if there is none, and there is no use in waiting for it."""
        seat = self._seat
        if seat.deaths >= MOST_DEATHS and self.lost:
            # Of a batch that has killed one process, each member is executed again, alone. It may be all of them.
            raise self._keeper.error()
        return self._keeper.link(seat)

    def _died(self, requests: Sequence[InferRequest]) -> None:
        """The process has died of these."""
        self._seat.deaths += 1
        self._suspects.died(requests)


class _OneAtATime(Isolated):
    """Executes one batch at a time."""

    def _execute(
        self, requests: Sequence[InferRequest], groups: Sequence[Tensors], fields: dict[str, Any]
    ) -> Message:
        self._suspects.check(requests)
        fields["requests"] = [told(request) for request in requests]
        while True:
            link = self._link()
            process = link.process
            number = next(process.numbers)
            process.executing[number] = requests
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
            return message


class IsolatedInstance(_OneAtATime):
    """Executes batches whose tensors are joined."""

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Execute a batch."""
        outputs: Tensors = self._execute(requests, (tensors,), {}).groups[0]
        return outputs


class IsolatedSeparateInstance(_OneAtATime):
    """Executes batches in which each request has tensors of its own."""

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]) -> Sequence[Tensors]:
        """Execute a batch."""
        message = self._execute(requests, tensors, {"separate": True})
        return outputs_of(message.fields, message.groups)


class IsolatedStreamInstance(Isolated):
    """Answers one request at a time, any number of times."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        """Yield the responses to a request."""
        requests = (request,)
        self._suspects.check(requests)
        link = self._link()
        process = link.process
        number = next(process.numbers)
        process.executing[number] = requests
        try:
            message = link.ask(
                Kind.EXECUTE, number, {"requests": [told(request)], "stream": True}, (tensors,)
            )
            while not message.fields.get("end"):
                take_back(message.fields, message.groups, requests)
                yield message.groups[0]
                del message
                message = link.ask(Kind.NEXT, number)
        except GeneratorExit:
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
