"""What is under way for one response: its tensors, and the calls of steps that are made for it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.scheduling.ensemble.binding import BoundStep
from kserve_v2.scheduling.target import Ticket
from kserve_v2.tensors.datatypes import Array
from kserve_v2.tracing.trace import Trace


class Answered(Protocol):
    """Whoever has called a step's model."""

    def branch(self, call: "Call", response: InferResponse) -> asyncio.Future[bool] | None:
        """A model that answers any number of times has done so; see `Reply.respond`."""
        ...

    def call_ended(self, call: "Call", error: ServingError | None) -> None:
        """A step's model has given its last answer."""
        ...


class Scope:
    """The tensors of one response: of the request itself, or of one response of a stream inside the ensemble, with all
    that is done for it. `children`: those of the next stream's responses, in order, until their answers are sent.
    """

    __slots__ = (
        "children", "control", "depth", "ended", "error", "over", "parent", "running", "source", "tensors"
    )  # fmt: skip

    def __init__(
        self,
        parent: "Scope | None",
        tensors: dict[str, Array | None],
        control: dict[str, ParameterValue],
    ) -> None:
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        # None for a tensor that does not come, or has been handed over to its only reader.
        self.tensors = tensors
        self.control = control
        self.children: deque[Scope] = deque()
        self.running: set[Call] = set()
        # The call whose responses are the children, and whether it has ended.
        self.source: Call | None = None
        self.ended = False
        # What is to be said once all before it is answered.
        self.error: ServingError | None = None
        # No more steps are to begin.
        self.over = False


class Call:
    """One call of a step's model, and the reply to it."""

    __slots__ = (
        "asked_ns", "counted", "request", "response", "room", "run", "scope", "step", "ticket", "trace"
    )  # fmt: skip

    def __init__(self, run: Answered, scope: Scope, step: BoundStep) -> None:
        self.run = run
        self.scope = scope
        self.step = step
        self.asked_ns = 0
        # Whether it counts among those of its step that are under way.
        self.counted = False
        # What the model is asked.
        self.request: InferRequest | None = None
        self.ticket: Ticket | None = None
        self.trace: Trace | None = None
        self.response: InferResponse | None = None
        # What holds back a model that answers any number of times.
        self.room: asyncio.Future[bool] | None = None

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Take the next response."""
        if self.step.streams:
            return self.run.branch(self, response)
        self.response = response
        return None

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses."""
        self.run.call_ended(self, error)


def release(source: Call) -> None:
    """A response has been answered: the model may give its next one."""
    room, source.room = source.room, None
    if room is not None and not room.done():
        room.set_result(True)


def end_call(call: Call) -> None:
    """Nobody needs what this call is to bring."""
    ticket, call.ticket = call.ticket, None
    if ticket is not None:
        ticket.give_up()
    room, call.room = call.room, None
    if room is not None and not room.done():
        room.set_result(False)


def give_up_all(scope: Scope) -> Iterator[Call]:
    """Give up all that is under way for a scope, and what is inside it; yields the calls."""
    for each in list(_scopes(scope)):
        each.over = True
        running, each.running = each.running, set()
        for call in running:
            end_call(call)
            yield call


def _scopes(scope: Scope) -> Iterator[Scope]:
    yield scope
    for child in scope.children:
        yield from _scopes(child)
