"""The sequence batcher's place in the chain: it lets one request of each sequence through at a time, and whole
sequences wait where there is no slot for them.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from kserve_v2.errors import (
    InvalidArgumentError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
    shortened,
)
from kserve_v2.messages import InferRequest, InferResponse, SequenceStep
from kserve_v2.scheduling.failures import not_executed
from kserve_v2.scheduling.holding import hold
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.room import no_room
from kserve_v2.scheduling.sequences.rounds import goes_on, next_round
from kserve_v2.scheduling.sequences.rules import SequenceRules
from kserve_v2.scheduling.sequences.states import state_key
from kserve_v2.scheduling.sequences.table import (
    SERVER_STOPS,
    Begin,
    Effect,
    Occupy,
    Refuse,
    SequenceTable,
    Vacate,
    finishes,
    stopping,
)
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import FailureReason
from kserve_v2.scheduling.target import Reply, Target, Ticket

logger = logging.getLogger(__name__)


class Step:
    """One request of a sequence, on its way through the gate: the ticket of its caller, and the reply of the target
    behind the gate.
    """

    __slots__ = (
        "_gate", "arrived_ns", "began_ns", "given_up", "held_bytes", "outcome", "over", "reply", "request", "step",
        "submitting", "ticket", "timeout_ns",
    )  # fmt: skip

    def __init__(
        self, gate: "SequenceGate", request: InferRequest, step: SequenceStep, reply: Reply, now_ns: int
    ) -> None:
        self._gate = gate
        self.request = request
        self.step = step
        self.reply = reply
        self.timeout_ns = int(request.control.get("timeout", 0)) * 1000
        self.arrived_ns = self.began_ns = now_ns
        # What it counts for among the bytes in flight while it waits here.
        self.held_bytes = 0
        # Of the target behind the gate, once it has begun.
        self.ticket: Ticket | None = None
        self.given_up = self.over = False
        # Until `submit` has returned, its outcome is what that returns or raises.
        self.submitting = True
        self.outcome: InferResponse | ServingError | None = None

    def __repr__(self) -> str:
        return f"<Step {self.step.id!r} start={self.step.start} end={self.step.end} over={self.over}>"

    def respond(self, response: InferResponse) -> asyncio.Future[bool] | None:
        """Take the next response."""
        return no_room() if self.given_up else self.reply.respond(response)

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses."""
        self._gate.ended(self, error)

    def give_up(self) -> None:
        """The caller has left."""
        self._gate.give_up(self)


class SequenceGate:
    """A target around a queue: it takes the requests of sequences, and passes each on in its turn."""

    def __init__(
        self,
        spec: ModelSpec,
        rules: SequenceRules,
        queue: QueueTarget,
        behind: Target,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`behind`: what requests go on to, with `queue` at its end. `clock_ns`: that of the loop."""
        self._spec = spec
        self._rules = rules
        self._queue = queue
        assert queue.sequences is not None  # noqa: S101 - it is made from the same description
        self._feed = queue.sequences
        self._behind = behind
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._table: SequenceTable[Step] = SequenceTable(
            spec.name, rules.slots * len(spec.placements), rules.idle_ns
        )
        self._none_live = asyncio.Event()
        self._none_live.set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        # How many requests of an iterative model have got their ids here.
        self._numbered = 0
        self.outlived = False
        """Whether it goes though the server stays: new sequences are told so."""
        self._abandoned, self._why = False, ""
        # Why sequences have ended in the version before this one, by their ids.
        self._told: Mapping[int | str, str] = {}

    def __repr__(self) -> str:
        return f"<SequenceGate {self._table!r} {self._behind!r}>"

    async def start(self) -> None:
        """Make what is needed to answer."""
        await self._behind.start()

    def holds(self, sequence_id: int | str, asked: str) -> bool:
        """Whether a sequence is live, and whoever asks for this version means it: that which its first request has
        asked for, or this one.
        """
        live = self._table.find(sequence_id)
        return live is not None and asked in (live.asked, self._spec.version)

    @property
    def live(self) -> int:
        """How many sequences are live."""
        return len(self._table)

    @property
    def silent(self) -> bool:
        """Whether no live sequence has a request, neither one that waits nor one that has begun."""
        return self._table.silent == len(self._table)

    @property
    def ids(self) -> list[int | str]:
        """Those of the live sequences."""
        return self._table.ids

    def tell(self, ids: Iterable[int | str], why: str) -> None:
        """Sequences of these ids have ended elsewhere: who tries to go on with one is told why."""
        self._told = dict.fromkeys(ids, why)

    def finish(self, sequence_id: int | str) -> None:
        """The sequence takes no more requests: its id begins anew in another version."""
        self._apply(self._table.finish(sequence_id, self._clock_ns()))

    def lose_instances(self, lost: Sequence[int], reason: str) -> None:
        """What these instances knew of their sequences is gone: those end. But for states that are kept here: with them
        a sequence goes on wherever it is executed.
        """
        if self._rules.states:
            return
        instances = len(self._spec.placements)
        error = UnavailableError(f"the sequence has ended: {reason}")
        effects, begun = self._table.lose(lambda slot: slot % instances in lost, error)
        for one in begun:
            # What waits for the instance would be executed by one that has not seen the steps before.
            if one.ticket is not None and self._queue.withdraw(one.ticket):
                self._conclude(one, error)
                effects += self._table.ended(one, self._clock_ns())
            else:
                # Its instance has it, but may not have begun, and would have it executed by what is there again.
                one.step.lost = error.message
        self._apply(effects)

    # --- requests --------------------------------------------------------------------------------------------------

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Take a checked request. Raises InvalidArgumentError for one that is no step of a sequence, UnavailableError
        for a new sequence of a version that goes away, and as `InflightBytes.take`.
        """
        if self._rules.iterative:
            self._begin_rounds(request)
        step = self._checked(request)
        table, now_ns = self._table, self._clock_ns()
        one = Step(self, request, step, reply, now_ns)
        one.held_bytes = hold(request, self._spec)
        conflict = step.start and table.find(step.id) is not None
        try:
            effects = table.add(one, now_ns, request.model_version)
            if self._rules.iterative:
                # It goes on for as long as the model asks for that: no other request belongs to it.
                effects += table.finish(step.id, now_ns)
        except ServingError as error:
            self._give_back(one)
            if not step.start and (why := self._told.get(step.id)):
                raise InvalidArgumentError(f"{error.message}: {why}") from None
            raise
        if conflict:
            logger.warning(
                "sequence %s for model '%s' has a conflict. The previous sequence did not end before this sequence "
                "start. Previous sequence will be terminated early.",
                shortened(str(step.id)),
                self._spec.name,
            )
        self._apply(effects)
        one.submitting = False
        if isinstance(one.outcome, ServingError):
            raise one.outcome
        return one if one.outcome is None else one.outcome

    def _begin_rounds(self, request: InferRequest) -> None:
        """A request of an iterative model is a sequence. One without an id gets an id that nobody has."""
        step = request.sequence = request.sequence or SequenceStep(0)
        if not step.id and not self._table.closed:
            self._numbered += 1
            step.id, step.start = self._rules.controls.number(self._numbered), True
        # Whether a round is the last one is for the model to say.
        step.end = False

    def _checked(self, request: InferRequest) -> SequenceStep:
        if request.rows != 1:
            raise InvalidArgumentError(
                f"inference request to model '{self._spec.name}' must specify batch-size 1 due to requirements of "
                "sequence batcher"
            )
        step = request.sequence or SequenceStep(0)
        if self._table.closed and not step.id:
            raise stopping(self._table.closed)
        self._rules.controls.check(step.id)
        return step

    def _apply(self, effects: Iterable[Effect[Step]], reason: FailureReason = FailureReason.REJECTED) -> None:
        """Do what the table says. `reason`: why requests are refused, in the statistics."""
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            match effect:
                case Begin(one):
                    todo.extend(self._begin(one))
                case Refuse(one, error):
                    self._refuse(one, error, reason)
                case Occupy(slot):
                    self._feed.occupy(slot)
                case Vacate(slot):
                    self._feed.vacate(slot)
        if len(self._table):
            self._none_live.clear()
        else:
            self._none_live.set()
        self._set_timer()

    def _begin(self, one: Step) -> list[Effect[Step]]:
        """Let a request through. Returns what is to be done if it is over at once."""
        self._give_back(one)
        now_ns = one.began_ns = self._clock_ns()
        key = state_key(self._rules.states, one.step)
        if key is not None:
            one.request.batch_key = (one.request.batch_key, key)
        try:
            asked = self._behind.submit(one.request, one)
        except ServingError as error:
            self._conclude(one, error)
            return self._table.ended(one, now_ns)
        if isinstance(asked, InferResponse):
            self._conclude(one, asked)
            return self._table.ended(one, now_ns)
        one.ticket = asked
        return []

    def _conclude(self, one: Step, outcome: InferResponse | ServingError) -> None:
        """Pass on the whole outcome of a request."""
        one.over = True
        if one.submitting:
            one.outcome = outcome
        elif isinstance(outcome, ServingError):
            one.reply.end(outcome)
        else:
            one.reply.respond(outcome)
            one.reply.end()

    def _refuse(self, one: Step, error: ServingError, reason: FailureReason) -> None:
        if isinstance(error, RequestCancelledError):
            reason = FailureReason.CANCELED
        self._give_back(one)
        self._spec.statistics.record_failure(reason, self._clock_ns() - one.arrived_ns)
        self._conclude(one, error)

    def ended(self, one: Step, error: ServingError | None) -> None:
        """The target behind the gate has nothing more to say of a request."""
        if error is None:
            if not goes_on(one.request):
                self._spec.statistics.record_earlier_wait(one.began_ns - one.arrived_ns)
            elif one.given_up:
                self._spec.statistics.record_failure(
                    FailureReason.CANCELED, self._clock_ns() - one.arrived_ns
                )
            else:
                error = self._go_on(one)
                if error is None:
                    return
        one.over = True
        self._apply(self._table.ended(one, self._clock_ns()))
        if not one.given_up:
            one.reply.end(error)

    def _go_on(self, one: Step) -> ServingError | None:
        """The model has asked for another round. Returns the error of a request that cannot have it."""
        try:
            if self._abandoned:
                raise not_executed(self._why)
            one.request = next_round(one.request, self._spec.signature)
        except ServingError as error:
            self._spec.statistics.record_failure(FailureReason.BACKEND, self._clock_ns() - one.arrived_ns)
            return error
        self._apply(self._table.again(one))
        return None

    def give_up(self, one: Step) -> None:
        """Nobody waits for a request any more: its sequence ends. A slot is free again when what has begun is over, and
        so the request is given up only here, unless it has not begun.
        """
        if one.over or one.given_up:
            return
        one.given_up = True
        one.request.cancel()
        now_ns = self._clock_ns()
        effects = self._table.given_up(one, now_ns)
        if one.ticket is None:
            one.over = True
            self._give_back(one)
            self._spec.statistics.record_failure(FailureReason.CANCELED, now_ns - one.arrived_ns)
        elif self._queue.withdraw(one.ticket):
            one.over = True
            effects += self._table.ended(one, now_ns)
        self._apply(effects)

    def _give_back(self, one: Step) -> None:
        self._spec.inflight.give(one.held_bytes)
        one.held_bytes = 0

    # --- time --------------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """Make sure that `_time_passed` is called in time; a call too many does no harm."""
        at_ns = self._table.next_event_ns()
        if at_ns is None or (self._timer is not None and self._timer_ns <= at_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = at_ns
        delay = max(0, at_ns - self._clock_ns()) / 1e9
        self._timer = self._loop.call_later(delay, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self._apply(self._table.passed(self._clock_ns()))

    # --- the end -----------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Requests that wait, here or behind the gate."""
        return self._table.waiting + self._behind.depth

    async def over(self) -> None:
        """Wait until no sequence is live."""
        await self._none_live.wait()

    async def drain(self) -> None:
        """Begin no new sequence, and wait until all are over."""
        self._table.closed = finishes(self._spec.name, self._spec.version) if self.outlived else SERVER_STOPS
        await self.over()
        await self._behind.drain()

    def abandon(self, why: str = "") -> None:
        """End whatever has not begun with an error."""
        self._abandoned, self._why = True, why
        self._apply(self._table.abandon(not_executed(why)), FailureReason.CANCELED)
        self._behind.abandon(why)

    async def stop(self) -> None:
        """Take no more requests, and finish those that are there."""
        self.abandon()
        if self._timer is not None:
            self._timer.cancel()
        await self._behind.stop()
