"""The delay that a latency budget leaves, against simulated models and clients: no clock, no chance."""

import asyncio
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.queueing.delay_control import DelayControl
from kserve_v2.scheduling.queueing.policy import BatchRules
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.queueing.tuning import DelayTuner, Seen
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import ExecutionTimes
from tests.scheduling.simulated import MS, SECOND, Simulation, closed_loop, open_loop

UNTIL = 6 * SECOND
HALF = UNTIL // 2
MAX_ROWS = 32


def saving(rows: int) -> float:
    """What most models take: a batch saves most of the time of its rows."""
    return (1.5 + 0.1 * rows) * MS


def tuned(budget_ms: float, instances: int = 1, cost: Any = saving, max_rows: int = MAX_ROWS) -> Simulation:
    tuner = DelayTuner(int(budget_ms * MS), max_rows, instances)
    return Simulation(cost, max_rows, instances, tuner)


def fixed(delay_ms: float, instances: int = 1, cost: Any = saving, max_rows: int = MAX_ROWS) -> Simulation:
    return Simulation(cost, max_rows, instances, delay_ns=int(delay_ms * MS))


def answered(simulation: Simulation) -> int:
    return sum(1 for when, _ in simulation.latencies if when >= HALF)


# --- it does not wait for nothing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("think_ms", [0.05, 1, 50])
def test_a_lone_client_never_waits(think_ms: float) -> None:
    simulation = tuned(50)
    closed_loop(simulation, 1, UNTIL, think_ms)
    assert set(simulation.delays) == {0}
    assert {latency for _, latency in simulation.latencies} == {saving(1)}


@pytest.mark.parametrize("rate", [20, 100, 250])
def test_at_low_load_nobody_waits(rate: int) -> None:
    simulation = tuned(50)
    open_loop(simulation, lambda _: rate, UNTIL)
    assert set(simulation.delays) == {0}


def test_where_batches_save_nothing_nobody_waits() -> None:
    simulation = tuned(50, cost=lambda rows: 1.0 * rows * MS)
    open_loop(simulation, lambda _: 800, UNTIL)
    assert set(simulation.delays[1:]) == {0}


def test_who_is_left_alone_waits_no_longer() -> None:
    simulation = tuned(50)
    open_loop(simulation, lambda now: 2000 if now < HALF else 20, UNTIL)
    assert max(simulation.delays) > 0
    assert set(simulation.delays[-3:]) == {0}


# --- it stays within the budget -------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    budget_ms=st.integers(1, 60),
    fixed_ms=st.floats(0.1, 10),
    row_ms=st.floats(0, 1),
    rate=st.integers(50, 5000),
    instances=st.integers(1, 3),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_the_delay_leaves_time_for_the_execution(
    budget_ms: int, fixed_ms: float, row_ms: float, rate: int, instances: int, seed: int
) -> None:
    """By its own delay the server never breaks the budget, whatever the model and the load are."""

    def cost(rows: int) -> float:
        return (fixed_ms + row_ms * rows) * MS

    simulation = tuned(budget_ms, instances, cost)
    open_loop(simulation, lambda _: rate, SECOND * 3, seed)
    longest = cost(max(simulation.batches))
    for delay in simulation.delays:
        assert delay == 0 or delay + longest <= budget_ms * MS


@pytest.mark.parametrize("budget_ms", [6, 10, 20, 50])
@pytest.mark.parametrize("rate", [1000, 2000, 5000])
def test_99_of_100_answers_come_within_the_budget_where_that_can_be(rate: int, budget_ms: int) -> None:
    simulation, without = tuned(budget_ms), fixed(0)
    for each in (simulation, without):
        open_loop(each, lambda _: rate, UNTIL)
    assert simulation.p99_ms() <= max(budget_ms, without.p99_ms() * 1.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rate",
    [
        lambda _: 2000,
        lambda now: 4000 if now // (SECOND // 5) % 2 else 200,
        lambda now: 4000 if now // SECOND % 2 else 50,
        lambda now: 100 + 900 * now / SECOND,
    ],
    ids=["steady", "bursts", "long bursts", "rising"],
)
def test_any_load_stays_within_the_budget_and_makes_larger_batches(rate: Any) -> None:
    simulation, without = tuned(20), fixed(0)
    for each in (simulation, without):
        open_loop(each, rate, UNTIL)
    assert simulation.p99_ms() <= 20
    assert len(simulation.batches) < 0.75 * len(without.batches)


def test_what_was_planned_and_missed_is_planned_smaller() -> None:
    """Executions whose slowness does not show in the plan: it is the answers that say what the delay has to be."""
    tuner = DelayTuner(20 * MS, MAX_ROWS, 1)
    delays = []
    for window in range(12):
        for number in range(60):
            first = (window * 60 + number) * 10 * MS
            # Others hold the instance for 12 ms, after the batch has waited.
            taken = first + tuner.delay_ns + 12 * MS
            tuner.observe(Seen(16, 16, first, first + 9 * MS, taken, taken + 3 * MS, 16 * 10 * MS))
        delays.append(tuner.delay_ns)
    assert delays[0] + 12 * MS + 3 * MS > 20 * MS
    assert all(delay + 15 * MS <= 20 * MS for delay in delays[3:]), delays


# --- and it finds what pays -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("clients", "gain"), [(2, 1.7), (16, 1.25), (64, 1.0)])
def test_clients_that_wait_for_their_answers_get_more_of_them(clients: int, gain: float) -> None:
    simulation, without = tuned(20, cost=lambda _: 2 * MS), fixed(0, cost=lambda _: 2 * MS)
    for each in (simulation, without):
        closed_loop(each, clients, UNTIL)
    assert answered(simulation) >= 0.99 * gain * answered(without)
    # And no fewer than with any of the usual delays.
    for delay_ms in (1, 5, 20):
        other = fixed(delay_ms, cost=lambda _: 2 * MS)
        closed_loop(other, clients, UNTIL)
        assert answered(simulation) >= 0.99 * answered(other)


@pytest.mark.parametrize("rate", [1500, 2000, 6000])
def test_under_a_steady_load_the_choice_settles(rate: int) -> None:
    simulation = tuned(20)
    open_loop(simulation, lambda _: rate, 2 * UNTIL)
    last = simulation.delays[-8:]
    assert min(last) > 0
    assert max(last) < 1.3 * min(last)


def test_more_budget_makes_larger_batches() -> None:
    executions = []
    for budget_ms in (3, 8, 20):
        simulation = tuned(budget_ms)
        open_loop(simulation, lambda _: 2000, UNTIL)
        executions.append(len(simulation.batches))
    assert executions == sorted(executions, reverse=True)
    assert executions[0] > 2 * executions[2]


# --- the queue that it is for ---------------------------------------------------------------------------------------


class Ended:
    """An execution, as far as a control looks at it."""

    def __init__(self, first_ns: int, requests: int) -> None:
        self.rows = requests
        self.members = [type("Member", (), {"enqueued_ns": first_ns + n * MS}) for n in range(requests)]
        taken_ns = first_ns + 10 * MS
        self.times: ExecutionTimes | None = ExecutionTimes(taken_ns, taken_ns, taken_ns, taken_ns + 2 * MS)


def control_of(queue: RequestQueue, clock: Any) -> DelayControl:
    text = 'name: "m" max_batch_size: 32 input { name: "x" data_type: TYPE_FP32 dims: 1 }'
    signature = ModelSignature(text_format.Parse(text, ModelConfig()))
    placements = (Placement("m_0", "CPU"),)
    spec = ModelSpec(signature, "1", placements, RowMerger(signature), queue.rules, latency_budget_ns=20 * MS)
    return DelayControl(spec, queue, clock)


def test_the_choice_is_the_queues_until_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kserve_v2.scheduling")

    async def run() -> None:
        queue = RequestQueue(BatchRules(32))
        control = control_of(queue, lambda: 0)
        for number in range(120):
            control.observe(Ended(number * 10 * MS, 8))  # type: ignore[arg-type]
        delay = queue.rules.max_delay_ns
        assert 0 < delay <= 18 * MS
        assert control._spec.statistics.chosen_delay_ns == delay
        failed = Ended(0, 8)
        failed.times = None
        control.observe(failed)  # type: ignore[arg-type]
        control.stop()
        queue.close()
        for number in range(120, 240):
            control.observe(Ended(number * 10 * MS, 8))  # type: ignore[arg-type]
        assert queue.rules.max_delay_ns == 0

    asyncio.run(run())
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("model 'm': batches wait up to ")
    assert line.endswith("for a latency budget of 20 ms")


def test_when_nothing_comes_any_more_the_next_request_does_not_wait() -> None:
    async def run() -> None:
        now = [0]
        queue = RequestQueue(BatchRules(32))
        control = control_of(queue, lambda: now[0])
        for number in range(120):
            control.observe(Ended(number * 10 * MS, 8))  # type: ignore[arg-type]
        assert queue.rules.max_delay_ns > 0
        now[0] = 10 * SECOND
        control._look()
        assert queue.rules.max_delay_ns == 0
        control.stop()

    asyncio.run(run())


def test_a_queue_that_does_not_merge_is_left_alone() -> None:
    async def run() -> None:
        queue = RequestQueue(BatchRules(0))
        control = control_of(queue, lambda: 0)
        for number in range(120):
            control.observe(Ended(number * 10 * MS, 8))  # type: ignore[arg-type]
        assert queue.rules.max_delay_ns == 0
        control.stop()

    asyncio.run(run())
