"""The cache in Redis, against real servers: what is shared, and what happens when they die, hang, refuse or lie."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import trustme

from kserve_v2.caching.back_off import FIRST_S
from kserve_v2.caching.config import RedisOptions
from kserve_v2.caching.entry import Entry, entry_of
from kserve_v2.caching.redis_cache import RedisCache, RedisSpace
from tests.redis_server import RedisServer, free_port, needs_redis

pytestmark = needs_redis

PASSWORD = "q7secret"  # noqa: S105 - made up
KEY, OTHER_KEY = b"\x01" * 32, b"\x02" * 32
ENTRY = entry_of({"OUT": np.array([1, 2, 3], np.int32)}, {"p": 1})


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator["redis.Redis"]:
    with redis.Redis(port=server.port) as connection:
        connection.flushall()
        yield connection


@asynccontextmanager
async def cache_of(port: int, clock: Any = None, **options: Any) -> AsyncIterator[RedisCache]:
    arguments = () if clock is None else (clock,)
    # On a busy machine all of it may take a while.
    patient = dict.fromkeys(("connect_timeout", "socket_timeout", "wait_timeout"), 60_000)
    cache = RedisCache(RedisOptions(host="127.0.0.1", port=port, **patient | options), *arguments)
    try:
        yield cache
    finally:
        await cache.stop()


async def found(space: RedisSpace, key: bytes = KEY) -> Entry | None:
    answer = space.recall(key)
    return None if answer is None else await answer


async def kept(cache: RedisCache, space: RedisSpace, key: bytes = KEY, entry: Entry = ENTRY) -> None:
    """Keep an entry, and return when that is done."""
    space.keep(key, entry)
    await asyncio.gather(*cache._tasks)


def values(entry: Entry | None) -> list[int] | None:
    return None if entry is None else entry.outputs["OUT"].tolist()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.usefixtures("client")
def test_what_one_server_keeps_another_one_finds_if_its_model_is_the_same(server: RedisServer) -> None:
    async def run() -> None:
        async with cache_of(server.port) as one, cache_of(server.port) as other:
            assert await found(one.space("m")) is None
            await kept(one, one.space("m"))
            entry = await found(other.space("m"))
            assert values(entry) == [1, 2, 3]
            assert entry is not None
            assert entry.parameters == {"p": 1}
            assert await found(other.space("m of another generation")) is None
            assert await found(other.space("m"), OTHER_KEY) is None
            figures = other.figures()
            assert (figures.lookups, figures.hits, figures.misses, figures.errors) == (3, 1, 2, 0)
            # Its entries are not the model's alone.
            one.space("m").close()
            assert values(await found(other.space("m"))) == [1, 2, 3]

    asyncio.run(run())


def test_entries_are_forgotten_in_time(server: RedisServer, client: "redis.Redis") -> None:
    async def run(**options: int) -> Any:
        client.flushall()
        async with cache_of(server.port, **options) as cache:
            await kept(cache, cache.space("m"))
        [name] = client.keys("*")
        assert name.startswith(b"kserve-v2/cache/")
        return client.ttl(name)

    assert 0 < asyncio.run(run()) <= 86_400
    assert 0 < asyncio.run(run(ttl=5)) <= 5
    assert asyncio.run(run(ttl=0)) == -1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda client, name: client.set(name, b""), id="empty"),
        pytest.param(lambda client, name: client.set(name, b"from another program"), id="foreign"),
        pytest.param(lambda client, name: client.set(name, client.get(name)[:-1]), id="cut off"),
        pytest.param(lambda client, name: client.setrange(name, 100, b"?"), id="changed"),
        pytest.param(lambda client, name: (client.delete(name), client.rpush(name, b"a")), id="a list"),
        pytest.param(lambda client, name: client.delete(name), id="gone"),
    ],
)
def test_what_is_no_entry_is_a_miss_and_is_replaced(
    server: RedisServer, client: "redis.Redis", change: Any
) -> None:
    async def run() -> None:
        async with cache_of(server.port) as cache:
            space = cache.space("m")
            await kept(cache, space)
            [name] = client.keys("*")
            change(client, name)
            assert await found(space) is None
            await kept(cache, space)
            assert values(await found(space)) == [1, 2, 3]

    asyncio.run(run())


def test_an_entry_under_the_name_of_another_one_is_a_miss(server: RedisServer, client: "redis.Redis") -> None:
    async def run() -> None:
        async with cache_of(server.port) as cache:
            space = cache.space("m")
            await kept(cache, space)
            [name] = client.keys("*")
            await kept(cache, space, OTHER_KEY)
            [other] = set(client.keys("*")) - {name}
            client.copy(name, other, replace=True)
            assert await found(space, OTHER_KEY) is None

    asyncio.run(run())


def test_a_server_that_dies_is_said_once_and_found_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]

    async def run() -> None:
        with RedisServer() as server:
            async with cache_of(server.port, lambda: now[0]) as cache:
                space = cache.space("m")
                await kept(cache, space)
                assert values(await found(space)) == [1, 2, 3]
                server.stop()
                assert await asyncio.gather(*(found(space) for _ in range(20))) == [None] * 20
                assert len(warnings(caplog)) == 1
                # Now it is not even asked.
                assert space.recall(KEY) is None
                await kept(cache, space)
                now[0] += FIRST_S
                assert await found(space) is None
                assert space.recall(KEY) is None
                server.start()
                now[0] += 2 * FIRST_S
                assert await found(space) is None
                await kept(cache, space)
                assert values(await found(space)) == [1, 2, 3]
                assert len(warnings(caplog)) == 1

    with caplog.at_level(logging.INFO, "kserve_v2.caching"):
        asyncio.run(run())
    assert "does not answer" in warnings(caplog)[0]
    assert "answers again" in caplog.records[-1].getMessage()


def test_a_server_that_was_never_there_is_no_more_than_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with cache_of(free_port()) as cache:
            space = cache.space("m")
            assert await found(space) is None
            await kept(cache, space)

    asyncio.run(run())
    assert len(warnings(caplog)) == 1


def test_a_server_that_hangs_is_waited_for_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        with RedisServer() as server:
            async with cache_of(server.port, connect_timeout=50, socket_timeout=50, wait_timeout=50) as cache:
                space = cache.space("m")
                await kept(cache, space)
                server.suspend()
                # One with a connection, the others have to make theirs.
                assert await asyncio.gather(*(found(space) for _ in range(20))) == [None] * 20
                assert space.recall(KEY) is None
            server.resume()

    asyncio.run(run())
    assert len(warnings(caplog)) == 1


def test_the_server_may_be_stopped_while_lookups_and_insertions_hang() -> None:
    async def run() -> None:
        with RedisServer() as server:
            async with cache_of(server.port, connect_timeout=0, socket_timeout=0) as cache:
                space = cache.space("m")
                await kept(cache, space)
                server.suspend()
                answer = space.recall(KEY)
                large = entry_of({"OUT": np.zeros(6_000_000, np.int32)}, {})
                for _ in range(5):
                    space.keep(OTHER_KEY, large)
                # What does not fit on the way any more is not kept.
                assert len(cache._tasks) == 1 + 2
                await cache.stop()
                assert answer is not None
                assert answer.cancelled()
                assert cache._writing_bytes == 0

    asyncio.run(run())


@pytest.mark.usefixtures("client")
def test_a_lookup_that_is_given_up_leaves_nothing_for_the_next_one(server: RedisServer) -> None:
    async def run() -> None:
        async with cache_of(server.port, pool_size=1) as cache:
            space = cache.space("m")
            await kept(cache, space)
            other = entry_of({"OUT": np.array([9], np.int32)}, {})
            await kept(cache, space, OTHER_KEY, other)
            for turns in range(8):
                answer = space.recall(KEY)
                assert answer is not None
                for _ in range(turns):
                    await asyncio.sleep(0)
                answer.cancel()
                assert values(await found(space, OTHER_KEY)) == [9]

    asyncio.run(run())


def test_a_server_that_is_full_is_still_asked(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        port = free_port()
        with RedisServer("--port", str(port), "--maxmemory", "3mb", "--maxmemory-policy", "noeviction"):
            async with cache_of(port) as cache:
                space = cache.space("m")
                await kept(cache, space)
                large = entry_of({"OUT": np.zeros(1_000_000, np.int32)}, {})
                for _ in range(3):
                    await kept(cache, space, OTHER_KEY, large)
                    await kept(cache, space, b"\x03" * 32, large)
                assert values(await found(space)) == [1, 2, 3]

    asyncio.run(run())
    assert len(warnings(caplog)) == 1
    assert "maxmemory" in warnings(caplog)[0]


def test_passwords(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()

    async def run(**options: str) -> list[int] | None:
        async with cache_of(port, **options) as cache:
            space = cache.space("m")
            await kept(cache, space)
            return values(await found(space))

    with RedisServer("--port", str(port), "--requirepass", PASSWORD):
        assert asyncio.run(run(password=PASSWORD)) == [1, 2, 3]
        assert asyncio.run(run(user="default", password=PASSWORD)) == [1, 2, 3]
        assert warnings(caplog) == []
        assert asyncio.run(run(password=PASSWORD[1:])) is None
        assert asyncio.run(run()) is None
    assert len(warnings(caplog)) == 2
    assert PASSWORD[1:] not in caplog.text


def test_databases_are_kept_apart(server: RedisServer, client: "redis.Redis") -> None:
    async def run() -> None:
        async with cache_of(server.port, db=1) as one, cache_of(server.port) as other:
            await kept(one, one.space("m"))
            assert await found(other.space("m")) is None

    asyncio.run(run())
    assert client.keys("*") == []


def test_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("client")),
    ):
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    port = free_port()
    flags = (
        "--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", str(tmp_path / "ca.pem"),
        "--tls-cert-file", str(tmp_path / "server.pem"), "--tls-key-file", str(tmp_path / "server.key"),
    )  # fmt: skip

    async def run(**options: str) -> list[int] | None:
        async with cache_of(port, tls_enabled=True, **options) as cache:
            space = cache.space("m")
            await kept(cache, space)
            return values(await found(space))

    own = {"cert": str(tmp_path / "client.pem"), "key": str(tmp_path / "client.key")}
    with RedisServer(*flags):
        assert asyncio.run(run(cacert=str(tmp_path / "ca.pem"), **own)) == [1, 2, 3]
        assert warnings(caplog) == []
        # A server that nobody vouches for is not talked to.
        assert asyncio.run(run(**own)) is None
    assert len(warnings(caplog)) == 1
