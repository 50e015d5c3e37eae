"""The dynamic batcher's one decision, as a pure function: run now, and how much, or wait for more."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kserve_v2.scheduling.statistics import BatchReason


class Waiting(Protocol):
    """What the decision looks at in a queued request.

    `rows`: its batch size. `key`: requests whose keys differ cannot share a batch. `enqueued_ns`: when it
    arrived.
    """

    @property
    def rows(self) -> int: ...

    @property
    def key(self) -> Hashable: ...

    @property
    def enqueued_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class BatchRules:
    """A model's batching rules, with the meaning of Triton's `dynamic_batching`.

    `max_rows`: most rows in a batch; 0 means that requests are executed one at a time. `preferred_rows`:
    sizes that run at once. `max_delay_ns`: how long an incomplete batch may wait for more, 0 for not at all.
    """

    max_rows: int
    preferred_rows: frozenset[int] = frozenset()
    max_delay_ns: int = 0

    @property
    def largest_preferred(self) -> int:
        """No batch waits to grow beyond this size."""
        return max(self.preferred_rows, default=self.max_rows)

    @property
    def targets(self) -> tuple[int, ...]:
        """The sizes that are worth waiting for."""
        return (*self.preferred_rows, self.max_rows)


class Run(NamedTuple):
    """Execute the first `requests` waiting requests as one batch."""

    requests: int
    reason: BatchReason


class WaitUntil(NamedTuple):
    """Nothing to do before `at_ns`, unless `rows` rows are waiting earlier or a request that cannot join has
    come.
    """

    at_ns: int
    rows: int


ONE_AT_A_TIME = BatchRules(max_rows=0)

_ONE = Run(1, BatchReason.NOT_BATCHABLE)
_ONE_ROW = Run(1, BatchReason.FULL)


def decide(  # noqa: PLR0911 - a line for each rule
    waiting: Iterable[Waiting], rules: BatchRules, now_ns: int
) -> Run | WaitUntil:
    """Decide on the requests in `waiting`, in the order in which they are to be executed; there is at least one.

    A batch is a run of requests from the head of the queue that fit together. It runs at once if it has a
    preferred size, cannot grow (full, or the next request has another shape), has waited long enough, or if
    no delay is allowed.
    """
    if rules.max_rows <= 1:
        return _ONE_ROW if rules.max_rows else _ONE
    gathered = _gather(waiting, rules)
    deadline_ns = gathered.oldest_ns + rules.max_delay_ns
    expired = rules.max_delay_ns > 0 and now_ns >= deadline_ns
    if gathered.preferred and not expired:
        complete = gathered.preferred == gathered.requests and gathered.blocked is BatchReason.FULL
        return Run(gathered.preferred, BatchReason.FULL if complete else BatchReason.PREFERRED)
    if gathered.blocked is not None:
        return Run(gathered.requests, gathered.blocked)
    if expired:
        return Run(gathered.requests, BatchReason.DELAY_EXPIRED)
    if rules.max_delay_ns == 0:
        return Run(gathered.requests, BatchReason.NO_DELAY)
    if gathered.rows >= rules.largest_preferred:
        return Run(gathered.requests, BatchReason.PREFERRED)
    return WaitUntil(deadline_ns, min(size for size in rules.targets if size > gathered.rows))


class _Gathered(NamedTuple):
    """The longest batch from the head of the queue.

    `preferred`: how many requests make up the largest preferred size in it, 0 for none. `blocked`: why no
    more can join, None if more could.
    """

    requests: int
    rows: int
    preferred: int
    blocked: BatchReason | None
    oldest_ns: int


def _gather(waiting: Iterable[Waiting], rules: BatchRules) -> _Gathered:
    requests = rows = preferred = 0
    blocked: BatchReason | None = None
    head: Waiting | None = None
    oldest_ns = 0
    for entry in waiting:
        if head is None:
            head, oldest_ns = entry, entry.enqueued_ns
        if entry.key != head.key:
            blocked = BatchReason.SHAPE_MISMATCH
            break
        if rows + entry.rows > rules.max_rows:
            blocked = BatchReason.FULL
            break
        requests, rows = requests + 1, rows + entry.rows
        if rules.max_delay_ns and entry.enqueued_ns < oldest_ns:
            # It is behind others of a higher priority, or was delayed.
            oldest_ns = entry.enqueued_ns
        if rows in rules.preferred_rows:
            preferred = requests
        if rows == rules.max_rows:
            blocked = BatchReason.FULL
            break
    assert head is not None  # noqa: S101 - something is waiting
    return _Gathered(requests, rows, preferred, blocked, oldest_ns)
