"""Measures one or more servers under a series of loads, in rounds until the results are stable.

Of several servers, each has its turn in every round, with the same requests: whatever else happens on the machines
happens to all of them, and only the ratios of one round are compared.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from kserve_v2.bench.connect import sender_to
from kserve_v2.bench.control import Control
from kserve_v2.bench.cpu_meter import CpuMeter
from kserve_v2.bench.encoding import Prepared
from kserve_v2.bench.errors import BenchError, WrongAnswerError
from kserve_v2.bench.load import ClosedLoop, Load, Round, run_round, taken_together
from kserve_v2.bench.requests import Vary, stream
from kserve_v2.bench.sender import Sender
from kserve_v2.bench.server_side import Counters
from kserve_v2.bench.stability import ROUNDS, RoundFigures, stable
from kserve_v2.bench.target import Target

_RAMP_SHARE = 0.1
"""Of a round: before it begins, the load runs for so long."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One server that is measured. `name`: how it is called in reports."""

    name: str
    target: Target
    control: Control
    meter: CpuMeter
    requests: Sequence[Prepared]


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured. `tolerance`, `max_rounds`: see `stability`; `seconds`: of one round."""

    loads: Sequence[Load]
    warm_up_s: float = 1.0
    seconds: float = 2.0
    max_rounds: int = 10
    least_rounds: int = ROUNDS
    tolerance: float = 0.1
    timeout_s: float = 60.0
    vary: Vary = Vary.VALUES


@dataclass(frozen=True, slots=True)
class Seen:
    """One round of one server, from both sides. `counters`: the server's own; `cpu_s`: its CPU time. Both of the whole
    round with what was before and after it; None if not known.
    """

    round: Round
    counters: Counters | None
    cpu_s: float | None


@dataclass(slots=True)
class Point:
    """One server under one load."""

    subject: str
    load: Load
    rounds: list[Seen] = field(default_factory=list)

    @property
    def last(self) -> list[Seen]:
        """The rounds that are reported."""
        return self.rounds[-ROUNDS:]

    @property
    def whole(self) -> Round:
        """Those as one."""
        return taken_together([each.round for each in self.last])

    @property
    def counters(self) -> Counters | None:
        """Of those; None if not known of all of them."""
        total = Counters()
        for each in self.last:
            if each.counters is None:
                return None
            total = total.plus(each.counters)
        return total

    @property
    def cpu_us(self) -> float | None:
        """The server's CPU time for a request, in microseconds; None if not known."""
        times = [each.cpu_s for each in self.last]
        answers = sum(each.round.all_answers for each in self.last)
        return None if None in times or not answers else sum(filter(None, times)) * 1e6 / answers

    def is_stable(self, plan: Plan) -> bool:
        """See `stability`."""
        figures = [RoundFigures(each.round.per_second, each.round.latency.mean) for each in self.rounds]
        return stable(figures, plan.tolerance, min(ROUNDS, plan.max_rounds))


def ratios(points: Sequence[Point]) -> list[float]:
    """Throughput of each server over that of the first one, the median over the rounds that are reported; 0 where the
    first one has no answers.
    """
    first = [each.round.per_second for each in points[0].last]
    return [
        median(
            seen.round.per_second / base if base else 0.0
            for seen, base in zip(point.last, first, strict=True)
        )
        for point in points
    ]


Told = Callable[[str], None]


async def measure(subjects: Sequence[Subject], plan: Plan, tell: Told) -> list[list[Point]]:
    """For each load, a point for each server. `tell`: gets a line for people whenever something was measured. Raises
    BenchError if a server does not answer the first request rightly.
    """
    for subject in subjects:
        await _probe(subject, plan)
    return [await _measure_load(subjects, load, plan, tell) for load in plan.loads]


async def _probe(subject: Subject, plan: Plan) -> None:
    """One request, whose failure ends everything: a measurement of errors means nothing."""
    sender = sender_to(subject.target, plan.timeout_s)
    try:
        _, content = next(stream(subject.requests, plan.vary))
        outcome = await sender.ask(content)
    finally:
        await sender.close()
    if outcome is not None:
        raise WrongAnswerError(f"{subject.target.url}: the first request failed: {outcome}")


async def _measure_load(subjects: Sequence[Subject], load: Load, plan: Plan, tell: Told) -> list[Point]:
    points = [Point(subject.name, load) for subject in subjects]
    runs = [_Run(subject, load, plan) for subject in subjects]
    try:
        for run in runs:
            await run.warm_up()
        for number in range(1, plan.max_rounds + 1):
            for run, point in zip(runs, points, strict=True):
                point.rounds.append(await run.round())
                tell(_line(point, number, several=len(points) > 1))
            if number >= plan.least_rounds and all(point.is_stable(plan) for point in points):
                break
    finally:
        for run in runs:
            await run.close()
    return points


def _line(point: Point, number: int, *, several: bool) -> str:
    seen = point.rounds[-1].round
    failed = f", {seen.errors.total()} errors" if seen.errors else ""
    name = f"{point.subject}, " if several else ""
    return (
        f"{name}{point.load}, round {number}: {seen.per_second:,.0f} requests/s, p50 "
        f"{seen.latency.quantile(0.5) / 1e6:.2f} ms, p99 {seen.latency.quantile(0.99) / 1e6:.2f} ms{failed}"
    )


class _Run:
    """The connections to one server under one load."""

    def __init__(self, subject: Subject, load: Load, plan: Plan) -> None:
        self._subject, self._load, self._plan = subject, load, plan
        number = load.concurrency if isinstance(load, ClosedLoop) else load.connections
        self._senders: list[Sender] = [sender_to(subject.target, plan.timeout_s) for _ in range(number)]
        self._requests = stream(subject.requests, plan.vary)
        self._random = random.Random(1)  # noqa: S311 - see `arrivals`

    async def warm_up(self) -> None:
        """Open what a closed loop needs, and send load that is not measured."""
        if isinstance(self._load, ClosedLoop):
            for sender in self._senders:
                await self._open(sender)
        if self._plan.warm_up_s:
            await self._run(self._plan.warm_up_s, 0.0)

    async def _open(self, sender: Sender) -> None:
        try:
            await asyncio.wait_for(sender.open(), self._plan.timeout_s)
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "no connection in time"
            raise BenchError(f"{self._subject.target.url}: {self._load}: {why}") from None

    async def round(self) -> Seen:
        """One measurement."""
        # Nothing else happens while the server is asked about itself.
        before, cpu_before = self._subject.control.counters(), self._subject.meter.read()
        seen = await self._run(self._plan.seconds * _RAMP_SHARE, self._plan.seconds)
        after, cpu_after = self._subject.control.counters(), self._subject.meter.read()
        counted = after.since(before) if after is not None and before is not None else None
        cpu_s = cpu_after - cpu_before if cpu_after is not None and cpu_before is not None else None
        return Seen(seen, counted, cpu_s if cpu_s is not None and cpu_s >= 0 else None)

    async def _run(self, ramp_s: float, seconds: float) -> Round:
        seed = self._random.randrange(2**32)
        return await run_round(self._load, self._senders, self._requests, ramp_s, seconds, seed)

    async def close(self) -> None:
        for sender in self._senders:
            await sender.close()
