"""The cache that the settings ask for."""

import asyncio
import sys

import pytest

from kserve_v2.caching.config import CacheConfig, RedisOptions
from kserve_v2.caching.local import LocalCache
from kserve_v2.caching.make import MissingPackageError, make_cache

REDIS = CacheConfig(redis=RedisOptions(host="127.0.0.1", port=1))


def test_none_is_made_where_none_is_asked_for() -> None:
    assert make_cache(CacheConfig()) is None


def test_a_local_one() -> None:
    cache = make_cache(CacheConfig(size=1234))
    assert isinstance(cache, LocalCache)
    assert not cache.shared
    assert cache.figures().max_bytes == 1234


def test_one_in_redis_which_is_not_asked_yet() -> None:
    async def made() -> None:
        cache = make_cache(REDIS)
        assert cache is not None
        assert cache.shared
        assert cache.figures().errors == 0
        await cache.stop()

    asyncio.run(made())


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kserve_v2.caching.redis_cache", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(MissingPackageError, match=r"^--cache-config redis: needs .*: pip install redis$"):
        make_cache(REDIS)
