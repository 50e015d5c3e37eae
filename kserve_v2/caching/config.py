"""Which response cache the server has: what `--cache-config` says, in Triton's syntax."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

LOCAL = "local"
REDIS = "redis"

EXPECTED = (
    "local,size=BYTES, or redis,host=HOST with redis,port=PORT and, where needed, redis,user=…, password=…, db=N, "
    "connect_timeout=MS, socket_timeout=MS, wait_timeout=MS, pool_size=N, ttl=SECONDS, tls_enabled=true, cacert=PATH, "
    "cert=PATH, key=PATH; one cache only"
)


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How to reach a Redis server. Names are Triton's, but for `ttl`: seconds until an entry is forgotten, 0 for never.

    Times are in milliseconds, 0 for any. `wait_timeout`: for a free connection of the `pool_size`. Unlike Triton's,
    none is endless by default: a cache that is slower than this is of no use.
    """

    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    connect_timeout: int = 500
    socket_timeout: int = 500
    wait_timeout: int = 100
    pool_size: int = 8
    ttl: int = 86_400
    tls_enabled: bool = False
    cacert: str = ""
    cert: str = ""
    key: str = ""

    def problem(self) -> str:
        """Why this cannot be, or "" if it can."""
        if not (self.host and self.port):
            return "redis needs both host=HOST and port=PORT"
        if not self.tls_enabled and (self.cacert or self.cert or self.key):
            return "cacert, cert and key need tls_enabled=true: the connection would not be encrypted"
        if bool(self.cert) != bool(self.key):
            return "cert and key go together"
        return ""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """One cache, or none. `size`: of the one in the server's memory, in bytes; 0 for none."""

    size: int = 0
    redis: RedisOptions | None = None

    def problem(self) -> str:
        """Why this cannot be, or "" if it can."""
        return "" if self.redis is None else self.redis.problem()

    @property
    def text(self) -> str:
        """What `parse_cache_config` makes this value of, without the password: it is for people. "" for no cache."""
        return self._text("***")

    @property
    def with_password(self) -> str:
        """As `text`, but whole: for another process of this server, and for nobody else."""
        return self._text(self.redis.password if self.redis else "")

    def _text(self, password: str) -> str:
        if self.redis is None:
            return f"{LOCAL},size={self.size}" if self.size else ""
        default = RedisOptions()
        pairs = [REDIS]
        for each in fields(RedisOptions):
            value = getattr(self.redis, each.name)
            if value != getattr(default, each.name):
                shown = (
                    password if each.name == "password" else str(value).lower() if value is True else value
                )
                pairs.append(f"{each.name}={shown}")
        return ",".join(pairs)


def parse_cache_config(texts: Sequence[str]) -> CacheConfig:
    """Read `NAME,key=value`; more pairs may follow in one text. The last value of a key counts.

    Raises ValueError with the part that is wrong.
    """
    given: dict[str, dict[str, str]] = {}
    for text in texts:
        name, comma, pairs = text.partition(",")
        name = name.strip()
        if name not in _READERS or not comma:
            raise ValueError(text)
        for part in pairs.split(","):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not (equals and value) or key not in _READERS[name]:
                raise ValueError(part)
            given.setdefault(name, {})[key] = value
    if len(given) > 1:
        raise ValueError("two caches")
    return _made(given)


def _made(given: Mapping[str, Mapping[str, str]]) -> CacheConfig:
    values: dict[str, Any] = {
        key: _READERS[name][key](value) for name, pairs in given.items() for key, value in pairs.items()
    }
    if REDIS in given:
        return CacheConfig(redis=RedisOptions(**values))
    return CacheConfig(**values)


def _number(low: int, high: int = 2**63 - 1) -> Callable[[str], int]:
    """A reader of numbers from `low` to `high`."""

    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(text)
        return number

    return read


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


_READERS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    LOCAL: {"size": _number(1)},
    REDIS: {
        "host": str,
        "port": _number(1, 65535),
        "user": str,
        "password": str,
        "db": _number(0),
        # Zero is Triton's word for "wait for ever".
        "connect_timeout": _number(0),
        "socket_timeout": _number(0),
        "wait_timeout": _number(0),
        "pool_size": _number(1),
        "ttl": _number(0),
        "tls_enabled": _boolean,
        "cacert": str,
        "cert": str,
        "key": str,
    },
}
"""Name of a cache to its keys, and how their texts are read."""
