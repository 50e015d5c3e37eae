"""The sequence batcher's decisions: a table of cases, and random runs against a small model of what must hold."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError, RequestCancelledError, ServingError, UnavailableError
from kserve_v2.messages import SequenceStep
from kserve_v2.scheduling.sequences.table import SERVER_STOPS, Begin, Occupy, Refuse, SequenceTable, Vacate

MS = 1_000_000
IDLE = 1000 * MS
EXPIRED = "timeout of the corresponding sequence has been expired"


@dataclass(eq=False)
class Item:
    name: str
    step: SequenceStep
    timeout_ns: int = 0

    def __repr__(self) -> str:
        return self.name


class Desk:
    """A table, with the requests of a test by their names. `b+` is START, `b.` END, `b+.` both, `b` neither."""

    def __init__(self, slots: int) -> None:
        self.table: SequenceTable[Item] = SequenceTable("M", slots, IDLE)
        self.now = 0
        self.items: dict[str, Item] = {}
        self.begun: list[str] = []
        self.refused: dict[str, ServingError] = {}
        self.slots: list[tuple[str, int]] = []

    def add(self, name: str, timeout_ms: int = 0) -> str:
        sequence = name.rstrip("+.")
        step = SequenceStep(sequence, start="+" in name, end="." in name)
        label = name
        while label in self.items:
            label += "'"
        item = self.items[label] = Item(label, step, timeout_ms * MS)
        try:
            self.apply(self.table.add(item, self.now))
        except ServingError:
            del self.items[label]
            raise
        return label

    def apply(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Begin(item):
                    self.begun.append(item.name)
                case Refuse(item, error):
                    self.refused[item.name] = error
                case Occupy(slot):
                    self.slots.append(("occupy", slot))
                case Vacate(slot):
                    self.slots.append(("vacate", slot))

    def end(self, name: str) -> None:
        self.apply(self.table.ended(self.items[name], self.now))

    def give_up(self, name: str) -> None:
        self.apply(self.table.given_up(self.items[name], self.now))

    def wait(self, ms: int) -> None:
        self.now += ms * MS
        self.apply(self.table.passed(self.now))


def refusal(desk: Desk, name: str) -> str:
    with pytest.raises(InvalidArgumentError) as raised:
        desk.add(name)
    return raised.value.message


def start_text(sequence: str) -> str:
    return (
        f"inference request for sequence {sequence} to model 'M' must specify the START flag on the first request of "
        "the sequence"
    )


@pytest.mark.parametrize("name", ["a", "a."])
def test_a_sequence_begins_with_start(name: str) -> None:
    assert refusal(Desk(1), name) == start_text("a")


@pytest.mark.parametrize("last", ["a.", "a+."])
def test_nothing_follows_the_end(last: str) -> None:
    desk = Desk(1)
    desk.add("a+")
    desk.add(last)
    assert refusal(desk, "a") == start_text("a")


def test_7_and_text_7_are_two_sequences() -> None:
    table: SequenceTable[Item] = SequenceTable("M", 2, IDLE)
    for sequence_id in (7, "7"):
        table.add(Item(repr(sequence_id), SequenceStep(sequence_id, start=True)), 0)
    assert len(table) == 2


def test_a_request_waits_for_its_predecessor_alone() -> None:
    desk = Desk(2)
    for name in ("a+", "b+", "a", "b"):
        desk.add(name)
    assert desk.begun == ["a+", "b+"]
    desk.end("b+")
    assert desk.begun == ["a+", "b+", "b"]
    desk.end("a+")
    assert desk.begun == ["a+", "b+", "b", "a"]


def test_start_on_a_live_id_keeps_the_slot_and_forgets_the_state() -> None:
    desk = Desk(2)
    desk.add("a+")
    desk.items["a+"].step.state["s"] = 1  # type: ignore[assignment]
    desk.add("b+")
    for name in ("a", "a+"):
        desk.add(name)
    desk.end("a+")
    assert desk.items["a"].step.state is desk.items["a+"].step.state
    desk.end("a")
    assert desk.begun[-1] == "a+'"
    assert desk.items["a+'"].step.slot == 0
    assert desk.items["a+'"].step.state == {}
    assert len(desk.table) == 2


def test_start_on_a_backlogged_id_keeps_the_place() -> None:
    desk = Desk(1)
    for name in ("a+", "b+", "c+.", "b+.", "a."):
        desk.add(name)
    for name in ("a+", "a.", "b+", "b+.", "c+."):
        desk.end(name)
    assert desk.begun == ["a+", "a.", "b+", "b+.", "c+."]


def test_the_backlog_serves_whole_sequences_in_the_order_of_their_first_requests() -> None:
    desk = Desk(1)
    for name in ("a+", "b+", "c+.", "b", "b.", "b+.", "a."):
        desk.add(name)
    for name in ("a+", "a.", "b+", "b", "b.", "c+.", "b+."):
        desk.end(name)
    assert desk.begun == ["a+", "a.", "b+", "b", "b.", "c+.", "b+."]
    assert len(desk.table) == 0


def test_an_id_that_begins_anew_waits_for_the_end_of_its_last_sequence() -> None:
    desk = Desk(2)
    for name in ("a+", "a.", "a+.", "a+."):
        desk.add(name)
    assert desk.begun == ["a+"]
    for name in ("a+", "a.", "a+."):
        desk.end(name)
    assert desk.begun == ["a+", "a.", "a+.", "a+.'"]
    desk.end("a+.'")
    assert len(desk.table) == 0


def test_the_lowest_free_slot_is_taken() -> None:
    desk = Desk(3)
    for name in ("a+", "b+", "c+"):
        desk.add(name)
    desk.add("b.")
    desk.end("b+")
    desk.end("b.")
    desk.add("a.")
    desk.end("a+")
    desk.end("a.")
    desk.add("d+")
    desk.add("e+")
    assert [desk.items[name].step.slot for name in ("a+", "b+", "c+", "d+", "e+")] == [0, 1, 2, 0, 1]
    assert desk.slots == [
        ("occupy", 0), ("occupy", 1), ("occupy", 2), ("vacate", 1), ("vacate", 0), ("occupy", 0), ("occupy", 1),
    ]  # fmt: skip


def test_a_backlogged_sequence_expires_as_a_whole() -> None:
    desk = Desk(1)
    desk.add("a+")
    desk.add("b+", timeout_ms=500)
    desk.add("b")
    desk.add("b", timeout_ms=100)
    desk.add("c+", timeout_ms=2000)
    assert desk.table.next_event_ns() == 100 * MS
    desk.wait(99)
    assert desk.refused == {}
    desk.wait(1)
    assert {name: (type(error), error.message) for name, error in desk.refused.items()} == dict.fromkeys(
        ("b+", "b", "b'"), (UnavailableError, EXPIRED)
    )
    assert refusal(desk, "b") == start_text("b")
    assert desk.table.next_event_ns() == 2000 * MS


def test_a_timeout_has_no_effect_once_there_is_a_slot() -> None:
    desk = Desk(1)
    desk.add("a+", timeout_ms=10)
    desk.add("a", timeout_ms=10)
    desk.add("b+", timeout_ms=50)
    desk.add("a.")
    for name in ("a+", "a", "a."):
        desk.end(name)
    desk.wait(500)
    assert desk.refused == {}
    assert desk.begun == ["a+", "a", "a.", "b+"]


def test_idle_time_counts_from_the_completion_of_the_last_request() -> None:
    desk = Desk(1)
    desk.add("a+")
    desk.add("b+")
    assert desk.table.next_event_ns() is None
    desk.wait(5000)  # it executes for longer than the idle time
    desk.end("a+")
    desk.wait(600)
    desk.add("a")
    desk.wait(600)
    desk.end("a")
    assert desk.table.next_event_ns() == desk.now + IDLE
    desk.wait(999)
    assert desk.begun == ["a+", "a"]
    desk.wait(1)
    assert desk.begun == ["a+", "a", "b+"]  # the slot goes to the backlog
    assert refusal(desk, "a") == start_text("a")


def test_backlogged_sequences_do_not_idle_out() -> None:
    desk = Desk(1)
    desk.add("a+")
    desk.add("b+")
    desk.wait(100_000)
    desk.add("a.")
    desk.end("a+")
    desk.end("a.")
    assert desk.begun[-1] == "b+"


@pytest.mark.parametrize("given_up", ["a+", "a", "a'"])
def test_a_request_that_is_given_up_ends_its_sequence(given_up: str) -> None:
    desk = Desk(1)
    for name in ("a+", "a", "a", "b+"):
        desk.add(name)
    desk.give_up(given_up)
    others = {"a", "a'"} - {given_up}
    assert {name: type(error) for name, error in desk.refused.items()} == dict.fromkeys(
        others, RequestCancelledError
    )
    assert refusal(desk, "a") == start_text("a")
    assert desk.begun == ["a+"]  # which still executes: its slot is not free
    desk.end("a+")
    assert desk.begun == ["a+", "b+"]


def test_what_is_given_up_in_the_backlog_leaves_it() -> None:
    desk = Desk(1)
    for name in ("a+", "b+", "c+"):
        desk.add(name)
    desk.give_up("b+")
    assert refusal(desk, "b") == start_text("b")
    desk.add("a.")
    desk.end("a+")
    desk.end("a.")
    assert desk.begun == ["a+", "a.", "c+"]
    assert len(desk.table) == 1


def test_giving_up_does_not_end_the_next_sequence_of_the_id() -> None:
    desk = Desk(1)
    for name in ("a+", "a", "a+", "a"):
        desk.add(name)
    desk.give_up("a")
    assert desk.refused == {}
    desk.end("a+")
    desk.end("a+'")
    assert desk.begun == ["a+", "a+'", "a'"]
    desk.add("a")


def test_a_closed_table_takes_no_new_sequence_and_finishes_the_live_ones() -> None:
    desk = Desk(1)
    desk.add("a+")
    desk.table.closed = SERVER_STOPS
    for name in ("b+", "a+", "b+."):
        with pytest.raises(UnavailableError) as raised:
            desk.add(name)
        assert raised.value.message == (
            "Server is stopping, scheduler for model has stopped accepting new inference requests"
        )
    desk.add("a.")
    desk.end("a+")
    desk.end("a.")
    assert len(desk.table) == 0


def test_abandon_ends_all_that_has_not_begun() -> None:
    desk = Desk(2)
    for name in ("a+", "a", "b+", "c+"):
        desk.add(name)
    desk.end("b+")
    desk.apply(desk.table.abandon(UnavailableError("exiting")))
    assert set(desk.refused) == {"a", "c+"}
    assert len(desk.table) == 1
    desk.end("a+")
    assert len(desk.table) == 0
    assert desk.begun == ["a+", "b+"]


def test_finish_lets_what_waits_be_executed_and_takes_no_more() -> None:
    desk = Desk(1)
    desk.add("a+")
    desk.add("a")
    desk.apply(desk.table.finish("a", desk.now))
    assert refusal(desk, "a") == start_text("a")
    desk.end("a+")
    desk.end("a")
    assert desk.begun == ["a+", "a"]
    assert len(desk.table) == 0


# --- random runs -------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Model:
    """One sequence of the reference: `todo` waits, `running` is under way."""

    id: int
    todo: list[Item] = field(default_factory=list)
    running: Item | None = None
    open: bool = True
    slot: bool = False
    deadline: int = 0
    silent_since: int = 0


class Reference:
    """What must hold, in the plainest form: one list of sequences in the order of their first requests."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.sequences: list[Model] = []
        self.events: list[tuple[str, str]] = []

    def live(self, sequence_id: int) -> Model | None:
        return next((s for s in self.sequences if s.id == sequence_id and s.open), None)

    def add(self, item: Item, now: int) -> bool:
        sequence = self.live(int(item.step.id))
        if sequence is None:
            if not item.step.start:
                return False
            sequence = Model(int(item.step.id))
            self.sequences.append(sequence)
            self.settle(now)
        sequence.todo.append(item)
        sequence.open = not item.step.end
        if item.timeout_ns and not sequence.slot:
            sequence.deadline = min(sequence.deadline or now + item.timeout_ns, now + item.timeout_ns)
        self.settle(now)
        return True

    def ended(self, item: Item, now: int) -> None:
        for sequence in self.sequences:
            if sequence.running is item:
                sequence.running, sequence.silent_since = None, now
        self.settle(now)

    def give_up(self, item: Item, now: int) -> None:
        for sequence in self.sequences:
            if item is not sequence.running and item not in sequence.todo:
                continue
            # From the item to both sides, up to where another sequence of that id begins.
            line = ([sequence.running] if sequence.running else []) + sequence.todo
            at = line.index(item)
            low = next((i for i in range(at, -1, -1) if line[i].step.start), 0)
            high = next((i for i in range(at + 1, len(line)) if line[i].step.start), len(line))
            if high == len(line):
                sequence.open = False
            for other in line[low:high]:
                if other is not sequence.running:
                    sequence.todo.remove(other)
                    if other is not item:
                        self.events.append(("refuse", other.name))
        self.settle(now)

    def passed(self, now: int) -> None:
        for sequence in self.sequences:
            silent = sequence.slot and not sequence.running and not sequence.todo
            if silent and sequence.silent_since + IDLE <= now:
                sequence.open = False
        self.settle(now)
        for sequence in self.sequences:
            if not sequence.slot and sequence.deadline and sequence.deadline <= now:
                self.events += [("refuse", item.name) for item in sequence.todo]
                sequence.todo, sequence.open = [], False
        self.settle(now)

    def settle(self, now: int) -> None:
        for _ in range(len(self.sequences) + 1):
            self.sequences = [
                s for s in self.sequences
                if s.running or s.todo or (s.open and s.slot) or (s.open and s is self.sequences[-1] and not s.slot)
            ]  # fmt: skip
            free = self.slots - sum(s.slot for s in self.sequences)
            for sequence in self.sequences:
                if not sequence.slot and free > 0:
                    sequence.slot, sequence.deadline, free = True, 0, free - 1
                earlier = self.sequences[: self.sequences.index(sequence)]
                taken = any(other.id == sequence.id for other in earlier)
                if sequence.slot and not sequence.running and sequence.todo and not taken:
                    sequence.running = sequence.todo.pop(0)
                    self.events.append(("begin", sequence.running.name))


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.integers(1, 4),
            st.booleans(),
            st.booleans(),
            st.sampled_from([0, 0, 0, 300, 1500]),
        ),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("give up"), st.integers(0, 8)),
        st.tuples(st.just("wait"), st.sampled_from([1, 200, 999, 1000, 3000])),
    ),
    max_size=60,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(slots=st.integers(1, 3), actions=ACTIONS)
def test_random_runs_are_those_of_the_reference(slots: int, actions: list[Any]) -> None:
    table: SequenceTable[Item] = SequenceTable("M", slots, IDLE)
    reference = Reference(slots)
    now = 0
    running: list[Item] = []
    waiting: list[Item] = []
    outcomes: dict[str, int] = {}
    gone: set[str] = set()

    def apply(effects: list[Any]) -> None:
        events = []
        for effect in effects:
            if isinstance(effect, Begin):
                waiting.remove(effect.item)
                running.append(effect.item)
                events.append(("begin", effect.item.name))
            elif isinstance(effect, Refuse):
                waiting.remove(effect.item)
                outcomes[effect.item.name] = outcomes.get(effect.item.name, 0) + 1
                events.append(("refuse", effect.item.name))
        assert sorted(events) == sorted(reference.events)
        reference.events = []
        # Never two requests of one sequence at a time, and no more sequences than slots.
        slots_used = [item.step.slot for item in running]
        assert len(set(slots_used)) == len(slots_used)
        assert set(slots_used) <= set(range(slots))
        assert len(table) == len(reference.sequences)

    def finish(item: Item) -> None:
        running.remove(item)
        outcomes[item.name] = outcomes.get(item.name, 0) + 1
        reference.ended(item, now)
        apply(table.ended(item, now))

    for number, action in enumerate(actions):
        match action:
            case "add", sequence_id, start, end, timeout:
                item = Item(f"{number}", SequenceStep(sequence_id, start=start, end=end), timeout * MS)
                taken = reference.add(item, now)
                if taken:
                    waiting.append(item)
                    apply(table.add(item, now))
                else:
                    with pytest.raises(InvalidArgumentError):
                        table.add(item, now)
            case "end", index if running:
                finish(running[index % len(running)])
            case "give up", index if running or waiting:
                everyone = [item for item in (*running, *waiting) if item.name not in gone]
                if everyone:
                    item = everyone[index % len(everyone)]
                    gone.add(item.name)
                    reference.give_up(item, now)
                    if item in waiting:
                        waiting.remove(item)
                        outcomes[item.name] = 1
                    apply(table.given_up(item, now))
            case "wait", ms:
                now += ms * MS
                reference.passed(now)
                apply(table.passed(now))
    # Nothing starves: as long as executions end and time passes, everything has its one outcome.
    while running or waiting or len(table):
        before = (len(waiting), len(table))
        for item in running.copy():
            finish(item)
        now += IDLE
        reference.passed(now)
        apply(table.passed(now))
        assert running or (len(waiting), len(table)) != before or not (waiting or len(table))
    assert set(outcomes.values()) <= {1}
    assert table.next_event_ns() is None
