"""Choosing how long a batch may wait for more requests, so that most of a latency budget is turned into larger batches.

A pure decision: it sees what was executed, with its times, and says how long the next batches may wait. Waiting pays
only where there is company: then more requests share an execution, and each costs less. So the delay is

- nothing, while the instances could do without batches, or requests come one at a time: a lone client never waits;
- nothing, where a batch takes as long as its rows one by one;
- otherwise as long as others still come, but not longer than it takes to fill a batch;
- never more than the budget leaves, less the time of an execution. A request waits for its batch or for an instance,
  whatever takes longer, and then is executed, so this alone keeps the delay from breaking the budget;
- less again where the answers that were measured took longer all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

_WINDOW_NS = 500_000_000
"""What is seen in so long is one observation; or in the time of so many executions, of a slow model."""
_MIN_EXECUTIONS = 5
# Of the budget, so much is planned with; the rest is for what cannot be foreseen.
_PLANNED = 0.9
# Below this load the instances can do without batches: how busy they would be if each request were executed alone.
_LOW_LOAD = 0.5
# Requests that are there at the same time, on average: fewer are a client alone.
_COMPANY = 1.5
# Where one more row costs more of an execution of one row than this, batches save nothing.
_NO_SAVING = 0.9
# A batch may wait so much longer than it took others to gather: that is how the delay grows, and shrinks.
_ROOM = 1.3
_MIN_DELAY_NS = 20_000
# Batches that have become smaller than this, from one window to the next, have lost their company.
_SHRUNK = 0.7
# When the budget was missed: what is left of the delay, how it grows again, and up to which part of what was too long.
_BACK_OFF, _RECOVERY, _CEILING = 0.5, 1.1, 0.8
# After so many windows without a miss, more is tried again.
_FORGET_AFTER = 120
# How much of what was seen of execution times is still known after a window.
_MEMORY = 0.8


@dataclass(frozen=True, slots=True)
class Seen:
    """One execution that has ended: when its first and its last request came, when an instance took it and when it was
    done, all in nanoseconds; `waited_ns`: the sum of what its requests have waited.
    """

    rows: int
    requests: int
    first_ns: int
    last_ns: int
    taken_ns: int
    end_ns: int
    waited_ns: int


class ExecutionCost:
    """How long an execution takes by its rows: a fixed part and one for each row, fitted to what was seen lately."""

    def __init__(self) -> None:
        self._weight = self._rows = self._squares = self._time = self._product = 0.0
        # Of the time of one row, the part that every row has. Until sizes have differed, batches are worth a try.
        self.row_share = 0.0

    def learn(self, executions: Sequence[Seen]) -> None:
        """Take in what one window has shown."""
        for name in ("_weight", "_rows", "_squares", "_time", "_product"):
            setattr(self, name, getattr(self, name) * _MEMORY)
        for each in executions:
            took = each.end_ns - each.taken_ns
            self._weight += 1
            self._rows += each.rows
            self._squares += each.rows**2
            self._time += took
            self._product += took * each.rows
        rows, time = self._rows / self._weight, self._time / self._weight
        spread = self._squares / self._weight - rows**2
        if spread > 0.01 * rows**2:
            slope = max(0.0, (self._product / self._weight - rows * time) / spread)
            fixed = max(0.0, time - slope * rows)
            one = fixed + slope
            self.row_share = slope / one if one else 0.0

    def of(self, rows: float) -> float:
        """In nanoseconds."""
        seen_rows, seen_time = self._rows / self._weight, self._time / self._weight

        def relative(count: float) -> float:
            return 1 - self.row_share + self.row_share * count

        return seen_time * relative(rows) / relative(seen_rows)


@dataclass(slots=True)
class DelayTuner:
    """Chooses the delay of one model. `budget_ns`: what 99 of 100 requests may take; `max_rows`: of a batch.

    `delay_ns` is the current choice, and `window_ns` the time until the next one.
    """

    budget_ns: int
    max_rows: int
    instances: int
    delay_ns: int = 0
    window_ns: int = _WINDOW_NS
    cost: ExecutionCost = field(default_factory=ExecutionCost)
    _window: list[Seen] = field(default_factory=list)
    _start_ns: int | None = None
    # What is left of the longest delay that the budget allows, after it was missed; and how much that may be.
    _trust: float = 1.0
    _limit: float = 1.0
    _windows_since_miss: int = 0
    _mean_rows: float = 0.0

    def observe(self, seen: Seen) -> bool:
        """Take in an execution. True: `delay_ns` was chosen anew."""
        if self._start_ns is None:
            self._start_ns = seen.first_ns
        self._window.append(seen)
        return self.tick(seen.end_ns)

    def tick(self, now_ns: int) -> bool:
        """Time has passed, perhaps with nothing to see. True: `delay_ns` was chosen anew."""
        if self._start_ns is None:
            self._start_ns = now_ns
        if now_ns - self._start_ns < self.window_ns:
            return False
        self.delay_ns = self._choose(self._window, now_ns - self._start_ns)
        self._window, self._start_ns = [], now_ns
        return True

    def _choose(self, window: Sequence[Seen], duration_ns: int) -> int:
        longest_took_ns = max([each.end_ns - each.taken_ns for each in window], default=0)
        self.window_ns = max(_WINDOW_NS, (_MIN_EXECUTIONS + 1) * longest_took_ns)
        if len(window) < _MIN_EXECUTIONS:
            return 0
        self.cost.learn(window)
        self._judge(window)
        requests, rows = sum(each.requests for each in window), sum(each.rows for each in window)
        in_flight = sum(each.waited_ns + each.requests * (each.end_ns - each.taken_ns) for each in window)
        load = requests * self.cost.of(rows / requests) / (duration_ns * self.instances)
        if load < _LOW_LOAD or in_flight < _COMPANY * duration_ns or self.cost.row_share > _NO_SAVING:
            return 0
        slowest_ns = max(
            _quantile([each.end_ns - each.taken_ns for each in window], 0.99), self.cost.of(self.max_rows)
        )
        longest_ns = max(0.0, _PLANNED * self.budget_ns - slowest_ns) * self._trust
        to_fill_ns = max(0.0, self.max_rows - rows / requests) * duration_ns / rows
        wanted_ns = _ROOM * _quantile([each.last_ns - each.first_ns for each in window], 0.99)
        if not self.delay_ns or rows / len(window) < _SHRUNK * self._mean_rows:
            # Clients that wait for each other's executions come together only if a batch waits for one.
            wanted_ns = max(wanted_ns, _ROOM * slowest_ns)
        self._mean_rows = rows / len(window)
        delay_ns = min(longest_ns, to_fill_ns, wanted_ns)
        return int(delay_ns) if delay_ns >= _MIN_DELAY_NS else 0

    def _judge(self, window: Sequence[Seen]) -> None:
        """Trust the plan less if it has missed the budget, and by and by more if it has not."""
        # The first request of a batch has waited longest; of the others this says no less.
        latency_ns = _quantile([each.end_ns - each.first_ns for each in window], 0.99)
        if self.delay_ns and latency_ns > self.budget_ns:
            self._limit = self._trust * _CEILING
            self._trust *= _BACK_OFF
            self._windows_since_miss = 0
            return
        self._windows_since_miss += 1
        if self._windows_since_miss > _FORGET_AFTER:
            self._limit = 1.0
        if latency_ns <= _PLANNED * self.budget_ns:
            self._trust = min(self._limit, self._trust * _RECOVERY)


def _quantile(values: Sequence[int], part: float) -> int:
    """The smallest of the values that `part` of them do not exceed."""
    return sorted(values)[ceil(part * len(values)) - 1]
