"""The two loops that send load, each for one round.

Closed: every connection sends its next request when it has the answer to its last one, as so many clients do that wait.
A slow server gets fewer requests then, which hides how long others would have waited.
Open: requests are sent at their times, whether or not answers keep up. A latency counts from the time at which a
request was meant to be sent, also if it was sent later because all connections were waiting: a server that stops for a
while pays for everything that fell into it.

In both, the round is a stretch of time in the midst of the load. Latencies are those of the requests that begin in it,
all of which are waited for; throughput is by the answers that come in it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kserve_v2.bench.arrivals import Arrivals, times
from kserve_v2.bench.encoding import Prepared
from kserve_v2.bench.histogram import Histogram, merged
from kserve_v2.bench.sender import Outcome, Sender

NOT_SENT = "not sent: the server does not keep up, and the round was over for as long as it had taken"
TOO_SLOW = "not sent: the load generator itself cannot send so many"
OTHER_REASONS = "for other reasons"
_MOST_REASONS = 20
_LEAST_GRACE_S = 1.0
_MOST_WAITING = 100_000
_PAUSE_S = 0.05
"""After a failure, so that a server that is gone is not asked a thousand times a second."""

Requests = Iterator[tuple[Prepared, bytes]]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """So many connections, each with one request at a time."""

    concurrency: int

    def __str__(self) -> str:
        return f"{self.concurrency} connection{'s' if self.concurrency > 1 else ''}"


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """So many requests a second, over at most `connections`."""

    per_second: float
    arrivals: Arrivals = Arrivals.POISSON
    connections: int = 128

    def __str__(self) -> str:
        return f"{self.per_second:g}/s {self.arrivals}"


Load = ClosedLoop | OpenLoop


@dataclass(slots=True)
class Round:
    """What the generator saw in one round. `answers`, `rows`: right answers that came in its `seconds`; `all_answers`:
    those that came before and after it, too, in which the server's counters cannot tell them apart. `errors`: by
    reason, those of before and after included. `late`: how much later than it was meant to the generator has sent,
    connections being free. `busy`: the CPU time that it took, over the time that passed.
    """

    seconds: float = 0.0
    answers: int = 0
    rows: int = 0
    all_answers: int = 0
    latency: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    busy: float = 0.0

    @property
    def per_second(self) -> float:
        """Throughput in requests."""
        return self.answers / self.seconds if self.seconds else 0.0

    def fail(self, reason: str) -> None:
        """Count an error. However many texts a server has, there are so many reasons at most."""
        known = reason in self.errors or len(self.errors) < _MOST_REASONS
        self.errors[reason if known else OTHER_REASONS] += 1


def taken_together(rounds: Sequence[Round]) -> Round:
    """Several rounds as one."""
    whole = Round(latency=merged(each.latency for each in rounds), late=merged(each.late for each in rounds))
    for each in rounds:
        whole.seconds += each.seconds
        whole.answers += each.answers
        whole.rows += each.rows
        whole.all_answers += each.all_answers
        whole.reconnects += each.reconnects
        whole.errors.update(each.errors)
        whole.busy += each.busy / len(rounds)
    return whole


class _Span:
    """When a round begins and ends, and what is counted meanwhile."""

    def __init__(self, ramp_s: float, seconds: float) -> None:
        self.round = Round(seconds=seconds)
        self.start_ns = time.perf_counter_ns()
        self.begin_ns = self.start_ns + round(ramp_s * 1e9)
        self.end_ns = self.begin_ns + round(seconds * 1e9)

    def count(self, request: Prepared, outcome: Outcome, meant_ns: int) -> None:
        """One request is over, that was meant to be sent at `meant_ns`."""
        now_ns, seen = time.perf_counter_ns(), self.round
        if outcome is not None:
            seen.fail(outcome)
            return
        seen.all_answers += 1
        if self.begin_ns <= meant_ns < self.end_ns:
            seen.latency.add(now_ns - meant_ns)
        if self.begin_ns <= now_ns < self.end_ns:
            seen.answers += 1
            seen.rows += request.rows

    async def watch(self) -> None:
        """How busy the generator is meanwhile."""
        await asyncio.sleep(max(0.0, (self.begin_ns - time.perf_counter_ns()) / 1e9))
        before, since = time.process_time(), time.perf_counter()
        await asyncio.sleep(max(0.0, (self.end_ns - time.perf_counter_ns()) / 1e9))
        passed = time.perf_counter() - since
        self.round.busy = (time.process_time() - before) / passed if passed else 0.0


async def run_round(
    load: Load, senders: Sequence[Sender], requests: Requests, ramp_s: float, seconds: float, seed: int
) -> Round:
    """Send the load for a while, and measure it behind the first `ramp_s`. `seed`: of the times of an open loop."""
    before = sum(sender.reconnects for sender in senders)
    span = _Span(ramp_s, seconds)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(span.watch())
        if isinstance(load, ClosedLoop):
            for sender in senders:
                tasks.create_task(_closed(sender, requests, span))
        else:
            tasks.create_task(_Dispatcher(load, senders, requests, span).run(seed))
    span.round.reconnects = sum(sender.reconnects for sender in senders) - before
    return span.round


async def _closed(sender: Sender, requests: Requests, span: _Span) -> None:
    """One connection of a closed loop."""
    while (meant_ns := time.perf_counter_ns()) < span.end_ns:
        request, content = next(requests)
        outcome = await sender.ask(content)
        span.count(request, outcome, meant_ns)
        if outcome is not None:
            await asyncio.sleep(_PAUSE_S)


class _Dispatcher:
    """Sends the requests of an open loop, each over the first connection that is free."""

    def __init__(self, load: OpenLoop, senders: Sequence[Sender], requests: Requests, span: _Span) -> None:
        self._load = load
        self._free = [*senders]
        self._requests = requests
        self._span = span
        self._waiting: deque[int] = deque()
        self._give_up_ns = span.end_ns + round(max(_LEAST_GRACE_S, span.round.seconds) * 1e9)

    async def run(self, seed: int) -> None:
        """Until all that were due are answered, or have failed."""
        span = self._span
        async with asyncio.TaskGroup() as tasks:
            for due_s in times(self._load.arrivals, self._load.per_second, seed):
                due_ns = span.start_ns + round(due_s * 1e9)
                if due_ns >= span.end_ns:
                    break
                if time.perf_counter_ns() > self._give_up_ns:
                    span.round.fail(TOO_SLOW)
                    continue
                early_s = (due_ns - time.perf_counter_ns()) / 1e9
                # Also if it is late: the answers have to be read meanwhile.
                await asyncio.sleep(max(0.0, early_s))
                if not self._free:
                    if len(self._waiting) < _MOST_WAITING:
                        self._waiting.append(due_ns)
                    else:
                        span.round.fail(NOT_SENT)
                    continue
                span.round.late.add(max(0, time.perf_counter_ns() - due_ns))
                tasks.create_task(self._send(self._free.pop(), due_ns))

    async def _send(self, sender: Sender, due_ns: int) -> None:
        """Send one request, and those that have waited for this connection."""
        while True:
            request, content = next(self._requests)
            self._span.count(request, await sender.ask(content), due_ns)
            if time.perf_counter_ns() > self._give_up_ns:
                while self._waiting:
                    self._waiting.popleft()
                    self._span.round.fail(NOT_SENT)
            if not self._waiting:
                break
            due_ns = self._waiting.popleft()
        self._free.append(sender)
