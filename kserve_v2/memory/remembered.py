"""What was worked out before, by the bytes or the form that it was worked out from.

Clients choose both, so the memory is bounded, and what a client does with it must not cost another one its place:
nothing is kept at first sight, and when there is too much, what has not been used for longest goes, in two generations.
"""

from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# How many keys that came once are told apart from new ones, in each of two generations, unless one says otherwise. Of a
# key that is its hash: two keys with one hash mean that one of them is kept a little early.
_MAX_MARKS = 4096


class Remembered(dict[K, V | None]):
    """`remembered[key]` is the value, or None. To find one costs no more than in a dict."""

    __slots__ = ("_bytes", "_marks", "_max_bytes", "_max_marks", "_older", "_older_marks", "_sizes")

    def __init__(self, max_bytes: int, max_marks: int = _MAX_MARKS) -> None:
        """`max_bytes`: of what is kept, as far as `keep` is told. `max_marks`: keys that came once, by generation."""
        super().__init__()
        self._max_bytes = max_bytes
        self._max_marks = max_marks
        self._bytes = 0
        self._sizes: dict[K, int] = {}
        self._older: dict[K, tuple[V, int]] = {}
        self._marks: dict[int, int] = {}
        self._older_marks: dict[int, int] = {}

    def __missing__(self, key: K) -> V | None:
        """What is used again is young again."""
        if key not in self._older:
            return None
        value, nbytes = self._older.pop(key)
        self._add(key, value, nbytes)
        return value

    def is_seen_again(self, key: K) -> bool:
        """Whether `key` has been asked for before, not long ago: then it is worth its place."""
        return self.sightings(key) > 1

    def sightings(self, key: K) -> int:
        """How often `key` has been asked for, this time included, as far as that is known."""
        mark = hash(key)
        count = self._marks.get(mark, 0)
        if not count:
            count = self._older_marks.get(mark, 0)
            if len(self._marks) >= self._max_marks:
                self._marks, self._older_marks = {}, self._marks
        self._marks[mark] = count + 1
        return count + 1

    def keep(self, key: K, value: V, nbytes: int) -> None:
        """Remember a value, in the place of an earlier one. `nbytes`: about what it and the key take."""
        self.forget(key)
        self._add(key, value, nbytes)

    def forget(self, key: K) -> None:
        """Keep nothing for this key."""
        self._older.pop(key, None)
        if key in self:
            self._bytes -= self._sizes.pop(key)
            del self[key]

    def forget_all(self) -> None:
        """Keep nothing: what all of it depends on has changed."""
        if self or self._older:
            self.clear()
            self._sizes.clear()
            self._older.clear()
            self._bytes = 0

    @property
    def nbytes(self) -> int:
        """What is kept, in bytes."""
        return self._bytes + sum(nbytes for _, nbytes in self._older.values())

    def _add(self, key: K, value: V, nbytes: int) -> None:
        if nbytes > self._max_bytes // 2:
            return
        if self._bytes + nbytes > self._max_bytes // 2:
            self._older = {each: (kept, self._sizes[each]) for each, kept in self.items() if kept is not None}
            self.clear()
            self._sizes.clear()
            self._bytes = 0
        self[key] = value
        self._sizes[key] = nbytes
        self._bytes += nbytes
