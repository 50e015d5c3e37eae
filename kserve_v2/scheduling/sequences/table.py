"""Which sequences are live, who holds which slot, and who is next: the sequence batcher's decisions, without a clock.

A sequence holds a slot from its first request to its end: END, silence, or a request that was given up. Sequences for
which there is no slot wait in the backlog, in the order of their first requests. At most one request of a sequence is
under way at a time; the others wait for it, in order.

Every method returns what is to be done about it, in order. All of this happens on the event loop's thread.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Generic, NamedTuple, Protocol, TypeVar

from kserve_v2.errors import (
    InvalidArgumentError,
    RequestCancelledError,
    ServingError,
    UnavailableError,
    shortened,
)
from kserve_v2.messages import SequenceStep
from kserve_v2.tensors.datatypes import Array


class Item(Protocol):
    """One request of a sequence. `timeout_ns`: how long its sequence may wait for a slot, 0 for ever."""

    @property
    def step(self) -> SequenceStep: ...

    @property
    def timeout_ns(self) -> int: ...


T = TypeVar("T", bound=Item)


class Begin(NamedTuple, Generic[T]):
    """Have the request executed: it is its sequence's turn."""

    item: T


class Refuse(NamedTuple, Generic[T]):
    """End a request that has not begun."""

    item: T
    error: ServingError


class Occupy(NamedTuple):
    """A sequence holds this slot from now on."""

    slot: int


class Vacate(NamedTuple):
    """No sequence holds this slot any more."""

    slot: int


SERVER_STOPS = "Server is stopping"

Effect = Begin[T] | Refuse[T] | Occupy | Vacate


class Live(Generic[T]):
    """One sequence that has begun and is not over.

    `slot`: -1 while it waits for one. `open`: whether it takes more requests. `asked`: the version that its first
    request asked for. `deadline_ns`: when it gives up waiting for a slot, 0 for never.
    """

    __slots__ = ("asked", "deadline_ns", "id", "open", "running", "slot", "state", "waiting")

    def __init__(self, sequence_id: int | str, asked: str) -> None:
        self.id = sequence_id
        self.asked = asked
        self.slot = -1
        self.open = True
        self.deadline_ns = 0
        self.running: T | None = None
        self.waiting: deque[T] = deque()
        self.state: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"<Live {self.id!r} slot={self.slot} waiting={len(self.waiting)} open={self.open}>"


class SequenceTable(Generic[T]):
    """The sequences of one loaded version."""

    def __init__(self, model_name: str, slots: int, idle_ns: int) -> None:
        """`slots`: how many sequences may be under way at a time. `idle_ns`: after how much silence one ends."""
        self.closed = ""
        """Why new sequences are refused; "" while they are not."""
        self._model_name = model_name
        self._idle_ns = idle_ns
        self._slots = slots
        # How many have been used, and those of them that are free: a model may have millions of slots.
        self._used = 0
        self._free: list[int] = []
        # By id: those that take more requests. A sequence that has got its END has left, and its id may begin anew.
        self._open: dict[int | str, Live[T]] = {}
        # By id, all of them, the first one in front. It alone is executed: models may know sequences by their ids.
        self._lines: dict[int | str, list[Live[T]]] = {}
        self._of: dict[T, Live[T]] = {}
        self._holders: dict[Live[T], None] = {}
        # Ordered dictionaries as queues: removal from the middle takes constant time.
        self._backlog: OrderedDict[Live[T], None] = OrderedDict()
        # When each sequence fell silent; the first has been so for longest.
        self._idle: OrderedDict[Live[T], int] = OrderedDict()
        # Of backlogged sequences; outdated entries are passed over.
        self._deadlines: list[tuple[int, int, Live[T]]] = []
        self._numbered = 0

    def __len__(self) -> int:
        """How many sequences are live, those in the backlog included."""
        return len(self._holders) + len(self._backlog)

    def __repr__(self) -> str:
        return (
            f"<SequenceTable {len(self._holders)} with a slot, of {self._slots}, "
            f"{len(self._backlog)} in the backlog>"
        )

    @property
    def silent(self) -> int:
        """How many sequences have no request, neither one that waits nor one that has begun."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(live.waiting) for live in (*self._holders, *self._backlog))

    @property
    def ids(self) -> list[int | str]:
        """Those of the sequences that take further requests."""
        return list(self._open)

    def find(self, sequence_id: int | str) -> Live[T] | None:
        """The sequence that takes further requests under this id."""
        return self._open.get(sequence_id)

    # --- what happens ---------------------------------------------------------------------------------------------

    def add(self, item: T, now_ns: int, asked: str = "") -> list[Effect[T]]:
        """A request has come. Raises the error of one that cannot be: then nothing has changed.

        START for a sequence that is live ends that and begins the next one, in the same slot.
        """
        step = item.step
        live = self._open.get(step.id)
        if step.start and self.closed:
            raise stopping(self.closed)
        if live is None and not step.start:
            raise InvalidArgumentError(
                f"inference request for sequence {shortened(str(step.id))} to model '{self._model_name}' must specify "
                "the START flag on the first request of the sequence"
            )
        effects: list[Effect[T]] = []
        if live is None:
            live = self._open[step.id] = Live(step.id, asked)
            self._lines.setdefault(step.id, []).append(live)
            self._backlog[live] = None
            self._fill_slots(effects)
        elif step.start:
            live.asked = asked
        self._idle.pop(live, None)
        self._of[item] = live
        live.waiting.append(item)
        if step.end:
            self._close(live)
        if item.timeout_ns and live.slot < 0:
            self._set_deadline(live, now_ns + item.timeout_ns)
        self._advance(live, effects)
        return effects

    def ended(self, item: T, now_ns: int) -> list[Effect[T]]:
        """A request that had begun is over, whatever its outcome."""
        effects: list[Effect[T]] = []
        live = self._of.pop(item)
        live.running = None
        self._go_on(live, now_ns, effects)
        return effects

    def again(self, item: T) -> list[Effect[T]]:
        """A request that had begun is to be executed once more, before all others of its sequence."""
        item.step.start = False
        return [Begin(item)]

    def given_up(self, item: T, now_ns: int) -> list[Effect[T]]:
        """Nobody waits for the answer to a request. Its sequence ends with it: a model that has missed a step would
        answer the following ones wrongly. If it has begun, `ended` has to follow.
        """
        live = self._of.get(item)
        if live is None:
            return []
        effects: list[Effect[T]] = []
        waiting = list(live.waiting)
        first, last = _episode(waiting, waiting.index(item) if item is not live.running else -1)
        if last == len(waiting) and live.open:
            self._close(live)
        live.waiting = deque([*waiting[:first], *waiting[last:]])
        for other in waiting[first:last]:
            del self._of[other]
            if other is not item:
                effects.append(Refuse(other, self._cancelled(live)))
        self._go_on(live, now_ns, effects)
        return effects

    def finish(self, sequence_id: int | str, now_ns: int) -> list[Effect[T]]:
        """A sequence takes no more requests: its id begins anew elsewhere."""
        effects: list[Effect[T]] = []
        live = self._open.get(sequence_id)
        if live is not None:
            self._close(live)
            self._go_on(live, now_ns, effects)
        return effects

    def passed(self, now_ns: int) -> list[Effect[T]]:
        """Time has passed: end what has been silent, or has waited for a slot, for too long."""
        effects: list[Effect[T]] = []
        while self._idle:
            live, since_ns = next(iter(self._idle.items()))
            if since_ns + self._idle_ns > now_ns:
                break
            del self._idle[live]
            self._close(live)
            self._go_on(live, now_ns, effects)
        while (at_ns := self._next_deadline()) and at_ns <= now_ns:
            _, _, live = heappop(self._deadlines)
            expired = "timeout of the corresponding sequence has been expired"
            self._drop(live, UnavailableError(expired), effects)
        return effects

    def abandon(self, error: ServingError) -> list[Effect[T]]:
        """End all sequences. What has begun is still to be `ended`."""
        self.closed = self.closed or SERVER_STOPS
        effects: list[Effect[T]] = []
        for live in (*self._holders, *self._backlog):
            self._drop(live, error, effects, refill=False)
        return effects

    def lose(self, holds: Callable[[int], bool], error: ServingError) -> tuple[list[Effect[T]], list[T]]:
        """What the model knew of the sequences in some slots is gone: end them. Returns as well the requests of theirs
        that have begun, which are still to be `ended`.
        """
        effects: list[Effect[T]] = []
        begun: list[T] = []
        for live in [each for each in self._holders if holds(each.slot)]:
            if live.running is not None:
                begun.append(live.running)
            self._drop(live, error, effects)
        return effects, begun

    def next_event_ns(self) -> int | None:
        """When `passed` will have something to do, if nothing else happens."""
        times = [next(iter(self._idle.values())) + self._idle_ns] if self._idle else []
        if deadline_ns := self._next_deadline():
            times.append(deadline_ns)
        return min(times, default=None)

    # --- how -------------------------------------------------------------------------------------------------------

    def _cancelled(self, live: Live[T]) -> RequestCancelledError:
        return RequestCancelledError(
            f"the request was cancelled: sequence {shortened(str(live.id))} of model '{self._model_name}' has ended "
            "with the cancellation of another request"
        )

    def _close(self, live: Live[T]) -> None:
        if live.open:
            live.open = False
            del self._open[live.id]
        self._idle.pop(live, None)

    def _fill_slots(self, effects: list[Effect[T]]) -> None:
        while self._backlog and (self._free or self._used < self._slots):
            live, _ = self._backlog.popitem(last=False)
            if not self._free:
                self._free.append(self._used)
                self._used += 1
            live.slot = heappop(self._free)
            live.deadline_ns = 0
            self._holders[live] = None
            effects.append(Occupy(live.slot))
            self._advance(live, effects)

    def _advance(self, live: Live[T], effects: list[Effect[T]]) -> None:
        """Begin the next request of a sequence, if it is its turn."""
        waits = live.slot < 0 or live.running is not None or self._lines[live.id][0] is not live
        if waits or not live.waiting:
            return
        live.running = item = live.waiting.popleft()
        step = item.step
        if step.start:
            live.state = {}
        step.slot, step.state = live.slot, live.state
        effects.append(Begin(item))

    def _go_on(self, live: Live[T], now_ns: int, effects: list[Effect[T]]) -> None:
        """Something of a sequence is over: begin its next request, or else, if it is over as a whole, the next one."""
        self._advance(live, effects)
        if live.running is not None or live.waiting:
            return
        if live.slot < 0:
            # All that it had were requests that were given up.
            self._close(live)
            self._over(live, effects)
        elif not live.open:
            self._over(live, effects)
            self._fill_slots(effects)
        else:
            self._idle[live] = now_ns
            self._idle.move_to_end(live)

    def _over(self, live: Live[T], effects: list[Effect[T]]) -> None:
        """A sequence is over: its slot, and its id, are for others."""
        if live.slot < 0:
            self._backlog.pop(live, None)
        else:
            del self._holders[live]
            heappush(self._free, live.slot)
            effects.append(Vacate(live.slot))
        line = self._lines[live.id]
        line.remove(live)
        if line:
            self._advance(line[0], effects)
        else:
            del self._lines[live.id]

    def _drop(
        self, live: Live[T], error: ServingError, effects: list[Effect[T]], *, refill: bool = True
    ) -> None:
        """End a sequence and all of its requests that have not begun."""
        self._close(live)
        for item in live.waiting:
            del self._of[item]
            effects.append(Refuse(item, error))
        live.waiting.clear()
        if live.slot < 0 or live.running is None:
            self._over(live, effects)
            if refill:
                self._fill_slots(effects)

    def _set_deadline(self, live: Live[T], at_ns: int) -> None:
        if not live.deadline_ns or at_ns < live.deadline_ns:
            live.deadline_ns = at_ns
            self._numbered += 1
            heappush(self._deadlines, (at_ns, self._numbered, live))

    def _next_deadline(self) -> int:
        """The next one that holds; 0 if there is none."""
        while self._deadlines:
            at_ns, _, live = self._deadlines[0]
            if live in self._backlog and live.deadline_ns == at_ns:
                return at_ns
            heappop(self._deadlines)
        return 0


def finishes(model: str, version: int | str) -> str:
    """Why a version that was replaced or unloaded takes no new sequence."""
    return f"version {version} of model '{model}' was replaced or unloaded and only finishes the sequences it has begun"


def stopping(why: str, kind: type[UnavailableError] = UnavailableError) -> UnavailableError:
    """The refusal of a new sequence by what goes away. Triton has these words for `SERVER_STOPS`, also where it is the
    model alone that goes.
    """
    return kind(f"{why}, scheduler for model has stopped accepting new inference requests")


def _episode(waiting: Sequence[Item], index: int) -> tuple[int, int]:
    """Where the sequence begins and ends that a request is part of: another one may begin with each START. `index`: of
    the request, -1 for one that has begun already.
    """
    starts = [number for number, item in enumerate(waiting) if item.step.start]
    first = max((number for number in starts if number <= index), default=0)
    last = min((number for number in starts if number > index), default=len(waiting))
    return first, last
