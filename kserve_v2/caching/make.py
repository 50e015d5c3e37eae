"""The server's cache, from its settings."""

from kserve_v2.caching.cache import ResponseCache
from kserve_v2.caching.config import CacheConfig
from kserve_v2.caching.local import LocalCache


class MissingPackageError(Exception):
    """A package that a cache needs is not installed; the text says what to do."""


def make_cache(config: CacheConfig) -> ResponseCache | None:
    """The cache that was asked for; None if none was. Raises MissingPackageError."""
    if config.redis is not None:
        try:
            from kserve_v2.caching.redis_cache import RedisCache  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"--cache-config redis: needs the package {error.name}: pip install redis"
            ) from None
        return RedisCache(config.redis)
    return LocalCache(config.size) if config.size else None
