"""What is measured of a model, and when it is trusted to be executed in place. No clock but the test's."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.scheduling.executing.quickness import (
    HAND_OVER_WEIGHT,
    MAX_NS,
    MAX_ROWS_NS,
    QUICK_AGAIN,
    STALL_NS,
    CpuTime,
    Quickness,
    smoothed,
)

MILLISECOND = 1_000_000


class Machine:
    """A thread that executes models, and how long it has lived and computed."""

    def __init__(self) -> None:
        self.now_ns = self.cpu_ns = 0
        self.cpu_time = CpuTime(lambda: self.cpu_ns, 0)
        self.quickness = self.model()

    def model(self) -> Quickness:
        """What is measured of one more model."""
        return Quickness(lambda: self.now_ns, self.cpu_time)

    def compute(self, cpu_ns: int) -> None:
        """Something else, for so long."""
        self.now_ns += cpu_ns
        self.cpu_ns += cpu_ns

    def execute(self, cpu_ns: int, waited_ns: int = 0, rows: int = 1) -> None:
        """An execution in place that computes, and waits for a CPU, for so long."""
        self.cpu_time.begins(self.now_ns)
        self.compute(cpu_ns)
        self.now_ns += waited_ns
        self.quickness.executed_here(cpu_ns + waited_ns, self.now_ns, rows)

    def execute_there(self, took_ns: int, times: int = 1) -> None:
        for _ in range(times):
            self.quickness.executed_there(took_ns)

    def execute_there_until_trusted(self) -> int:
        """How many quick executions on the thread that takes."""
        count = 0
        while self.quickness.distrusted:
            self.execute_there(10_000)
            count += 1
        return count


@pytest.fixture
def machine() -> Machine:
    """One on which hand-overs take 0.1 ms, and the model 0.01 ms."""
    made = Machine()
    for _ in range(200):
        made.quickness.executed_there(10_000)
        made.quickness.handed_over(100_000)
    for _ in range(100):
        made.execute(10_000)
    assert made.quickness.quick
    return made


def settled(learn: Callable[[int], None], took_ns: int) -> None:
    for _ in range(300):
        learn(took_ns)


@pytest.mark.parametrize(
    ("execution_ns", "hand_over_ns", "quick"),
    [
        (1_000, 50_000, True),
        (HAND_OVER_WEIGHT * 50_000 - 1_000, 50_000, True),
        (HAND_OVER_WEIGHT * 50_000 + 1_000, 50_000, False),
        # However slow threads are: the loop is not held up for longer than this.
        (MAX_NS - 1_000, 10 * MAX_NS, True),
        (MAX_NS + 1_000, 10 * MAX_NS, False),
    ],
)
def test_the_quicker_way_is_taken(execution_ns: int, hand_over_ns: int, quick: bool) -> None:
    machine = Machine()
    assert not machine.quickness.quick
    settled(machine.quickness.handed_over, hand_over_ns)
    settled(machine.quickness.executed_there, execution_ns)
    assert machine.quickness.quick is quick


def test_one_slow_measurement_changes_little_and_many_change_all() -> None:
    """A busy machine makes some executions wait for a CPU; a model that has become slow is noticed all the same."""
    assert smoothed(10_000, 5_000_000) == 10_625
    expected = 10_000.0
    for _ in range(200):
        expected = smoothed(expected, 5_000_000)
    assert 4_900_000 < expected <= 5_000_000
    assert smoothed(10_000, 2_000) == 8_000


@given(st.lists(st.integers(0, 10 * MILLISECOND), max_size=50))
def test_an_execution_weighs_the_same_wherever_it_was(took_ns: list[int]) -> None:
    machine = Machine()
    here, there = machine.model(), machine.model()
    for each in took_ns:
        here.executed_here(each, 0)
        there.executed_there(each)
        assert here.execution_ns == there.execution_ns


@pytest.mark.parametrize("took_ns", [MAX_NS + 1, 20_000 * MILLISECOND])
def test_one_execution_that_computes_for_too_long_is_enough(machine: Machine, took_ns: int) -> None:
    machine.execute(took_ns)
    assert machine.quickness.distrusted
    assert not machine.quickness.quick


@pytest.mark.parametrize(
    ("rows", "took_ns", "distrusted"),
    [
        (2, 2 * MAX_NS, False),
        (2, 2 * MAX_NS + 1, True),
        (8, 7 * MAX_NS, False),
        (1000, MAX_ROWS_NS, False),
        (1000, MAX_ROWS_NS + 1, True),
    ],
)
def test_many_rows_may_take_longer_up_to_a_limit(
    machine: Machine, rows: int, took_ns: int, distrusted: bool
) -> None:
    machine.execute(took_ns, rows=rows)
    assert machine.quickness.distrusted is distrusted
    if distrusted:
        machine.quickness.executed_there(took_ns, rows)
        machine.execute_there(10_000, QUICK_AGAIN)
        assert machine.quickness.distrusted


def test_one_that_has_waited_for_a_cpu_is_not_the_model_s_fault(machine: Machine) -> None:
    for _ in range(50):
        machine.execute(10_000, waited_ns=10 * MILLISECOND)
        assert not machine.quickness.distrusted
        for _ in range(100):
            machine.execute(10_000)
    assert machine.quickness.quick


@pytest.mark.parametrize("other_ns", [10_000, 400_000, 40 * MILLISECOND])
@pytest.mark.parametrize("waited_ns", [MAX_NS, MILLISECOND, 3 * MILLISECOND])
def test_what_the_thread_has_computed_before_is_not_the_model_s_fault(
    machine: Machine, other_ns: int, waited_ns: int
) -> None:
    """A request now and then, among those to other models or a large body."""
    for _ in range(50):
        machine.compute(other_ns)
        machine.execute(10_000, waited_ns=waited_ns)
        assert not machine.quickness.distrusted


@pytest.mark.parametrize("idle_ns", [0, 10_000, MILLISECOND])
def test_one_of_many_models_that_computes_for_too_long_is_found(machine: Machine, idle_ns: int) -> None:
    """Whether the thread has computed for others, or waited, before."""
    machine.compute(MILLISECOND)
    machine.now_ns += idle_ns
    machine.execute(MILLISECOND)
    assert machine.quickness.distrusted


def test_what_takes_too_long_for_that_is_slow_whatever_it_does(machine: Machine) -> None:
    machine.execute(10_000, waited_ns=STALL_NS)
    assert machine.quickness.distrusted


def test_it_is_trusted_again_when_it_has_been_quick_on_its_thread(machine: Machine) -> None:
    machine.execute(MILLISECOND)
    machine.execute_there(10_000, QUICK_AGAIN - 1)
    assert not machine.quickness.quick
    machine.execute_there(10_000)
    assert machine.quickness.quick


def test_hand_overs_go_on_being_measured_meanwhile(machine: Machine) -> None:
    machine.execute(MILLISECOND)
    settled(machine.quickness.handed_over, 50_000)
    assert not machine.quickness.quick
    machine.execute_there(10_000, QUICK_AGAIN)
    assert machine.quickness.limit_ns == pytest.approx(HAND_OVER_WEIGHT * 50_000, rel=0.01)


def test_being_slow_on_the_thread_sets_it_back(machine: Machine) -> None:
    machine.execute(MILLISECOND)
    machine.execute_there(10_000, QUICK_AGAIN - 1)
    machine.execute_there(MAX_NS + 1)
    machine.execute_there(10_000, QUICK_AGAIN - 1)
    assert machine.quickness.distrusted


def test_each_time_it_has_to_be_quick_for_longer(machine: Machine) -> None:
    """One slow request in a thousand holds the loop up ever more rarely."""
    needed = []
    for _ in range(5):
        machine.execute(MILLISECOND)
        needed.append(machine.execute_there_until_trusted())
    assert needed == [QUICK_AGAIN * 2**n for n in range(5)]


@pytest.mark.parametrize(
    ("slow_ns", "needed"),
    [(MILLISECOND, [QUICK_AGAIN] * 4), (STALL_NS + 1, [QUICK_AGAIN * 2**n for n in range(4)])],
)
def test_after_long_without_a_fault_a_little_one_is_forgiven(
    machine: Machine, slow_ns: int, needed: list[int]
) -> None:
    """A machine that does something else now and then must not take a quick model off the loop for good."""
    found = []
    for _ in range(4):
        machine.execute(slow_ns)
        found.append(machine.execute_there_until_trusted())
        for _ in range(100_000):
            machine.execute(10_000)
    assert found == needed


@pytest.mark.parametrize("every", [2, 10, 100, 1000])
def test_slow_requests_among_quick_ones_hold_up_the_loop_a_few_times_only(
    machine: Machine, every: int
) -> None:
    """Whoever sends them, however long: one in `every` takes 20 s."""
    held_up = 0
    for number in range(50 * every):
        took_ns = 20_000 * MILLISECOND if number % every == every - 1 else 10_000
        if machine.quickness.quick:
            machine.execute(took_ns)
            held_up += took_ns > MILLISECOND
        else:
            machine.execute_there(took_ns)
    assert 1 <= held_up <= 6
