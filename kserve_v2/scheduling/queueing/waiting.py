"""The requests that wait for an instance, in the order in which they will be executed."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Leveled(Protocol):
    """What is looked at in a request: the index of its level of priority."""

    level: int


E = TypeVar("E", bound=Leveled)


class WaitingRequests(Generic[E]):
    """Requests of every level of priority; not safe for threads.

    Their order: level by level, the highest priority first. In each level those whose time has not run out, as they
    came; then the delayed ones, in the order in which it did.
    """

    __slots__ = ("_lines", "_sizes")

    def __init__(self, sizes: Sequence[int] = (0,)) -> None:
        """`sizes`: most requests that may wait on each level, 0 for any number."""
        self._sizes = tuple(sizes)
        # Two lines for each level: those who wait, and behind them those who were delayed. Ordered dictionaries,
        # because cancellations and time-outs take requests out of the middle.
        self._lines: tuple[OrderedDict[E, None], ...] = tuple(OrderedDict() for _ in range(2 * len(sizes)))

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def __bool__(self) -> bool:
        return any(self._lines)

    def __iter__(self) -> Iterator[E]:
        return chain.from_iterable(self._lines)

    def __contains__(self, entry: E) -> bool:
        return any(entry in line for line in self._lines_of(entry))

    @property
    def levels(self) -> list[int]:
        """How many requests wait on each level."""
        lines = self._lines
        return [len(lines[n]) + len(lines[n + 1]) for n in range(0, len(lines), 2)]

    def is_full(self, level: int) -> bool:
        """Whether a level has no room for another request."""
        size = self._sizes[level]
        return size > 0 and len(self._lines[2 * level]) + len(self._lines[2 * level + 1]) >= size

    def append(self, entry: E) -> None:
        """Put a request at the end of its level, in front of the delayed ones."""
        self._lines[2 * entry.level][entry] = None

    def put_back(self, entries: Sequence[E]) -> None:
        """Put requests that were popped in front of their levels again."""
        for entry in reversed(entries):
            line = self._lines[2 * entry.level]
            line[entry] = None
            line.move_to_end(entry, last=False)

    def remove(self, entry: E) -> bool:
        """Take a request out. False: it is not there."""
        for line in self._lines_of(entry):
            if entry in line:
                del line[entry]
                return True
        return False

    def delay(self, entry: E) -> bool:
        """Put a request behind all others of its level. False: it is not there, or was delayed already."""
        waiting, delayed = self._lines_of(entry)
        if entry not in waiting:
            return False
        del waiting[entry]
        delayed[entry] = None
        return True

    def in_order(self) -> Iterable[E]:
        """All of them, as by iteration, in the form that is the quickest to walk along."""
        lines = [line for line in self._lines if line]
        return lines[0] if len(lines) == 1 else chain.from_iterable(lines)

    def pop(self, count: int) -> list[E]:
        """Take out the first `count` requests; there are as many."""
        popped: list[E] = []
        for line in self._lines:
            if count >= len(line):
                popped += line
                count -= len(line)
                line.clear()
            else:
                popped += [line.popitem(last=False)[0] for _ in range(count)]
                break
        return popped

    def _lines_of(self, entry: E) -> tuple[OrderedDict[E, None], ...]:
        return self._lines[2 * entry.level : 2 * entry.level + 2]
