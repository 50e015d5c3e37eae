"""The traffic that varies does vary, and is the same in every run."""

import pytest

from benchmarks.load import varied


@pytest.mark.parametrize(
    ("kind", "least"), [("traced", varied.DISTINCT), ("tokens", 1000), ("deadlines", 19_900)]
)
def test_every_request_has_something_of_its_own(kind: str, least: int) -> None:
    headers = varied.headers_of(kind)
    assert len(headers) == varied.DISTINCT
    assert len({tuple(each.items()) for each in headers}) >= min(least, varied.DISTINCT)
    assert [next(fresh) for fresh in [varied.KINDS[kind]()] for _ in range(3)] == list(headers[:3])


def test_identical_requests_have_not() -> None:
    assert varied.headers_of("identical") == ({},)


def test_tokens_are_as_long_as_a_users() -> None:
    first, *_, last = varied.headers_of("tokens")[: varied.TOKEN_REQUESTS + 1]
    assert first != last
    assert len(first["authorization"]) == len("Bearer ") + varied.TOKEN_BYTES
