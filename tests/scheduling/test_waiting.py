"""The order of waiting requests, against a list that is sorted anew each time."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kserve_v2.scheduling.queueing.waiting import WaitingRequests

SIZES = (2, 0, 3)


@dataclass(eq=False)
class Entry:
    level: int
    number: int


@dataclass
class Model:
    """What must hold: requests, and the place of each as a key to sort by."""

    places: dict[Entry, tuple[int, bool, int]] = field(default_factory=dict)

    def order(self) -> list[Entry]:
        return sorted(self.places, key=self.places.__getitem__)


class WaitingMachine(RuleBasedStateMachine):
    """Every operation, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: WaitingRequests[Entry] = WaitingRequests(SIZES)
        self.model = Model()
        self.clock = 0
        self.front = 0
        self.gone: list[Entry] = []
        self.popped: list[Entry] = []

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    @rule(level=st.sampled_from(range(len(SIZES))))
    def append(self, level: int) -> None:
        waiting = [entry for entry in self.model.places if entry.level == level]
        assert self.waiting.is_full(level) == (SIZES[level] > 0 and len(waiting) >= SIZES[level])
        if not self.waiting.is_full(level):
            entry = Entry(level, self.tick())
            self.waiting.append(entry)
            self.model.places[entry] = (level, False, self.clock)

    @precondition(lambda self: self.model.places)
    @rule(data=st.data())
    def delay(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model.order()))
        level, delayed, _ = self.model.places[entry]
        assert self.waiting.delay(entry) == (not delayed)
        if not delayed:
            self.model.places[entry] = (level, True, self.tick())

    @precondition(lambda self: self.model.places)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model.order()))
        assert self.waiting.remove(entry)
        del self.model.places[entry]
        self.gone.append(entry)

    @precondition(lambda self: self.model.places)
    @rule(data=st.data())
    def pop(self, data: st.DataObject) -> None:
        order = self.model.order()
        count = data.draw(st.integers(1, len(order)))
        self.popped = self.waiting.pop(count)
        assert self.popped == order[:count]
        for entry in self.popped:
            del self.model.places[entry]
        self.gone += self.popped

    @precondition(lambda self: self.popped)
    @rule()
    def put_back(self) -> None:
        self.waiting.put_back(self.popped)
        for entry in reversed(self.popped):
            self.front -= 1
            self.model.places[entry] = (entry.level, False, self.front)
        self.gone = [entry for entry in self.gone if entry not in self.popped]
        self.popped = []

    @invariant()
    def same(self) -> None:
        order = self.model.order()
        assert list(self.waiting) == list(self.waiting.in_order()) == order
        assert len(self.waiting) == sum(self.waiting.levels) == len(order)
        assert bool(self.waiting) == bool(order)
        assert all(entry in self.waiting for entry in order)

    @invariant()
    def what_is_gone_stays_gone(self) -> None:
        for entry in self.gone:
            assert entry not in self.waiting
            assert not self.waiting.remove(entry)
            assert not self.waiting.delay(entry)


TestWaiting = WaitingMachine.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_order_of_the_documents() -> None:
    """scheduling.md 2.1 and 2.9."""
    waiting: WaitingRequests[Entry] = WaitingRequests((0, 0, 0))
    entries = {
        name: Entry(level - 1, 0) for name, level in (("a3", 3), ("b2", 2), ("c1", 1), ("d2", 2), ("e1", 1))
    }
    for entry in entries.values():
        waiting.append(entry)
    names = {entry: name for name, entry in entries.items()}
    assert [names[entry] for entry in waiting] == ["c1", "e1", "b2", "d2", "a3"]
    waiting.delay(entries["c1"])
    waiting.delay(entries["b2"])
    assert [names[entry] for entry in waiting] == ["e1", "c1", "d2", "b2", "a3"]
