"""The cache in a Redis server, which other servers with the same models may share.

The event loop never waits for it, and neither does an answer longer than the time-outs say. What it cannot do is done
without it: a server that is away, slow or full only costs hits.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from kserve_v2.caching.back_off import BackOff
from kserve_v2.caching.cache import CacheFigures
from kserve_v2.caching.config import RedisOptions
from kserve_v2.caching.entry import Entry
from kserve_v2.caching.wire import dump_entry, load_entry

logger = logging.getLogger(__name__)

_PREFIX = b"kserve-v2/cache/"
# Redis takes no larger value.
MAX_ENTRY_BYTES = 512 * 1024 * 1024
# Of entries on their way to a slow server; what comes on top is not kept.
_MAX_WRITING_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

_FAILURES = (RedisError, OSError, TimeoutError)


class RedisCache:
    """One Redis server, on the event loop that uses it first."""

    shared = True

    def __init__(self, options: RedisOptions, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, for the time between tries."""
        self._options = options
        self._clock = clock
        self._client = _client(options)
        # A lookup waits for a connection before it uses one.
        self._free = asyncio.Semaphore(options.pool_size)
        self._figures = CacheFigures(errors=0)
        self._back_off = BackOff()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writing_bytes = 0
        self._told_of_refusal = False

    def __repr__(self) -> str:
        return f"<RedisCache {self.address}>"

    @property
    def address(self) -> str:
        """`host:port`"""
        return f"{self._options.host}:{self._options.port}"

    def space(self, identity: str) -> "RedisSpace":
        """A place for the entries of a version."""
        return RedisSpace(identity, self)

    def figures(self) -> CacheFigures:
        """Its counts."""
        return self._figures

    async def stop(self) -> None:
        """End what is under way, and close the connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._client.aclose()
        except _FAILURES:
            logger.debug("the connections to %r failed to close", self, exc_info=True)

    def look_up(self, name: bytes, key: bytes) -> "asyncio.Future[Entry | None] | None":
        """The entry of `key`, which lies under `name`; None without asking while the server does not answer."""
        self._figures.lookups += 1
        if not self._back_off.may_try(self._clock()):
            self._figures.misses += 1
            return None
        return self._task(self._look_up(name, key))

    def store(self, name: bytes, key: bytes, entry: Entry) -> None:
        """Have an entry kept under `name`, some time."""
        if self._back_off.failing or self._writing_bytes + entry.nbytes > _MAX_WRITING_BYTES:
            return
        self._writing_bytes += entry.nbytes

        def written(_: object) -> None:
            self._writing_bytes -= entry.nbytes

        # Not in the task: one that is cancelled at once never runs.
        self._task(self._store(name, key, entry)).add_done_callback(written)

    def _task(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look_up(self, name: bytes, key: bytes) -> Entry | None:
        begun_ns = time.monotonic_ns()
        try:
            data = await self._ask(self._client.get, name)
        except ResponseError as error:
            self._note_refusal(error)
            data = None
        # Its sum and its key are checked: so it is this entry, whatever an interrupted command may have left unread on
        # the connection, and whoever else writes to the server.
        entry = load_entry(key, data) if type(data) is bytes else None
        if entry is None:
            self._figures.misses += 1
        else:
            self._figures.hits += 1
        self._figures.lookup_ns += time.monotonic_ns() - begun_ns
        return entry

    async def _store(self, name: bytes, key: bytes, entry: Entry) -> None:
        begun_ns = time.monotonic_ns()
        data = dump_entry(key, entry)
        if len(data) <= MAX_ENTRY_BYTES:
            try:
                await self._ask(self._client.set, name, data, ex=self._options.ttl or None)
            except ResponseError as error:
                self._note_refusal(error)
        self._figures.insertion_ns += time.monotonic_ns() - begun_ns

    async def _ask(self, command: Any, *arguments: Any, **options: Any) -> Any:
        """The server's answer to one command; None if there is none. Raises ResponseError if it is a refusal."""
        try:
            async with asyncio.timeout(_seconds(self._options.wait_timeout)):
                await self._free.acquire()
        except TimeoutError:
            # It answers others, as far as anybody knows.
            return None
        try:
            async with asyncio.timeout(_total_seconds(self._options)):
                answer = await command(*arguments, **options)
        except ResponseError:
            raise
        except _FAILURES as error:
            self._note_failure(error)
            return None
        finally:
            self._free.release()
        if self._back_off.succeeded():
            logger.info("response cache: Redis at %s answers again", self.address)
        return answer

    def _note_refusal(self, error: Exception) -> None:
        """A server that is full, a replica, something else under the name: it may still be asked for what it has."""
        self._figures.errors = (self._figures.errors or 0) + 1
        if not self._told_of_refusal:
            self._told_of_refusal = True
            logger.warning(
                "response cache: Redis at %s refuses a command: %s; this is said once", self.address, error
            )

    def _note_failure(self, error: Exception) -> None:
        self._figures.errors = (self._figures.errors or 0) + 1
        if self._back_off.failed(self._clock()):
            logger.warning(
                "response cache: Redis at %s does not answer (%s: %s): models are executed without it, and it is tried "
                "again from time to time; this is said once until it answers",
                self.address,
                type(error).__name__,
                error,
            )


class RedisSpace:
    """The entries of a version, wherever it is loaded: whoever has other files, or another configuration, has another
    identity, so what they store is never found here.
    """

    def __init__(self, identity: str, cache: RedisCache) -> None:
        self.seed = identity
        self._cache = cache
        self._prefix = (
            _PREFIX + hashlib.blake2b(identity.encode(), digest_size=16).hexdigest().encode() + b"/"
        )

    def recall(self, key: bytes) -> "asyncio.Future[Entry | None] | None":
        """The entry of a key."""
        return self._cache.look_up(self._prefix + key.hex().encode(), key)

    def has_room_for(self, nbytes: int) -> bool:
        """Whether Redis takes an entry with outputs of so many bytes."""
        return nbytes <= MAX_ENTRY_BYTES

    def keep(self, key: bytes, entry: Entry) -> None:
        """Have an entry kept."""
        self._cache.store(self._prefix + key.hex().encode(), key, entry)

    def close(self) -> None:
        """Others may use the entries; Redis forgets them in time."""


def _client(options: RedisOptions) -> "redis.asyncio.Redis":
    tls: dict[str, Any] = {}
    if options.tls_enabled:
        tls = {
            "ssl": True,
            "ssl_ca_certs": options.cacert or None,
            "ssl_certfile": options.cert or None,
            "ssl_keyfile": options.key or None,
        }
    return redis.asyncio.Redis(
        host=options.host,
        port=options.port,
        db=options.db,
        username=options.user or None,
        password=options.password or None,
        socket_connect_timeout=_seconds(options.connect_timeout),
        socket_timeout=_seconds(options.socket_timeout),
        # Tried again by the next request, after a while.
        retry=Retry(NoBackoff(), 0),
        max_connections=options.pool_size,
        client_name="kserve-v2",
        **tls,
    )


def _seconds(milliseconds: int) -> float | None:
    return milliseconds / 1000 if milliseconds else None


def _total_seconds(options: RedisOptions) -> float | None:
    """Of a command with the connection that it may need first, whatever the client makes of its own time-outs."""
    if not (options.connect_timeout and options.socket_timeout):
        return None
    return (options.connect_timeout + options.socket_timeout) / 1000
