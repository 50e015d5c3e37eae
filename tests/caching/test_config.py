"""`--cache-config`: Triton's forms, and what is wrong."""

import pytest

from kserve_v2.caching.config import CacheConfig, RedisOptions, parse_cache_config

PASSWORD = "p=w"  # noqa: S105 - made up

FULL = RedisOptions(
    host="h", port=1, user="u", password=PASSWORD, db=2, connect_timeout=3, socket_timeout=4, wait_timeout=5, pool_size=6,
    ttl=7, tls_enabled=True, cacert="/ca", cert="/cert", key="/key",
)  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["local,size=1048576"], CacheConfig(size=1048576)),
        (["local, size = 7 "], CacheConfig(size=7)),
        (["local,size=1", "local,size=2"], CacheConfig(size=2)),
        (["redis,host=h,port=6379"], CacheConfig(redis=RedisOptions(host="h", port=6379))),
        (["redis,host=h", "redis,port=6379"], CacheConfig(redis=RedisOptions(host="h", port=6379))),
        (
            [
                "redis,host=h,port=1,user=u,password=p=w,db=2,connect_timeout=3,socket_timeout=4,wait_timeout=5",
                "redis,pool_size=6,ttl=7,tls_enabled=true,cacert=/ca,cert=/cert,key=/key",
            ],
            CacheConfig(redis=FULL),
        ),
    ],
)
def test_triton_s_forms_are_read(texts: list[str], expected: CacheConfig) -> None:
    assert parse_cache_config(texts) == expected


@pytest.mark.parametrize(
    "texts",
    [
        ["local"], ["local,"], ["local,size"], ["local,size="], ["local,size=0"], ["local,size=-1"], ["local,size=1MB"],
        ["local,size=1,"], ["local,bytes=1"], ["size=1"], ["lru,size=1"], [""], ["redis,host=h,port=0"],
        ["redis,host=h,port=65536"], ["redis,port=x"], ["redis,host="], ["redis,size=1"], ["redis,tls_enabled=yes"],
        ["redis,ttl=-1"], ["redis,pool_size=0"], ["local,size=1", "redis,host=h,port=1"],
    ],
)  # fmt: skip
def test_anything_else_is_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_cache_config(texts)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (CacheConfig(), ""),
        (CacheConfig(size=1), ""),
        (CacheConfig(redis=FULL), ""),
        (CacheConfig(redis=RedisOptions(host="h")), "redis needs both host=HOST and port=PORT"),
        (CacheConfig(redis=RedisOptions(port=1)), "redis needs both host=HOST and port=PORT"),
        (
            CacheConfig(redis=RedisOptions(host="h", port=1, cacert="/ca")),
            "cacert, cert and key need tls_enabled=true: the connection would not be encrypted",
        ),
        (
            CacheConfig(redis=RedisOptions(host="h", port=1, tls_enabled=True, cert="/c")),
            "cert and key go together",
        ),
    ],
)
def test_what_cannot_be_is_said(config: CacheConfig, problem: str) -> None:
    assert config.problem() == problem


def test_it_is_shown_as_it_was_written_but_for_the_password() -> None:
    shown = CacheConfig(redis=FULL).text
    assert ",password=***," in shown
    assert "p=w" not in repr(CacheConfig(redis=FULL))
    assert parse_cache_config([shown.replace("***", PASSWORD)]) == CacheConfig(redis=FULL)
    assert CacheConfig(size=5).text == "local,size=5"
    assert CacheConfig().text == ""
