"""Measures candidates: loads each, and finds the most that it does within the budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import monotonic

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.bench.connect import sender_to
from kserve_v2.bench.cpu_meter import CpuMeter
from kserve_v2.bench.encoding import Prepared
from kserve_v2.bench.errors import BenchError, WrongAnswerError
from kserve_v2.bench.load import ClosedLoop
from kserve_v2.bench.measure import Plan, Subject, measure
from kserve_v2.bench.requests import Vary, stream
from kserve_v2.bench.target import Target
from kserve_v2.tuning.candidate import Candidate
from kserve_v2.tuning.frontier import Measured
from kserve_v2.tuning.search import (
    FAILED,
    Score,
    Search,
    clearly_better,
    enough_rounds,
    next_concurrency,
    over_budget,
    rivals,
    score_of,
)
from kserve_v2.tuning.trial_server import TrialServer, refused

Configured = Callable[[Candidate], ModelConfig]
Told = Callable[[str], None]

_LEAST_ANSWERS = 20
"""Of one connection in a round: of slow models, rounds are longer than they would be."""

_LONGEST_ROUND_S = 60.0
# How many are compared with the current configuration, if one after the other is over the budget.
_MOST_RIVALS = 4
_WARM_UP_S, _WARM_UP_AFTER_LOAD_S = 0.2, 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for. `budget_ms`: of latency, None for none. `minutes`: for the search. `round_s`: of one
    measurement. `margin`: what is no difference during the search; `least_gain`: what a change has to bring in the end.
    `concurrency`: the most connections.
    """

    budget_ms: float | None
    minutes: float
    round_s: float = 0.5
    margin: float = 0.05
    least_gain: float = 0.03
    concurrency: int = 64
    vary: Vary = Vary.VALUES


@dataclass(slots=True)
class Findings:
    """What came of it. `refused`: why candidates could not be loaded. `rounds`: of the last comparison. `out_of_time`:
    the search was not at its end. `loads`: by candidate, the connections with which it did best. `over_budget`: what
    was compared, and was over the budget then; with the p99 in milliseconds.
    """

    start: Candidate
    best: Candidate
    scores: dict[Candidate, Score] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    refused: dict[Candidate, str] = field(default_factory=dict)
    rounds: list[tuple[Score, Score]] = field(default_factory=list)
    out_of_time: bool = False
    loads: dict[Candidate, int] = field(default_factory=dict)
    over_budget: list[tuple[Candidate, float]] = field(default_factory=list)

    @property
    def winner(self) -> Candidate:
        """The current configuration, unless another one is clearly better."""
        return self.best if self.decided else self.start

    decided: bool = False


class Trials:
    """Of one model. `target`: where load goes to."""

    def __init__(
        self,
        server: TrialServer,
        target: Target,
        requests: Sequence[Prepared],
        configured: Configured,
        terms: Terms,
        tell: Told,
    ) -> None:
        self._server, self._configured, self._terms, self._tell = server, configured, terms, tell
        self._subject = Subject("trial", target, server.control, CpuMeter(), requests)
        self._loaded: Candidate | None = None
        self._new = False
        self._round_s = terms.round_s

    async def run(self, search: Search, start: Candidate) -> Findings:
        """Search, then compare the best one with the current one. Raises BenchError if the current one cannot be
        measured.
        """
        until = monotonic() + self._terms.minutes * 60
        found = Findings(start, start)
        steps = search.candidates()
        candidate = next(steps)
        self._load(start)
        self._round_s = max(
            self._terms.round_s, min(_LONGEST_ROUND_S, _LEAST_ANSWERS * await self._one_request())
        )
        while True:
            score = await self._score(candidate, search.best, found)
            if candidate == start and candidate in found.refused:
                raise BenchError(f"the current configuration: {found.refused[start]}")
            if candidate == start and score == FAILED:
                raise BenchError("the current configuration gives no right answers: try kserve-v2 bench")
            try:
                candidate = steps.send(score)
            except StopIteration:
                break
            if monotonic() > until:
                found.out_of_time = True
                break
        found.scores, found.best = search.scores, search.best
        if found.best != start:
            await self._compare_rivals(found, until)
        return found

    async def _compare_rivals(self, found: Findings, until: float) -> None:
        """Compare the best one with the current one, and others if that is over the budget after all, until `until`."""
        best = (found.best, found.loads[found.best])
        chosen = [best]
        if self._terms.budget_ms is not None and found.scores[found.start].within:
            chosen = rivals(found.measured, found.start, best, self._terms.budget_ms, self._terms.margin)
        for candidate, connections in chosen[:_MOST_RIVALS]:
            if found.over_budget and monotonic() > until:
                found.out_of_time = True
                return
            found.best, found.rounds = candidate, []
            await self._compare(found, connections)
            if found.decided or not over_budget(found.rounds, self._terms.budget_ms):
                return
            found.over_budget.append((candidate, median(new.p99_ms for _, new in found.rounds)))

    async def _score(self, candidate: Candidate, best: Candidate, found: Findings) -> Score:
        """How good a candidate is. `best`: the best one so far, whose number of connections is the first one for
        others.
        """
        first = found.loads.get(best, 1)
        try:
            self._load(candidate)
            seen = await self._sweep(candidate, first, found)
        except BenchError as error:
            if not (refused(error) or isinstance(error, WrongAnswerError)):
                raise
            found.refused[candidate] = str(error).partition(": ")[2].strip()
            self._tell(f"{candidate}: cannot be used: {found.refused[candidate]}")
            return FAILED
        score, found.loads[candidate] = score_of(seen, self._terms.budget_ms)
        self._tell(f"{candidate}: {_said(score)} with {ClosedLoop(found.loads[candidate])}")
        return score

    async def _sweep(
        self, candidate: Candidate, first: int, found: Findings
    ) -> dict[int, tuple[float, float]]:
        """Throughput and p99 of what is loaded, by connections."""
        seen: dict[int, tuple[float, float]] = {}
        budget_ms, most = self._terms.budget_ms, self._terms.concurrency
        while (number := next_concurrency(seen, budget_ms, first, most)) is not None:
            measured = await self._measure(candidate, number, found)
            if not self._within(measured):
                # What else happens on a machine makes latencies longer, never shorter.
                again = await self._measure(candidate, number, found)
                measured = min(measured, again, key=lambda each: each.p99_ms)
            seen[number] = (measured.per_second, measured.p99_ms)
        return seen

    async def _one_request(self) -> float:
        """How long one takes, in seconds; the second one, since the first one may have to wait for more than its
        answer.
        """
        sender = sender_to(self._subject.target, _LONGEST_ROUND_S)
        try:
            for _, (_, content) in zip(
                range(2), stream(self._subject.requests, self._terms.vary), strict=False
            ):
                began = monotonic()
                outcome = await sender.ask(content)
            if outcome is not None:
                raise BenchError(f"the current configuration: a request failed: {outcome}")
            return monotonic() - began
        finally:
            await sender.close()

    def _load(self, candidate: Candidate) -> None:
        if candidate != self._loaded:
            self._loaded = None
            self._server.load(self._configured(candidate))
            self._loaded, self._new = candidate, True

    def _within(self, measured: Measured) -> bool:
        return self._terms.budget_ms is None or measured.p99_ms <= self._terms.budget_ms

    async def _measure(
        self, candidate: Candidate, number: int, found: Findings, round_s: float | None = None
    ) -> Measured:
        """One measurement, which is noted. `round_s`: in place of the usual time."""
        warm_up_s = _WARM_UP_AFTER_LOAD_S if self._new else _WARM_UP_S
        self._new = False
        plan = Plan([ClosedLoop(number)], warm_up_s, round_s or self._round_s, 1, 1, vary=self._terms.vary)
        [[point]] = await measure([self._subject], plan, lambda _: None)
        whole, counters = point.whole, point.counters
        failed = whole.errors.total()
        # A candidate that fails requests is not faster for it.
        rate = 0.0 if failed else whole.rows / whole.seconds
        measured = Measured(
            candidate,
            number,
            rate,
            whole.latency.quantile(0.99) / 1e6 if whole.answers else float("inf"),
            whole.latency.quantile(0.5) / 1e6,
            None if counters is None else counters.mean_batch,
            failed,
        )
        found.measured.append(measured)
        return measured

    async def _compare(self, found: Findings, connections: int) -> None:
        """The best one with so many connections, and the current one with as many as it did best with, in turn."""
        longer = 2 * self._round_s
        self._tell(f"compares in turn: {found.start} (current); {found.best}")
        was_within = found.scores[found.start].within
        loads = {**found.loads, found.best: connections}
        while not enough_rounds(found.rounds, was_within=was_within):
            scores = []
            for candidate in (found.start, found.best):
                self._load(candidate)
                measured = await self._measure(candidate, loads[candidate], found, longer)
                seen = {measured.concurrency: (measured.per_second, measured.p99_ms)}
                scores.append(score_of(seen, self._terms.budget_ms)[0])
            found.rounds.append((scores[0], scores[1]))
            self._tell(f"round {len(found.rounds)}: current {_said(scores[0])}; other {_said(scores[1])}")
        found.decided = clearly_better(
            found.rounds,
            self._terms.budget_ms,
            self._terms.least_gain,
            was_within=was_within,
        )


def _said(score: Score) -> str:
    if score == FAILED:
        return "no right answers"
    over = "" if score.within else ", over the budget"
    return f"{score.per_second:,.0f} rows/s, p99 {score.p99_ms:.2f} ms{over}"
