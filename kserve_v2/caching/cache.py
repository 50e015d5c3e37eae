"""What a response cache is, wherever its entries lie."""

import asyncio
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from kserve_v2.caching.entry import Entry


@dataclass(slots=True)
class CacheFigures:
    """Counts of one cache since the start; durations in nanoseconds. What does not apply to a kind of cache is None."""

    lookups: int = 0
    hits: int = 0
    misses: int = 0
    lookup_ns: int = 0
    insertion_ns: int = 0
    errors: int | None = None
    evictions: int | None = None
    entries: int | None = None
    used_bytes: int | None = None
    max_bytes: int | None = None


class CacheSpace(Protocol):
    """The entries of one loaded version: no other version or generation can see them. Used on the event loop alone.

    `seed`: what tells the version from all others that share the cache; its keys have to be made with it.
    """

    seed: str

    def recall(self, key: bytes) -> "Entry | asyncio.Future[Entry | None] | None":
        """The entry of a key, None if there is none, or a future of either."""
        ...

    def has_room_for(self, nbytes: int) -> bool:
        """Whether an entry with outputs of so many bytes may be kept at all."""
        ...

    def keep(self, key: bytes, entry: Entry) -> None:
        """Keep an entry, if there is room. Never raises, and does not wait."""
        ...

    def close(self) -> None:
        """The version is gone: forget its entries, unless others may still use them."""
        ...


class ResponseCache(Protocol):
    """The server's cache, shared by all of its models."""

    shared: bool
    """Whether other servers use it, too: then a version is known by what its files say."""

    def space(self, identity: str) -> CacheSpace:
        """A place for the entries of one loaded version. `identity`: name, version and, where it is shared, the
        fingerprint of its files.
        """
        ...

    def figures(self) -> CacheFigures:
        """Its counts, for the metrics."""
        ...

    async def stop(self) -> None:
        """Close what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Caching:
    """How one loaded version uses a cache. `identity`: see `ResponseCache.space`. `coalesces`: whether equal requests
    at the same time share an execution.

    `composed`: the answers are other models', which its identity says nothing of. So nobody else shares them, and they
    are dropped whenever one of those models is another one; see `CachedTarget.renew`.
    """

    cache: ResponseCache
    identity: str
    coalesces: bool = True
    composed: bool = False

    def space(self) -> CacheSpace:
        """A place for entries."""
        return self.cache.space(f"{self.identity} {uuid4()}" if self.composed else self.identity)
