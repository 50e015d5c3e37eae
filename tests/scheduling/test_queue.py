"""The request queue between the loop and instance threads, with real threads and a clock that the test turns."""

import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits, Resource
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.queue import Batch, RequestQueue
from kserve_v2.scheduling.statistics import BatchReason
from tests.scheduling.targets import NOBODY


class Clock:
    """Nanoseconds that pass when the test says so. `looked`: an instance has looked, and holds the queue's lock until it
    has decided: what is put after that finds it waiting for its batch to grow.
    """

    now_ns = 0

    def __init__(self) -> None:
        self.looked = threading.Event()

    def __call__(self) -> int:
        self.looked.set()
        return self.now_ns


def request_(name: str, rows: int = 1, key: Hashable = "", level: int = 0) -> Pending:
    """A queue entry whose outcome nobody takes."""
    pending = Pending(InferRequest("m", {}, id=name, rows=rows, batch_key=key), NOBODY)
    pending.level = level
    return pending


def ids(members: list[Pending]) -> list[str]:
    return [entry.request.id for entry in members]


def test_requests_leave_in_the_order_of_their_arrival() -> None:
    queue = RequestQueue(ONE_AT_A_TIME)
    for name in "abc":
        assert queue.put(request_(name))
    taken = [queue.take() for _ in range(3)]
    assert [ids(batch.members) for batch in taken if batch] == [["a"], ["b"], ["c"]]


def test_a_full_queue_refuses_and_takes_again_when_there_is_room() -> None:
    queue = RequestQueue(ONE_AT_A_TIME, (2,))
    first, second, third = map(request_, "abc")
    assert [queue.put(first), queue.put(second), queue.put(third)] == [True, True, False]
    assert len(queue) == 2
    queue.take()
    assert queue.put(third)


def test_a_discarded_request_never_runs_and_a_taken_one_cannot_be_discarded() -> None:
    queue = RequestQueue(BatchRules(max_rows=8))
    first, second, third = map(request_, "abc")
    for entry in (first, second, third):
        queue.put(entry)
    assert queue.discard(second)
    assert not queue.discard(second)
    batch = queue.take()
    assert batch is not None
    assert ids(batch.members) == ["a", "c"]
    assert not queue.discard(first)
    assert len(queue) == 0


def test_a_postponed_request_stands_behind_later_ones() -> None:
    queue = RequestQueue(ONE_AT_A_TIME)
    late, next_one, last = map(request_, "abc")
    queue.put(late)
    queue.put(next_one)
    assert queue.postpone(late)
    queue.put(last)
    order = [queue.take() for _ in range(3)]
    assert [ids(batch.members) for batch in order if batch] == [["b"], ["c"], ["a"]]
    assert not queue.postpone(late)


def test_what_is_put_back_comes_before_all_else() -> None:
    queue = RequestQueue(BatchRules(max_rows=2))
    for name in "abc":
        queue.put(request_(name))
    batch = queue.take()
    assert batch is not None
    assert queue.put_back(batch)
    taken = [queue.take() for _ in range(2)]
    assert [ids(batch.members) for batch in taken if batch] == [["a", "b"], ["c"]]
    queue.close()
    assert not queue.put_back(batch)
    assert queue.take() is None


def test_a_closed_queue_refuses_gives_what_it_has_and_then_none() -> None:
    queue = RequestQueue(ONE_AT_A_TIME)
    queue.put(request_("a"))
    queue.close()
    assert not queue.put(request_("b"))
    batch = queue.take()
    assert batch is not None
    assert ids(batch.members) == ["a"]
    assert queue.take() is None


def test_abandon_gives_back_everything_in_order() -> None:
    queue = RequestQueue(ONE_AT_A_TIME)
    for name in "ab":
        queue.put(request_(name))
    queue.close()
    assert ids(queue.abandon()) == ["a", "b"]
    assert queue.take() is None


def test_closing_wakes_every_idle_instance() -> None:
    queue = RequestQueue(ONE_AT_A_TIME)
    with ThreadPoolExecutor(4) as instances:
        waiting = [instances.submit(queue.take) for _ in range(4)]
        queue.close()
        assert [future.result() for future in waiting] == [None] * 4


def test_an_idle_instance_is_woken_by_a_request() -> None:
    queue = RequestQueue(ONE_AT_A_TIME)
    with ThreadPoolExecutor(1) as instances:
        waiting = instances.submit(queue.take)
        queue.put(request_("a"))
        batch = waiting.result()
    assert batch is not None
    assert batch.reason is BatchReason.NOT_BATCHABLE


# An hour of delay on a clock that stands still: only what completes the batch can end the wait.
AN_HOUR = BatchRules(max_rows=3, max_delay_ns=3_600_000_000_000)


def test_a_growing_batch_runs_as_soon_as_it_is_full() -> None:
    queue = RequestQueue(AN_HOUR, clock_ns=Clock())
    with ThreadPoolExecutor(2) as instances:
        waiting = [instances.submit(queue.take) for _ in range(2)]
        for name in "abc":
            queue.put(request_(name))
        queue.close()
        batches = [batch for future in waiting if (batch := future.result())]
    assert [(ids(batch.members), batch.reason) for batch in batches] == [(["a", "b", "c"], BatchReason.FULL)]


def test_a_growing_batch_runs_when_a_request_cannot_join_and_closing_ends_the_next_wait() -> None:
    queue = RequestQueue(AN_HOUR, clock_ns=Clock())
    with ThreadPoolExecutor(1) as instances:
        first = instances.submit(queue.take)
        for name, key in (("a", ""), ("b", ""), ("x", "other")):
            queue.put(request_(name, key=key))
        batch = first.result()
        assert batch is not None
        assert (ids(batch.members), batch.reason) == (["a", "b"], BatchReason.SHAPE_MISMATCH)
        second = instances.submit(queue.take)
        queue.close()
        batch = second.result()
    assert batch is not None
    assert ids(batch.members) == ["x"]


def test_a_growing_batch_is_woken_by_a_request_that_cannot_join() -> None:
    clock = Clock()
    queue = RequestQueue(AN_HOUR, clock_ns=clock)
    with ThreadPoolExecutor(1) as instances:
        waiting = instances.submit(queue.take)
        queue.put(request_("a"))
        assert clock.looked.wait(60)
        queue.put(request_("x", key="other"))
        batch = result(queue, waiting)
    assert (ids(batch.members), batch.reason) == (["a"], BatchReason.SHAPE_MISMATCH)


def test_a_growing_batch_is_woken_by_one_of_a_higher_priority_that_cannot_join() -> None:
    clock = Clock()
    queue = RequestQueue(AN_HOUR, (0, 0), clock_ns=clock)
    with ThreadPoolExecutor(1) as instances:
        waiting = instances.submit(queue.take)
        queue.put(request_("a", level=1))
        assert clock.looked.wait(60)
        queue.put(request_("x", key="other"))
        batch = result(queue, waiting)
    assert (ids(batch.members), batch.reason) == (["x"], BatchReason.SHAPE_MISMATCH)


def test_what_a_grown_batch_leaves_over_wakes_another_instance() -> None:
    """The one that has waited is busy now: who else would look?"""
    clock = Clock()
    queue = RequestQueue(AN_HOUR, clock_ns=clock)
    with ThreadPoolExecutor(2) as instances:
        waiting = [instances.submit(queue.take) for _ in range(2)]
        while queue.sleeping < 2:
            pass
        queue.put(request_("a"))
        assert clock.looked.wait(60)
        queue.put(request_("x", rows=3, key="other"))
        batches = [result(queue, future) for future in waiting]
    assert sorted(ids(batch.members) for batch in batches) == [["a"], ["x"]]


def result(queue: RequestQueue, future: Future[Batch | None]) -> Batch:
    """What an instance has taken. The queue is closed if it takes nothing, so that the test ends."""
    try:
        batch = future.result(60)
    except TimeoutError:
        queue.close()
        raise
    assert batch is not None
    return batch


@pytest.mark.parametrize("instances", [1, 2, 4])
def test_closing_while_a_batch_grows_lets_every_instance_go(instances: int) -> None:
    queue = RequestQueue(AN_HOUR, clock_ns=Clock())
    with ThreadPoolExecutor(instances) as threads:
        waiting = [threads.submit(everything, queue) for _ in range(instances)]
        queue.put(request_("a"))
        queue.put(request_("b"))
        queue.close()
        assert sorted(name for future in waiting for name in future.result()) == ["a", "b"]


def everything(queue: RequestQueue) -> list[str]:
    """What one instance takes until the queue is closed and empty."""
    taken: list[str] = []
    while (batch := queue.take()) is not None:
        taken += ids(batch.members)
    return taken


@pytest.mark.slow
def test_every_request_is_taken_or_discarded_and_never_both() -> None:
    """Four instances against a loop that puts and discards: each request has one fate."""
    queue = RequestQueue(BatchRules(max_rows=5, preferred_rows=frozenset({3}), max_delay_ns=50_000))
    made = [request_(str(n), n % 3 + 1, n % 2) for n in range(20_000)]
    taken: list[str] = []
    guard = threading.Lock()

    def instance() -> None:
        while (batch := queue.take()) is not None:
            assert sum(entry.rows for entry in batch.members) <= 5
            with guard:
                taken.extend(ids(batch.members))

    with ThreadPoolExecutor(4) as instances:
        running = [instances.submit(instance) for _ in range(4)]
        discarded = []
        for number, entry in enumerate(made):
            assert queue.put(entry)
            if number % 7 == 0 and queue.discard(made[number - number % 3]):
                discarded.append(made[number - number % 3].request.id)
        queue.close()
        for future in running:
            future.result()
    assert sorted(taken + discarded, key=int) == [entry.request.id for entry in made]


def test_an_instance_at_the_gate_is_told_that_nothing_is_left() -> None:
    """Whatever it waits for is never given back."""
    limiter, clock = RateLimiter(), Clock()
    holding, gate = (limiter.gate([Limits({Resource("r"): 1})]) for _ in range(2))
    assert holding is not None
    assert holding.ask(0) is not None
    queue = RequestQueue(ONE_AT_A_TIME, clock_ns=clock, gate=gate)
    with ThreadPoolExecutor(1) as instances:
        waiting = instances.submit(queue.take)
        queue.put(request_("a"))
        assert clock.looked.wait(60)
        clock.looked.clear()
        queue.close()
        # It looks again, and still has something to do. The queue can be emptied only when it has seen that.
        assert clock.looked.wait(60)
        assert ids(queue.abandon()) == ["a"]
        try:
            assert waiting.result(60) is None
        finally:
            holding.close()
