"""The cache in the server's own memory."""

import itertools
import logging
import time

from kserve_v2.caching.cache import CacheFigures
from kserve_v2.caching.entry import Entry
from kserve_v2.caching.lru import Generation, LruEntries, cost_of

logger = logging.getLogger(__name__)


class LocalCache:
    """Entries of all models under one bound of bytes: those that were not used for longest make room for new ones."""

    shared = False

    def __init__(self, max_bytes: int) -> None:
        self._entries = LruEntries(max_bytes)
        self._figures = CacheFigures(max_bytes=max_bytes)
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<LocalCache {self._entries.used_bytes} of {self._entries.max_bytes} bytes>"

    def space(self, identity: str) -> "LocalSpace":
        """A place for the entries of one loaded version."""
        return LocalSpace(identity, f"{identity}#{next(self._numbers)}", self._entries, self._figures)

    def figures(self) -> CacheFigures:
        """Its counts."""
        figures, entries = self._figures, self._entries
        figures.evictions = entries.evictions
        figures.entries = len(entries)
        figures.used_bytes = entries.used_bytes
        return figures

    async def stop(self) -> None:
        """There is nothing to close."""


class LocalSpace:
    """The entries of one loaded version."""

    def __init__(self, identity: str, seed: str, entries: LruEntries, figures: CacheFigures) -> None:
        self.seed = seed
        self._identity = identity
        self._entries = entries
        self._figures = figures
        self._generation = Generation()
        self._closed = False
        self._told = False

    def recall(self, key: bytes) -> Entry | None:
        """The entry of a key, or None."""
        begun_ns = time.monotonic_ns()
        entry = self._entries.get(key)
        figures = self._figures
        figures.lookups += 1
        if entry is None:
            figures.misses += 1
        else:
            figures.hits += 1
        figures.lookup_ns += time.monotonic_ns() - begun_ns
        return entry

    def has_room_for(self, nbytes: int) -> bool:
        """Whether an entry with outputs of so many bytes is not larger than the whole cache."""
        fits = nbytes <= self._entries.max_bytes
        if not fits:
            self._say_too_large(nbytes)
        return fits

    def keep(self, key: bytes, entry: Entry) -> None:
        """Keep an entry, unless the version is gone, or the entry is larger than the cache."""
        if self._closed:
            return
        begun_ns = time.monotonic_ns()
        if not self._entries.put(key, entry, self._generation):
            self._say_too_large(cost_of(key, entry))
        self._figures.insertion_ns += time.monotonic_ns() - begun_ns

    def _say_too_large(self, nbytes: int) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "%s: an answer of %d bytes is larger than the response cache (--cache-config local,size=%d), so it is "
                "not kept; this is said once",
                self._identity,
                nbytes,
                self._entries.max_bytes,
            )

    def close(self) -> None:
        """Forget the version's entries."""
        self._closed = True
        self._entries.drop(self._generation)
