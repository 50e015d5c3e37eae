"""Calls that models make to other models while they execute requests. All of this lives on the event loop's thread."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from kserve_v2.errors import (
    InternalError,
    NotLoadedError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
    UnsupportedError,
    as_serving_error,
    describe,
)
from kserve_v2.messages import CallingModel, InferRequest, InferResponse, ParameterValue
from kserve_v2.scheduling.calling.caller import Caller
from kserve_v2.scheduling.calling.waits import ModelVersion
from kserve_v2.scheduling.demand import Demand
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.tracing.trace import Trace

logger = logging.getLogger(__name__)


class CallReply(Reply, Protocol):
    """Where the answers to a call go."""

    def fail(self, error: ServingError) -> None:
        """The call is given up from this side: drop what has not been taken."""
        ...


class Calls:
    """All calls that are under way."""

    def __init__(self, models: Caller) -> None:
        self.models = models
        self.under_way: set[Call] = set()
        self.exiting = False

    def abandon(self) -> None:
        """The server's time is up: fail what is under way, and whatever comes."""
        self.exiting = True
        for call in tuple(self.under_way):
            call.fail(exiting())


class Call:
    """One call. It is the reply to its own request, and the ticket of whoever waits for it."""

    __slots__ = ("_calls", "_over", "_reply", "_serving", "_ticket", "_trace", "_traced")

    def __init__(self, calls: Calls, serving: Sequence[InferRequest], reply: CallReply) -> None:
        """`serving`: the requests that it is made for. It need not be made on the event loop's thread."""
        self._calls = calls
        # Stand-ins of sequences have no client that could leave.
        self._serving = [each for each in serving if each.sequence is None or each.sequence.ready]
        self._reply = reply
        self._ticket: Ticket | None = None
        self._over = False
        # Its own, and that of the request that it is a part of.
        self._trace: Trace | None = None
        self._traced: Trace | None = None

    def begin(self, request: InferRequest, caller: ModelVersion, *, streams: bool) -> None:
        """Have the request answered. `caller`: who asks. `streams`: whether any number of responses will do."""
        if self._calls.exiting:
            self._reply.end(exiting())
            return
        if self._left:
            self._reply.end(_left_error())
            return
        self._register()
        self._traced = next((each.trace for each in self._serving if each.trace is not None), None)
        if self._traced is not None:
            request.trace = self._trace = self._traced.child(request.model_name)
        self._start(request, caller, streams=streams)

    def _start(self, request: InferRequest, caller: ModelVersion, *, streams: bool) -> None:
        try:
            inherit(request, self._serving, caller)
            asked = self._ask(request, streams=streams)
        except NotLoadedError as error:
            self._wait(error.model_name, request, caller, streams=streams)
        except ServingError as error:
            self.end(error)
        except Exception as error:
            logger.exception("model '%s' could not call model '%s'", caller.name, request.model_name)
            self.end(InternalError(describe(error)))
        else:
            if isinstance(asked, InferResponse):
                self.respond(asked)
                self.end()
            else:
                self._ticket = asked

    def _wait(self, name: str, request: InferRequest, caller: ModelVersion, *, streams: bool) -> None:
        """Begin when the model is loaded."""
        self._ticket = Demand(
            self._calls.models.demand(name, [each.name for each in request.callers]),
            lambda: self._start(request, caller, streams=streams),
            lambda error: self.end(_refused(name, error)),
        )

    def _ask(self, request: InferRequest, *, streams: bool) -> InferResponse | Ticket:
        name = request.model_name
        try:
            callee = self._calls.models.answering(request)
            if callee.decoupled and not streams:
                raise UnsupportedError(
                    f"Model {name} is using the decoupled transaction policy: 'call' takes one answer, 'stream' "
                    "takes any number of them"
                )
            if request.control:
                callee = self._calls.models.holder(callee, request)
            return callee.call(request, self)
        except NotLoadedError:
            raise
        except InternalError:
            # It was executed at once, and has failed.
            raise
        except ServingError as error:
            raise _refused(name, error) from None

    # --- what becomes of it -----------------------------------------------------------------------------------------

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Take the next response."""
        return self._reply.respond(response)

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses."""
        if not self._over:
            self._close(error)
            # Made anew: others may get the same one, and whoever raises an error changes it.
            self._reply.end(as_serving_error(error))

    def give_up(self) -> None:
        """Whoever has called waits no longer."""
        if not self._over:
            ticket = self._ticket
            self._close()
            if ticket is not None:
                ticket.give_up()

    def fail(self, error: ServingError) -> None:
        """Give it up, and tell whoever waits for it."""
        if not self._over:
            self.give_up()
            self._reply.fail(error)

    def request_left(self) -> None:
        """Nobody waits for one of the requests that it is made for."""
        if self._left:
            self.fail(_left_error())

    @property
    def _left(self) -> bool:
        return bool(self._serving) and all(request.cancelled for request in self._serving)

    def _register(self) -> None:
        self._calls.under_way.add(self)
        for request in self._serving:
            if request.calls is None:
                request.calls = set()
            request.calls.add(self)

    def _close(self, error: ServingError | None = None) -> None:
        self._over = True
        if self._traced is not None and self._trace is not None:
            self._traced.end_child(self._trace, "" if error is None else error.message)
        self._ticket = None
        self._calls.under_way.discard(self)
        for request in self._serving:
            if request.calls is not None:
                request.calls.discard(self)


def inherit(request: InferRequest, serving: Sequence[InferRequest], caller: ModelVersion) -> None:
    """Let a call have what it shares with the requests that it serves: who waits for it, the highest of their
    priorities and, if all of them have one, the longest of their time-outs; the id of a single one.
    """
    waiting = dict.fromkeys(each for served in serving for each in served.callers)
    # Of one execution, all calls serve the same requests.
    execution = id(serving[0]) if serving else id(request)
    request.callers = (*waiting, CallingModel(caller.name, caller.version, execution))
    control = request.control
    priorities, timeouts = _given(serving, "priority"), _given(serving, "timeout")
    if priorities:
        control.setdefault("priority", min(priorities))
    if timeouts and len(timeouts) == len(serving):
        control.setdefault("timeout", max(timeouts))
    if len(serving) == 1:
        request.id = request.id or serving[0].id


def _given(serving: Iterable[InferRequest], name: str) -> list[int]:
    """The values of a control parameter, of those that have one: 0 says nothing."""
    values: list[ParameterValue] = [request.control.get(name, 0) for request in serving]
    return [value for value in values if isinstance(value, int) and value]


def _refused(name: str, error: ServingError) -> ServingError:
    """The same kind of error, as Triton tells a model of a call that is not executed."""
    why = error.message
    if why.startswith("Request for unknown model"):
        why = f"Failed for execute the inference request. Model '{name}' is not ready. {why}"
    kind = type(as_serving_error(error) or error)
    return kind(f"Model {name} - Error when running inference: {why}")


def _left_error() -> RequestCancelledError:
    return RequestCancelledError("nobody waits any more for the request that this call was made for")


def exiting() -> UnavailableError:
    """Why nothing is called any more."""
    return UnavailableError("Server exiting: models are not called any more")
