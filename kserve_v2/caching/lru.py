"""Least recently used, bounded by bytes."""

import sys
from collections import OrderedDict
from dataclasses import dataclass

from kserve_v2.caching.entry import Entry

# What a place takes beside the entry's own bytes and its key: the slots of the table, which grows in steps, its order,
# and the generation's note of it. Measured as the most that it comes to.
PLACE_BYTES = 384


class Generation:
    """The entries of one loaded version, so that they can be dropped together. Compared by identity."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: set[bytes] = set()


@dataclass(slots=True, eq=False)
class _Place:
    entry: Entry
    cost: int
    generation: Generation


class LruEntries:
    """Entries by key. What they take together is never more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.evictions = 0
        self._places: OrderedDict[bytes, _Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def get(self, key: bytes) -> Entry | None:
        """The entry, which is the one most recently used from now on."""
        place = self._places.get(key)
        if place is None:
            return None
        self._places.move_to_end(key)
        return place.entry

    def put(self, key: bytes, entry: Entry, generation: Generation) -> bool:
        """Keep an entry, in the place of an earlier one, at the cost of those that were not used for longest. False: it
        is too large for this cache, and changes nothing.
        """
        cost = cost_of(key, entry)
        if cost > self.max_bytes:
            return False
        if key in self._places:
            self._remove(key)
        while self.used_bytes + cost > self.max_bytes:
            self._remove(next(iter(self._places)))
            self.evictions += 1
        self._places[key] = _Place(entry, cost, generation)
        generation.keys.add(key)
        self.used_bytes += cost
        return True

    def drop(self, generation: Generation) -> None:
        """Forget all entries of a generation."""
        for key in list(generation.keys):
            self._remove(key)

    def _remove(self, key: bytes) -> None:
        place = self._places.pop(key)
        place.generation.keys.discard(key)
        self.used_bytes -= place.cost


def cost_of(key: bytes, entry: Entry) -> int:
    """What an entry takes of the cache."""
    return sys.getsizeof(key) + entry.nbytes + PLACE_BYTES
