"""One request to an ensemble: its steps are called as their tensors are there, and its answers leave in order."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from kserve_v2.errors import (
    InternalError,
    ServingError,
    UnavailableError,
    UnfinishedError,
    as_serving_error,
    describe,
)
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.calling.caller import Callee, Lease, request_for
from kserve_v2.scheduling.ensemble.binding import Binding, BoundStep, Route
from kserve_v2.scheduling.ensemble.graph import ready_steps
from kserve_v2.scheduling.ensemble.limits import StepLimits
from kserve_v2.scheduling.ensemble.scope import Call, Scope, end_call, give_up_all, release
from kserve_v2.scheduling.executing.traces import trace_response
from kserve_v2.scheduling.room import is_room, no_room
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.tensors.datatypes import Array

logger = logging.getLogger(__name__)

# Responses of one stream that may be on their way through the steps behind it, unless the configuration says so.
DEFAULT_WINDOW = 8

# What a step may say of the sequence, for the steps behind it.
_SEQUENCE_PARAMETERS = ("sequence_id", "sequence_start", "sequence_end")


_Tensors = dict[str, Array | None]


class Owner(Protocol):
    """The ensemble that a request is for."""

    name: str
    version: str
    max_inflight: int
    loop: asyncio.AbstractEventLoop

    @property
    def holder(self) -> Callable[[Callee, InferRequest], Callee]:
        """Gives the version of a step's model that holds the sequence of a request, else the one that it is given."""
        ...

    def began(self, run: "Run") -> None:
        """It will end later."""
        ...

    def ended(self, run: "Run", error: ServingError | None) -> None:
        """It is over. Called once, also for one that has never begun to wait."""
        ...

    def given_up(self, run: "Run") -> None:
        """It is over, because nobody waits for it any more."""
        ...


class Run:
    """One request under way. It is the ticket of its caller. Lives on the event loop's thread."""

    __slots__ = (
        "_leases", "_limits", "_owner", "_reply", "_root", "_route", "_sending", "_settling", "_work",
        "began_ns", "binding", "compute_ns", "over", "queue_ns", "request", "submitted",
    )  # fmt: skip

    def __init__(self, owner: Owner, binding: Binding, request: InferRequest, reply: Reply) -> None:
        self._owner = owner
        self.binding = binding
        self._route: Route = binding.route(request.requested_outputs)
        self.request = request
        self._reply = reply
        self.began_ns = time.monotonic_ns()
        # Sums over all steps.
        self.compute_ns = self.queue_ns = 0
        self.over = self.submitted = False
        self._leases: list[Lease] = []
        # Steps whose tensors are there, and tensors that have just come: worked off in order, whoever brings them.
        self._work: deque[tuple[Scope, _Tensors]] = deque()
        self._settling = False
        self._limits = StepLimits(owner.max_inflight)
        # The client's, while it has no room for another answer.
        self._sending: asyncio.Future[bool] | None = None
        self._root = Scope(None, {}, request.control)

    def __repr__(self) -> str:
        state = "over" if self.over else "under way"
        return f"<Run {self._owner.name} id={self.request.id!r} {state}>"

    def _inputs(self) -> _Tensors:
        given = self.request.inputs
        inputs: _Tensors = {name: given.get(name) for name in self._route.plan.graph.inputs}
        for name in self._route.shared_inputs:
            array = inputs[name]
            if array is not None:
                # Whoever asks may still write to the array itself.
                inputs[name] = array = array.view()
                array.flags.writeable = False
        return inputs

    def begin(self) -> InferResponse | Ticket:
        """Call the first steps. Returns the answer, or raises the error, if that is there at once."""
        root = self._root
        self._settle(root, self._inputs())
        if root.error is not None and not root.children:
            self._close()
            self._owner.ended(self, root.error)
            raise root.error
        if not self._route.streams and not root.running:
            # All have answered at once.
            answer = self._response(root)
            self._close()
            self._owner.ended(self, None)
            return answer
        self.submitted = True
        self._leases = [callee.lease() for callee in self.binding.all_callees]
        self._owner.began(self)
        if root.children or root.error is not None:
            self._owner.loop.call_soon(self._emit)
        return self

    # --- steps ----------------------------------------------------------------------------------------------------

    def _settle(self, scope: Scope, tensors: _Tensors) -> None:
        """`tensors` are there, or will not come: call every step that has waited for one of them, and for nothing else;
        then those behind it, as far as models answer at once.
        """
        self._work.append((scope, tensors))
        self._work_off()

    def _work_off(self) -> None:
        work = self._work
        if self._settling:
            return
        self._settling = True
        plan, steps = self._route.plan, self._route.steps
        try:
            while work and not self.over:
                scope, tensors = work.popleft()
                # Not before: a step is ready with the last of its tensors, one group after the other.
                scope.tensors |= tensors
                for number in ready_steps(plan, scope.tensors, tensors):
                    step = steps[number]
                    if step.depth == scope.depth and not scope.over:
                        self._begin_step(scope, step)
                work.extend((child, tensors) for child in scope.children)
        finally:
            self._settling = False
            work.clear()

    def _begin_step(self, scope: Scope, step: BoundStep) -> None:
        call = Call(self, scope, step)
        if not self._limits.begin(call):
            return
        if step.streams:
            scope.source = call
        answer = self._ask(call)
        if answer is not None and not isinstance(answer, InferResponse):
            call.ticket = answer
            scope.running.add(call)
            if scope.over or self.over:
                end_call(call)
            return
        self._limits.end(call)
        if answer is None:
            return
        self._end_trace(call)
        if step.streams:
            self.branch(call, answer)
            scope.ended = True
        else:
            self._work.append((scope, self._take(scope, call, answer)))

    def _ask(self, call: Call) -> InferResponse | Ticket | None:
        """Call a step's model. None if it has failed at once."""
        scope, step = call.scope, call.step
        tensors, inputs = scope.tensors, dict[str, Array]()
        for name, tensor, rank, last in step.feeds:
            array = tensors[tensor]
            if array is not None:
                inputs[name] = _fitted(array, rank) if rank else array
                if last:
                    tensors[tensor] = None
        callee = step.callee
        request = request_for(
            self.request, callee.name, inputs, model_version=step.version, requested_outputs=step.requested
        )
        request.control = scope.control
        request.pinned = step.inner
        if self.request.trace is not None:
            request.trace = call.trace = self.request.trace.child(callee.name)
        call.request = request
        call.asked_ns = time.monotonic_ns()
        try:
            if scope.control:
                callee = self._owner.holder(callee, request)
            return callee.call(request, call)
        except ServingError as error:
            self._fail(call, error)
        except Exception as error:
            logger.exception("a step of ensemble '%s' could not be called", self._owner.name)
            self._fail(call, InternalError(describe(error)))
        return None

    def _take(self, scope: Scope, call: Call, response: InferResponse) -> _Tensors:
        """Take over what a model has answered: the tensors that it has been asked for."""
        if call.request is not None and call.request.calls is not None:
            self.request.answered_through(call.request)
        self.compute_ns += response.compute_ns
        if response.batch_rows:
            self.queue_ns += response.taken_ns - call.asked_ns
        outputs, tensors = response.outputs, _Tensors()
        for name, tensor, shared in call.step.drains:
            array = tensors[tensor] = outputs.get(name)
            if shared and array is not None:
                array.flags.writeable = False
        if response.parameters:
            said = {
                key: response.parameters[key] for key in _SEQUENCE_PARAMETERS if key in response.parameters
            }
            if said:
                scope.control = {**scope.control, **said}
        return tensors

    def _begin_held(self) -> None:
        for scope, number in self._limits.ready():
            if not (self.over or scope.over):
                self._begin_step(scope, self._route.steps[number])

    def _give_up(self, scope: Scope) -> None:
        for call in give_up_all(scope):
            self._limits.end(call)
            self._end_trace(call, "given up")

    def _end_trace(self, call: Call, error: str = "") -> None:
        trace, call.trace = call.trace, None
        if trace is not None and self.request.trace is not None:
            self.request.trace.end_child(trace, error)

    # --- what the steps' models answer ----------------------------------------------------------------------------

    def branch(self, call: Call, response: InferResponse) -> asyncio.Future[bool] | None:
        """All that stands behind the step is done for this response; see `scope.Answered`."""
        scope = call.scope
        if scope.over:
            return no_room()
        if response.error is not None:
            # An ensemble has no place for it among its answers.
            end_call(call)
            self.call_ended(call, response.error)
            return no_room()
        child = Scope(scope, dict(scope.tensors), scope.control)
        scope.children.append(child)
        self._settle(child, self._take(child, call, response))
        self._emit()
        if self.over:
            return no_room()
        if len(scope.children) < (self._owner.max_inflight or DEFAULT_WINDOW):
            return None
        call.room = self._owner.loop.create_future()
        return call.room

    def call_ended(self, call: Call, error: ServingError | None) -> None:
        """A step has nothing more to say."""
        scope, step, response = call.scope, call.step, call.response
        scope.running.discard(call)
        self._limits.end(call)
        call.ticket = call.response = None
        if self.over:
            return
        if error is None and not step.streams and response is None:
            error = InternalError(f"model '{step.callee.name}' has ended without an answer")
        self._end_trace(call, "" if error is None else error.message)
        if error is not None:
            self._fail(call, error)
        elif step.streams:
            scope.ended = True
        elif response is not None:
            self._settle(scope, self._take(scope, call, response))
        if self._limits.held:
            self._begin_held()
            self._work_off()
        self._emit()

    def _fail(self, call: Call, error: ServingError) -> None:
        """A step has failed: what comes before it in the order of answers goes on, all else is given up."""
        scope = call.scope
        self._end_trace(call, error.message)
        if scope.error is None:
            named = _named(error, f"in ensemble '{self._owner.name}', {error.message}")
            # What a step refuses has begun, if steps before it or beside it have.
            begun = self.compute_ns or scope.running or scope.parent is not None
            scope.error = (
                UnfinishedError(named.message) if begun and isinstance(named, UnavailableError) else named
            )
        if call is scope.source:
            # Its responses until then are answered first, for which other steps may be needed.
            scope.ended = True
        else:
            self._give_up(scope)
            scope.children.clear()
        while (parent := scope.parent) is not None:
            while parent.children and parent.children[-1] is not scope:
                self._give_up(parent.children.pop())
            if parent.source is not None:
                end_call(parent.source)
                parent.running.discard(parent.source)
                self._limits.end(parent.source)
                self._end_trace(parent.source, "given up")
            scope = parent

    # --- what is answered -----------------------------------------------------------------------------------------

    def _emit(self) -> None:
        """Send what is ready, as long as it is its turn and there is room."""
        if self.submitted and not self.over and not self._settling and self._send_all(self._root):
            self._finish(None)

    def _send_all(self, scope: Scope) -> bool:
        """Send the answers of a scope. True: that was all of them."""
        while scope.children:
            if not self._send_all(scope.children[0]):
                return False
            scope.children.popleft()
            if scope.source is not None:
                release(scope.source)
        if scope.error is not None:
            self._finish(scope.error)
            return False
        if scope.depth < self._route.streams:
            return scope.ended
        return self._send(scope)

    def _send(self, scope: Scope) -> bool:
        if self._sending is not None or any(name not in scope.tensors for name, _ in self._route.outputs):
            return False
        answer = self._response(scope)
        if not self._route.streams:
            # It is the only one: whoever gets it may ask at once whether anything is under way.
            self._close()
            self._owner.ended(self, None)
        taken = self._reply.respond(answer)
        if taken is not None and not self.over:
            if not taken.done():
                self._sending = taken
                taken.add_done_callback(self._sent)
            elif not taken.result():
                self.give_up()
        if not self._route.streams:
            self._reply.end()
        return not self.over

    def _sent(self, taken: asyncio.Future[bool]) -> None:
        """There is room for the next answer, or nobody takes another."""
        self._sending = None
        if self.over:
            return
        if is_room(taken):
            self._emit()
        else:
            self.give_up()

    def _response(self, scope: Scope) -> InferResponse:
        outputs: dict[str, Array] = {}
        for name, rank in self._route.outputs:
            array = scope.tensors[name]
            if array is not None:
                outputs[name] = _fitted(array, rank) if rank else array
        request, owner = self.request, self._owner
        if request.trace is not None:
            trace_response(request.trace, outputs)
        rows = 0 if self._route.streams else request.rows
        return InferResponse(
            owner.name, owner.version, request.id, outputs, {}, rows, self.began_ns, self.compute_ns
        )

    # --- the end --------------------------------------------------------------------------------------------------

    def _finish(self, error: ServingError | None) -> None:
        if not self.over:
            self._close()
            self._owner.ended(self, error)
            self._reply.end(error)

    def give_up(self) -> None:
        """Nobody waits for the answer any more: give up the steps that are under way."""
        if not self.over:
            self.request.cancel()
            self._close()
            self._owner.given_up(self)

    def abandon(self, why: str = "") -> None:
        """The time to wait for it is up."""
        exiting = f"Server exiting: the request to ensemble '{self._owner.name}' was not finished"
        self._finish(UnfinishedError(why or exiting))

    def _close(self) -> None:
        self.over = True
        self._give_up(self._root)
        self._limits.held.clear()
        for lease in self._leases:
            lease.release()
        self._leases = []


def _named(error: ServingError, message: str) -> ServingError:
    """The same kind of error, with another text."""
    named = as_serving_error(error) or InternalError("")
    named.message, named.args = message, (message,)
    return named


def _fitted(array: Array, rank: int) -> Array:
    """A tensor between a model with a batch dimension and one without: a batch of one is unpacked, and packed."""
    if array.ndim == rank + 1 and array.shape[0] == 1:
        return array.reshape(array.shape[1:])
    return array.reshape((1, *array.shape)) if array.ndim == rank - 1 else array
