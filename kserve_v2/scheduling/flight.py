"""Equal requests that are under way at the same time: one execution, and an outcome for each of them."""

import asyncio
import copy
import logging
import time
from collections.abc import Collection, Hashable
from typing import Protocol

from kserve_v2.caching.cache import CacheSpace
from kserve_v2.caching.entry import Entry, entry_of
from kserve_v2.errors import OverloadedError, ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.failures import no_answer, not_executed
from kserve_v2.scheduling.holding import hold
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import FailureReason
from kserve_v2.scheduling.target import Reply, Target, Ticket
from kserve_v2.scheduling.under_way import UnderWay

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """What a flight needs of the cache that it belongs to."""

    spec: ModelSpec
    target: Target
    under_way: UnderWay
    waiting: int
    abandoned: bool

    def hit(self, request: InferRequest, entry: Entry, begun_ns: int, lookup_ns: int) -> InferResponse:
        """The answer to a request that is not executed, and is counted as a hit."""
        ...

    def answer(self, request: InferRequest, entry: Entry, begun_ns: int) -> InferResponse:
        """The answer to a request, from what another one was answered."""
        ...

    def keep(
        self, space: CacheSpace, key: bytes, answer: InferResponse, wanted: Collection[str]
    ) -> Entry | None:
        """Keep an answer that has all the outputs that are wanted; what is kept, or None."""
        ...

    def outlives(self, request: InferRequest, changes: int) -> bool:
        """Whether the answer to a request may be kept that was executed since the given number of changes."""
        ...

    def forget(self, flight: "Flight") -> None:
        """The flight is over: an equal request begins another one."""
        ...


class Waiter:
    """One of the callers: its request, and the ticket that it holds."""

    __slots__ = (
        "begun_ns", "done", "flight", "held_bytes", "lookup_ns", "reply", "request", "timer", "waits",
    )  # fmt: skip

    def __init__(self, flight: "Flight", request: InferRequest, reply: Reply, begun_ns: int) -> None:
        self.flight = flight
        self.request = request
        self.reply = reply
        self.begun_ns = begun_ns
        self.lookup_ns = time.monotonic_ns() - begun_ns
        self.done = False
        # While the execution is not its own.
        self.waits = False
        self.held_bytes = 0
        self.timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Waiter id={self.request.id!r} {'done' if self.done else 'waiting' if self.waits else 'executed'}>"

    def give_up(self) -> None:
        """This caller waits no longer; the others do. See `Ticket.give_up`."""
        if not self.done:
            self.flight.leave(self, FailureReason.CANCELED)

    def end(self, outcome: InferResponse | ServingError) -> None:
        """Hand over the outcome. `Flight.release` has to be called before."""
        try:
            if isinstance(outcome, ServingError):
                self.reply.end(outcome)
            else:
                self.reply.respond(outcome)
                self.reply.end()
        except Exception:
            # The others must have their outcomes all the same.
            logger.exception("the outcome of a request was not taken")


class Flight:
    """Callers with equal requests, in the order in which they came. The request of one of them is executed, which this
    is the reply of. If its caller leaves, the execution goes on for the others; if it is refused, or expires, the next
    one's request takes its place, because that says nothing of the others.
    """

    def __init__(
        self,
        owner: Owner,
        space: CacheSpace,
        key: bytes,
        place: Hashable,
        requested_outputs: tuple[str, ...],
    ) -> None:
        """`space`: where the answer is kept. `place`: what the owner finds the flight by."""
        self.place = place
        self._owner = owner
        self._space = space
        self._key = key
        self._requested_outputs = requested_outputs
        self._waiters: dict[Waiter, None] = {}
        self._lookup: asyncio.Future[Entry | None] | None = None
        # The ticket of what is executed; whose request that is, unless that caller has left; and whose outcome is
        # counted with the execution.
        self._executed: InferRequest | None = None
        self._changes = 0
        self._ticket: Ticket | None = None
        self._runner: Waiter | None = None
        self._counted: Waiter | None = None
        self._answer: InferResponse | None = None

    def __repr__(self) -> str:
        return f"<Flight {self._key.hex()[:8]} waiters={len(self._waiters)}>"

    # --- callers ----------------------------------------------------------------------------------------------------

    def execute(self, request: InferRequest, reply: Reply, begun_ns: int) -> InferResponse | Waiter:
        """Have the first request executed. If it is answered at once, that is all. Raises as the target."""
        self._owner.spec.statistics.record_cache_miss(time.monotonic_ns() - begun_ns)
        self._changes = self._owner.spec.changes.count
        asked = self._owner.target.submit(request, self)
        if isinstance(asked, InferResponse):
            if self._owner.outlives(request, self._changes):
                self._owner.keep(self._space, self._key, asked, self._requested_outputs)
            return asked
        waiter = self._add(request, reply, begun_ns)
        self._ticket, self._runner, self._counted = asked, waiter, waiter
        self._executed = request
        return waiter

    def look_up(
        self,
        request: InferRequest,
        reply: Reply,
        begun_ns: int,
        found: "asyncio.Future[Entry | None]",
    ) -> Waiter:
        """Let the first request wait for what the cache says. Raises as `join`."""
        try:
            waiter = self.join(request, reply, begun_ns)
        except ServingError:
            found.cancel()
            raise
        self._lookup = found
        found.add_done_callback(self._looked_up)
        return waiter

    def join(self, request: InferRequest, reply: Reply, begun_ns: int) -> Waiter:
        """Let one more request wait for the outcome, as long as it may wait for an execution. Raises as
        `InflightBytes.take`.
        """
        owner = self._owner
        size = hold(request, owner.spec)
        waiter = self._add(request, reply, begun_ns)
        waiter.held_bytes, waiter.waits = size, True
        owner.waiting += 1
        levels = owner.spec.levels
        policy = levels.policies[levels.level_of(request)]
        timeout_us = policy.timeout_for(request) if policy.reject else 0
        if timeout_us:
            loop = asyncio.get_running_loop()
            waiter.timer = loop.call_later(timeout_us / 1e6, self._expire, waiter)
        return waiter

    def _add(self, request: InferRequest, reply: Reply, begun_ns: int) -> Waiter:
        waiter = Waiter(self, request, reply, begun_ns)
        self._waiters[waiter] = None
        self._owner.under_way.begin()
        return waiter

    def leave(self, waiter: Waiter, reason: FailureReason) -> None:
        """One of the callers gets nothing from this flight any more, for a reason that is counted."""
        self._release(waiter)
        if waiter is self._runner and self._waiters:
            # It is executed for the others.
            self._runner = None
            waiter.request.trace = None
        else:
            waiter.request.cancel()
        if waiter is self._counted:
            self._counted = next(iter(self._waiters), None)
        if not self._waiters:
            self._owner.forget(self)
            if self._ticket is not None:
                # This counts it.
                self._ticket.give_up()
                return
            if self._lookup is not None:
                self._lookup.cancel()
        self._record_failure(waiter, reason)

    def _expire(self, waiter: Waiter) -> None:
        self.leave(waiter, FailureReason.REJECTED)
        waiter.end(UnavailableError("Request timeout expired"))

    def _release(self, waiter: Waiter) -> None:
        """A caller is about to have its outcome, or has left."""
        del self._waiters[waiter]
        waiter.done = True
        self._stop_waiting(waiter)
        self._owner.under_way.end()

    def _stop_waiting(self, waiter: Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        if waiter.waits:
            waiter.waits = False
            self._owner.waiting -= 1
            self._owner.spec.inflight.give(waiter.held_bytes)

    # --- outcomes ---------------------------------------------------------------------------------------------------

    def _looked_up(self, found: "asyncio.Future[Entry | None]") -> None:
        """The cache has said what it has, unless all have left."""
        if not self._waiters or self._lookup is None:
            return
        self._lookup = None
        entry = _result(found)
        if entry is not None:
            self._owner.forget(self)
            for waiter in list(self._waiters):
                waiter.lookup_ns = time.monotonic_ns() - waiter.begun_ns
                self._conclude(waiter, self._hit(waiter, entry))
            return
        first = next(iter(self._waiters))
        self._owner.spec.statistics.record_cache_miss(time.monotonic_ns() - first.begun_ns)
        self._execute_next()

    def _execute_next(self) -> None:
        """Have the request of the first caller executed that is not refused."""
        self._runner = self._counted = self._ticket = None
        while self._waiters:
            waiter = next(iter(self._waiters))
            _leave_rest_of_time(waiter)
            self._stop_waiting(waiter)
            try:
                self._changes = self._owner.spec.changes.count
                asked = self._owner.target.submit(waiter.request, self)
            except ServingError as error:
                self._conclude(waiter, error)
                continue
            self._runner = self._counted = waiter
            self._executed = waiter.request
            if isinstance(asked, InferResponse):
                self._settle(asked)
            else:
                self._ticket = asked
            return
        self._owner.forget(self)

    def respond(self, response: InferResponse) -> None:
        """Take the answer. A second one is the model's mistake."""
        if self._answer is None:
            self._answer = response

    def end(self, error: ServingError | None = None) -> None:
        """The execution is over."""
        if error is None and self._answer is not None:
            self._settle(self._answer)
        elif isinstance(error, UnavailableError | OverloadedError) and not self._owner.abandoned:
            if self._runner is not None:
                self._conclude(self._runner, error)
            self._execute_next()
        else:
            self._fail(error or no_answer(), FailureReason.BACKEND)

    def abandon(self, why: str = "") -> None:
        """The time is up: who still waits for the cache gets no answer any more."""
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()
            self._fail(not_executed(why), FailureReason.CANCELED)

    def _settle(self, answer: InferResponse) -> None:
        """Give everybody the answer, under their own ids. All but the one whose request was executed get what nobody
        can write to.
        """
        entry = None
        if self._executed is not None and self._owner.outlives(self._executed, self._changes):
            entry = self._owner.keep(self._space, self._key, answer, self._requested_outputs)
        self._owner.forget(self)
        if entry is None and any(waiter is not self._runner for waiter in self._waiters):
            entry = entry_of(answer.outputs, answer.parameters)
        for waiter in list(self._waiters):
            if waiter is self._runner or entry is None:
                self._conclude(waiter, answer)
            elif waiter is self._counted:
                self._conclude(waiter, self._owner.answer(waiter.request, entry, waiter.begun_ns))
            else:
                self._conclude(waiter, self._hit(waiter, entry))

    def _fail(self, error: ServingError, reason: FailureReason) -> None:
        """Give everybody the error, each an object of its own: whoever catches one may add to it."""
        self._owner.forget(self)
        for waiter in list(self._waiters):
            if waiter is not self._counted:
                self._record_failure(waiter, reason)
            self._conclude(waiter, error if waiter is self._runner else copy.copy(error))

    def _hit(self, waiter: Waiter, entry: Entry) -> InferResponse:
        return self._owner.hit(waiter.request, entry, waiter.begun_ns, waiter.lookup_ns)

    def _conclude(self, waiter: Waiter, outcome: InferResponse | ServingError) -> None:
        # What is told to one caller may make it give up another one.
        if not waiter.done:
            self._release(waiter)
            waiter.end(outcome)

    def _record_failure(self, waiter: Waiter, reason: FailureReason) -> None:
        duration_ns = time.monotonic_ns() - waiter.begun_ns
        self._owner.spec.statistics.record_failure(reason, duration_ns)


def _result(found: "asyncio.Future[Entry | None]") -> Entry | None:
    """What the cache has found. That it fails is a defect of ours, and costs no more than a miss."""
    if found.cancelled():
        return None
    if (error := found.exception()) is not None:
        logger.error("the response cache failed", exc_info=error)
        return None
    return found.result()


def _leave_rest_of_time(waiter: Waiter) -> None:
    """What a caller has waited here counts for the time that its request may wait in a queue."""
    if waiter.timer is not None:
        rest_s = waiter.timer.when() - asyncio.get_running_loop().time()
        request = waiter.request
        request.control = {**request.control, "timeout": max(1, int(rest_s * 1e6))}
