"""The direct strategy: which slots are executed when, and what stands in for the others."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.messages import InferRequest, SequenceStep
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.sequences.slots import RunSlots, SlotQueue, SlotRules, WaitForSlots, choose
from kserve_v2.scheduling.statistics import BatchReason

MS = 1_000_000


@dataclass(frozen=True)
class Waiting:
    enqueued_ns: int = 0
    key: str = ""
    rows: int = 1


AT_ONCE = SlotRules(3)
PATIENT = SlotRules(3, 5000 * MS, 1.0)


@pytest.mark.parametrize(
    ("ready", "rules", "now_ms", "decision"),
    [
        ({0: Waiting(), 1: Waiting(), 2: Waiting()}, PATIENT, 0, RunSlots((0, 1, 2), BatchReason.FULL)),
        ({2: Waiting()}, AT_ONCE, 0, RunSlots((2,), BatchReason.NO_DELAY)),
        # 5.5: two of three slots wait exactly as long as the oldest may.
        ({0: Waiting(3 * MS), 1: Waiting(2 * MS)}, PATIENT, 5001, WaitForSlots(5002 * MS)),
        ({0: Waiting(3 * MS), 1: Waiting(2 * MS)}, PATIENT, 5002, RunSlots((0, 1), BatchReason.DELAY_EXPIRED)),
        # A share of the slots is enough; 0 asks for none.
        ({0: Waiting(), 1: Waiting()}, SlotRules(4, 5 * MS, 0.5), 0, RunSlots((0, 1), BatchReason.PREFERRED)),
        ({0: Waiting()}, SlotRules(4, 5 * MS, 0.5), 0, WaitForSlots(5 * MS)),
        ({0: Waiting()}, SlotRules(4, 5 * MS), 0, RunSlots((0,), BatchReason.NO_DELAY)),
        # 0.1 as a configuration has it: the nearest number of 32 bits, which is a little more.
        ({4: Waiting()}, SlotRules(10, 5 * MS, float(np.float32(0.1))), 0, RunSlots((4,), BatchReason.PREFERRED)),
        # 5.6: who has another shape than the oldest waits, and is the oldest then.
        (
            {0: Waiting(2, "a"), 1: Waiting(1, "b"), 2: Waiting(3, "b")},
            AT_ONCE, 0, RunSlots((1, 2), BatchReason.SHAPE_MISMATCH),
        ),
        ({0: Waiting(2, "a")}, AT_ONCE, 0, RunSlots((0,), BatchReason.NO_DELAY)),
    ],
)  # fmt: skip
def test_decision(
    ready: dict[int, Waiting], rules: SlotRules, now_ms: int, decision: RunSlots | WaitForSlots
) -> None:
    assert choose(ready, rules, now_ms * MS) == decision


@pytest.mark.slow
@given(
    ready=st.dictionaries(
        st.integers(0, 7), st.builds(Waiting, st.integers(0, 9), st.sampled_from("ab")), min_size=1
    ),
    utilization=st.sampled_from([0.0, 0.25, 1.0]),
    delay=st.sampled_from([0, 5]),
    now=st.integers(9, 20),
)
def test_every_decision_is_lawful(
    ready: dict[int, Waiting], utilization: float, delay: int, now: int
) -> None:
    decision = choose(ready, SlotRules(8, delay, utilization), now)
    oldest = min(waiting.enqueued_ns for waiting in ready.values())
    if isinstance(decision, WaitForSlots):
        assert now < decision.at_ns == oldest + delay
        return
    keys = {ready[place].key for place in decision.positions}
    assert len(keys) == 1
    assert any(ready[place].enqueued_ns == oldest for place in decision.positions)
    assert all(place in decision.positions for place in ready if ready[place].key in keys)


# --- the queue ---------------------------------------------------------------------------------------------------


class Nobody:
    def respond(self, response: object) -> None:
        """Nobody asks."""

    def end(self, error: object = None) -> None:
        """Nobody asks."""


def pending(slot: int, *, shape: tuple[int, ...] = (1, 2), end: bool = False) -> Pending:
    inputs = {"A": np.ones(shape, np.float32), "B": np.full(shape, b"x", object)}
    request = InferRequest("m", inputs, batch_key=shape, sequence=SequenceStep(slot + 1, end=end, slot=slot))
    return Pending(request, Nobody())


def filled(*slots: int, active: tuple[int, ...] = (), stride: int = 1) -> SlotQueue:
    queue = SlotQueue(SlotRules(8), stride)
    for slot in {*slots, *active}:
        queue.occupy(slot)
    for slot in slots:
        assert queue.put(pending(slot))
    return queue


def rows(queue: SlotQueue) -> list[int]:
    """The ids of the next batch, 0 for null requests."""
    batch = queue.take()
    assert batch is not None
    found = []
    for member in batch.members:
        assert member.request.sequence is not None
        found.append(int(member.request.sequence.id))
    return found


def test_the_request_of_a_slot_is_at_its_place() -> None:  # 5.3
    assert rows(filled(3, 1)) == [0, 2, 0, 4]


def test_the_batch_reaches_up_to_the_last_active_slot() -> None:  # 5.3
    assert rows(filled(0, active=(2,))) == [1, 0, 0]
    queue = filled(0, active=(2,))
    queue.vacate(2)
    assert rows(queue) == [1]


def test_a_sequence_that_was_taken_to_its_end_is_active_no_longer() -> None:
    queue = filled(0, active=(2,))
    queue.put(pending(2, end=True))
    assert rows(queue) == [1, 0, 3]
    queue.put(pending(0))
    assert rows(queue) == [1]


def test_slots_of_several_instances() -> None:
    # Of three instances, this one has the slots 1, 4, 7.
    assert rows(filled(1, 7, stride=3)) == [2, 0, 8]


def test_null_requests_are_zeros_of_the_shapes_of_a_real_one() -> None:  # 4.4
    batch = filled(1).take()
    assert batch is not None
    null, real = batch.members
    assert (null.is_null, null.done, null.rows, null.request.id) == (True, True, 1, "")
    assert null.request.sequence == SequenceStep(0, ready=False)
    assert null.request.inputs["A"].tolist() == [[0, 0]]
    assert null.request.inputs["B"].tolist() == [[b"", b""]]
    assert {name: array.dtype for name, array in null.request.inputs.items()} == {
        name: array.dtype for name, array in real.request.inputs.items()
    }


def test_what_is_put_back_is_taken_again_in_its_place() -> None:
    queue = filled(1)
    batch = queue.take()
    assert batch is not None
    assert queue.put_back(batch)
    assert rows(queue) == [0, 2]


def test_discard_takes_out_the_very_request() -> None:
    queue = SlotQueue(SlotRules(2))
    first, other = pending(0), pending(0)
    queue.put(first)
    assert not queue.discard(other)
    assert queue.discard(first)
    assert not queue.discard(first)
    assert len(queue) == 0


def test_a_closed_queue_gives_what_is_left_and_takes_nothing() -> None:
    queue = SlotQueue(SlotRules(4, 3_600_000 * MS, 1.0))
    queue.put(pending(0))
    queue.close()
    assert not queue.put(pending(1))
    assert rows(queue) == [1]
    assert queue.take() is None


def test_abandon_returns_what_is_left() -> None:
    queue = filled(0, 2)
    assert len(queue.abandon()) == 2
    queue.close()
    assert queue.take() is None


def test_an_instance_sleeps_until_there_is_something() -> None:
    queue = SlotQueue(SlotRules(2))
    found: list[list[int]] = []

    def work() -> None:
        while len(found) < 50:
            found.append(rows(queue))

    thread = threading.Thread(target=work)
    thread.start()
    while len(found) < 50:
        before = len(found)
        queue.put(pending(1))
        while len(found) == before and thread.is_alive():
            thread.join(0.001)
    thread.join(60)
    assert found == [[0, 2]] * 50
