"""A model, its queue and its clients without a clock: the real decision about batches, in simulated time."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from kserve_v2.scheduling.queueing.policy import BatchRules, Run, decide
from kserve_v2.scheduling.queueing.tuning import DelayTuner, Seen

MS = 1_000_000
SECOND = 1_000 * MS


@dataclass(eq=False)
class Request:
    enqueued_ns: int
    client: int = -1
    rows: int = 1
    key: None = None


class Simulation:
    """Instances that take `cost(rows)` nanoseconds for a batch. `tuner`: sets the delay of the queue, if there is one."""

    def __init__(
        self, cost: Callable[[int], float], max_rows: int, instances: int = 1, tuner: DelayTuner | None = None,
        delay_ns: int = 0,
    ) -> None:  # fmt: skip
        self.rules = BatchRules(max_rows, frozenset({max_rows}), delay_ns)
        self.now_ns = 0
        self.latencies: list[tuple[int, int]] = []
        self.delays: list[int] = []
        self.batches: list[int] = []
        self._cost, self._tuner = cost, tuner
        self._free = instances
        self._waiting: list[Request] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, when_ns: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (int(when_ns), next(self._numbers), what))

    def run(self, until_ns: int) -> None:
        while self._events and self._events[0][0] <= until_ns:
            self.now_ns, _, what = heapq.heappop(self._events)
            what()

    def arrive(self, client: int = -1, again: Callable[[int], None] | None = None) -> None:
        request = Request(self.now_ns, client)
        self._waiting.append(request)
        self._again = again
        self._look()

    def _look(self) -> None:
        while self._free and self._waiting:
            decision = decide(self._waiting, self.rules, self.now_ns)
            if not isinstance(decision, Run):
                self.at(decision.at_ns, self._look)
                return
            members, self._waiting = self._waiting[: decision.requests], self._waiting[decision.requests :]
            self._free -= 1
            taken_ns, end_ns = self.now_ns, self.now_ns + int(self._cost(len(members)))
            self.at(end_ns, partial(self._end, members, taken_ns))

    def _end(self, members: list[Request], taken_ns: int) -> None:
        self._free += 1
        times = [each.enqueued_ns for each in members]
        self.latencies += [(self.now_ns, self.now_ns - each) for each in times]
        self.batches.append(len(members))
        if self._tuner is not None:
            waited = sum(taken_ns - each for each in times)
            seen = Seen(len(members), len(members), min(times), max(times), taken_ns, self.now_ns, waited)
            if self._tuner.observe(seen):
                self.delays.append(self._tuner.delay_ns)
                self.rules = replace(self.rules, max_delay_ns=self._tuner.delay_ns)
        for each in members:
            if self._again is not None and each.client >= 0:
                self._again(each.client)
        self._look()

    def p99_ms(self, since_ns: int = 0) -> float:
        found = sorted(latency for when, latency in self.latencies if when >= since_ns)
        return found[int(0.99 * (len(found) - 1))] / MS


def open_loop(simulation: Simulation, rate: Callable[[int], float], until_ns: int, seed: int = 1) -> None:
    """Clients that come at random, `rate(now_ns)` of them in a second, whether or not others have their answers."""
    draw = random.Random(seed)  # noqa: S311

    def arrive() -> None:
        simulation.arrive()
        simulation.at(simulation.now_ns + draw.expovariate(rate(simulation.now_ns)) * SECOND, arrive)

    simulation.at(0, arrive)
    simulation.run(until_ns)


def closed_loop(
    simulation: Simulation, clients: int, until_ns: int, think_ms: float = 0.1, seed: int = 1
) -> None:
    """Clients of which each waits for its answer, and asks again after about `think_ms`."""
    draw = random.Random(seed)  # noqa: S311

    def again(client: int) -> None:
        pause = draw.uniform(0.5, 1.5) * think_ms * MS
        simulation.at(simulation.now_ns + pause, lambda: simulation.arrive(client, again))

    for client in range(clients):
        again(client)
    simulation.run(until_ns)
