"""A queue with priorities, limits, time-outs and cancellations against a small model of it, on a clock of its own.

Whatever happens in whatever order: each request has exactly one outcome; a batch is what stands first, and fits; each level
has its own limit, its own time-out and its own action; within a level nobody is passed by later ones while in time.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.queueing.policy import BatchRules
from kserve_v2.scheduling.queueing.queue import RequestQueue
from tests.scheduling.targets import NOBODY

LEVELS = PriorityLevels(
    (
        QueuePolicy(max_size=3, timeout_us=50, allow_override=True),
        QueuePolicy(max_size=2, timeout_us=30, reject=False, allow_override=True),
        QueuePolicy(allow_override=True),
        QueuePolicy(timeout_us=40, reject=False),
    ),
    default=2,
)
MAX_ROWS = 4


@dataclass(eq=False)
class Expected:
    """One request of the model. `delayed_us`: when its time ran out, if it stays for all that."""

    pending: Pending
    level: int
    came: int
    expires_us: int | None
    delayed_us: int | None = None


@dataclass
class Reference:
    """What waits, and what has become of the others."""

    waiting: list[Expected] = field(default_factory=list)
    outcomes: dict[str, list[str]] = field(default_factory=dict)

    def order(self) -> list[Expected]:
        return sorted(
            self.waiting,
            key=lambda each: (each.level, each.delayed_us is not None, each.delayed_us or 0, each.came),
        )

    def ends(self, each: Expected, outcome: str) -> None:
        self.waiting.remove(each)
        self.outcomes[each.pending.request.id].append(outcome)


class QueueMachine(RuleBasedStateMachine):
    """Clients that ask and leave, time that passes, and an instance that takes."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self.queue = RequestQueue(BatchRules(MAX_ROWS), LEVELS.sizes, lambda: self.now_us * 1000)
        self.reference = Reference()
        self.came = 0

    @rule(
        priority=st.integers(0, 6),
        timeout=st.sampled_from([0, 0, 7, 20, 500]),
        rows=st.integers(1, 3),
        key=st.sampled_from(["", "", "", "other"]),
    )
    def ask(self, priority: int, timeout: int, rows: int, key: str) -> None:
        self.came += 1
        control = {"priority": priority, "timeout": timeout}
        request = InferRequest("m", {}, id=str(self.came), rows=rows, batch_key=key, control=dict(control))
        pending = Pending(request, NOBODY)
        pending.enqueued_ns = self.now_us * 1000
        pending.level = LEVELS.level_of(request)
        level = priority - 1 if 1 <= priority <= 4 else 2
        assert pending.level == level
        policy = LEVELS.policies[level]
        full = (
            policy.max_size and sum(each.level == level for each in self.reference.waiting) >= policy.max_size
        )
        self.reference.outcomes[request.id] = []
        assert self.queue.put(pending) == (not full)
        if full:
            self.reference.outcomes[request.id].append("refused")
            return
        wait_us = policy.timeout_for(request)
        expires_us = self.now_us + wait_us if wait_us else None
        self.reference.waiting.append(Expected(pending, level, self.came, expires_us))

    @rule(us=st.integers(1, 25))
    def wait(self, us: int) -> None:
        """Timers fire one by one, each at its own time."""
        end_us = self.now_us + us
        while (due := self._next_expiry(end_us)) is not None:
            assert due.expires_us is not None
            self.now_us, due.expires_us = due.expires_us, None
            if LEVELS.policies[due.level].reject:
                assert self.queue.discard(due.pending)
                self.reference.ends(due, "expired")
            else:
                assert self.queue.postpone(due.pending)
                # Those that expire at the same moment are delayed in the order in which it is noticed.
                due.delayed_us = self._delays()
        self.now_us = end_us

    def _next_expiry(self, end_us: int) -> Expected | None:
        due = [
            each
            for each in self.reference.waiting
            if each.expires_us is not None and each.expires_us <= end_us
        ]
        return min(due, key=lambda each: (each.expires_us, each.came), default=None)

    def _delays(self) -> int:
        return 1 + max((each.delayed_us or 0 for each in self.reference.waiting), default=0)

    @precondition(lambda self: self.reference.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(self.reference.order()))
        assert self.queue.discard(each.pending)
        self.reference.ends(each, "cancelled")

    @precondition(lambda self: self.reference.waiting)
    @rule()
    def take(self) -> None:
        batch = self.queue.take()
        assert batch is not None
        expected, rows = [], 0
        for each in self.reference.order():
            if (
                each.pending.key != self.reference.order()[0].pending.key
                or rows + each.pending.rows > MAX_ROWS
            ):
                break
            expected.append(each)
            rows += each.pending.rows
        assert batch.members == [each.pending for each in expected]
        for each in expected:
            self.reference.ends(each, "executed")

    @invariant()
    def the_queue_is_what_it_should_be(self) -> None:
        order = [each.pending for each in self.reference.order()]
        assert list(self.queue._waiting) == order
        assert len(self.queue) == len(order)
        assert self.queue._rows == sum(pending.rows for pending in order)
        assert self.queue.levels == [
            sum(each.level == level for each in self.reference.waiting)
            for level in range(len(LEVELS.policies))
        ]

    @invariant()
    def an_outcome_is_final(self) -> None:
        for each in self.reference.waiting:
            assert self.reference.outcomes[each.pending.request.id] == []

    def teardown(self) -> None:
        """An instance executes all that is left, in order; everything has had one outcome then."""
        while self.reference.waiting:
            self.take()
        assert all(len(outcomes) == 1 for outcomes in self.reference.outcomes.values())


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
