"""Which version answers: shares are kept, the same key is answered alike, and no key moves without need."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.config.release import Sticky
from kserve_v2.repository.routing.choose import choose, key_of, pick, present

KEYS = [f"user {number}".encode() for number in range(2000)]

SHARES = st.dictionaries(st.integers(1, 6), st.integers(0, 100), min_size=1).filter(
    lambda shares: any(shares.values())
)


def test_the_choice_is_the_same_for_ever() -> None:
    """Servers of different releases must agree: these may not change."""
    chosen = [
        choose("digits", {2: 50, 3: 50}, key) for key in (b"", b"alice", b"bob", b"carol", b"dave", b"\xff")
    ]
    assert chosen == CHOSEN


CHOSEN = [2, 2, 3, 3, 3, 3]


@pytest.mark.parametrize(
    "shares", [{2: 90, 3: 10}, {1: 50, 2: 50}, {1: 33.3, 2: 33.3, 3: 33.4}, {5: 99.5, 6: 0.5}]
)
def test_each_version_gets_its_share_of_keys(shares: dict[int, float]) -> None:
    counted = Counter(choose("m", shares, key) for key in KEYS)
    for version, share in shares.items():
        expected = len(KEYS) * share / 100
        # Six times the standard deviation of that many draws.
        allowed = 6 * math.sqrt(expected * (1 - share / 100)) + 1
        assert abs(counted[version] - expected) <= allowed


@given(SHARES, st.binary())
def test_what_has_no_share_is_never_chosen(shares: dict[int, int], key: bytes) -> None:
    assert shares[choose("m", shares, key)] > 0


@given(SHARES, st.binary(), st.floats(0.01, 100))
def test_only_the_proportions_matter(shares: dict[int, int], key: bytes, factor: float) -> None:
    # By a power of two, which changes no bit of a quotient.
    factor = 2.0 ** round(math.log2(factor))
    assert choose("m", shares, key) == choose(
        "m", {each: share * factor for each, share in shares.items()}, key
    )


@given(SHARES, SHARES, st.lists(st.binary(), min_size=1, max_size=50))
def test_a_key_moves_only_to_what_has_grown_against_where_it_was(
    before: dict[int, int], after: dict[int, int], keys: list[bytes]
) -> None:
    for key in keys:
        was, now = choose("m", before, key), choose("m", after, key)
        if was != now:
            # after[now] / after[was] > before[now] / before[was], without dividing by nothing
            assert after[now] * before[was] >= before.get(now, 0) * after.get(was, 0)
            assert after[now] * before[was] > 0
            assert (
                after[now] / before[was] != before.get(now, 0) / before[was]
                or after.get(was, 0) != before[was]
            )


@given(st.integers(1, 98), st.integers(1, 98))
def test_raising_a_canary_takes_nobody_away_from_it(low: int, high: int) -> None:
    low, high = sorted((low, high))
    for key in KEYS[:50]:
        if choose("m", {2: 100 - low, 3: low}, key) == 3:
            assert choose("m", {2: 100 - high, 3: high}, key) == 3


@given(SHARES.filter(lambda shares: sum(map(bool, shares.values())) > 1), st.lists(st.binary(), min_size=1))
def test_what_is_missing_moves_nobody_else(shares: dict[int, int], keys: list[bytes]) -> None:
    missing = max(version for version, share in shares.items() if share)
    left = present(shares, [version for version in shares if version != missing])
    for key in keys:
        chosen = choose("m", shares, key)
        if chosen != missing:
            assert choose("m", left, key) == chosen


def test_models_have_canaries_of_their_own() -> None:
    shares = {1: 90, 2: 10}
    first = {key for key in KEYS if choose("a", shares, key) == 2}
    second = {key for key in KEYS if choose("b", shares, key) == 2}
    assert len(first & second) < len(first) / 2


@pytest.mark.parametrize(
    ("shares", "drawn", "version"),
    [
        ({2: 90, 3: 10}, 0.0, 2),
        ({2: 90, 3: 10}, 0.8999, 2),
        ({2: 90, 3: 10}, 0.9, 3),
        ({3: 10, 2: 90}, 0.5, 2),
        ({2: 90, 3: 10}, 0.9999999, 3),
        ({2: 0, 3: 10}, 0.0, 3),
        ({2: 45, 3: 5}, 0.95, 3),
        ({1: 0.1, 2: 0.2, 3: 0.3}, math.nextafter(1, 0), 3),
    ],
)
def test_requests_without_a_key_are_drawn(shares: dict[int, float], drawn: float, version: int) -> None:
    assert pick(shares, drawn) == version


@pytest.mark.parametrize(
    ("shares", "there", "left"),
    [
        ({2: 90, 3: 10}, [2, 3, 4], {2: 90, 3: 10}),
        ({2: 90, 3: 10}, [3, 4], {3: 10}),
        ({2: 100, 3: 0}, [3], {}),
        ({2: 100}, [], {}),
    ],
)
def test_what_is_there_shares(shares: dict[int, float], there: list[int], left: dict[int, float]) -> None:
    assert present(shares, there) == left


HEADER, PARAMETER = Sticky(header="x-user"), Sticky(parameter="user")


@pytest.mark.parametrize(
    ("sticky", "parameters", "headers", "key"),
    [
        (None, {"user": "a"}, [(b"x-user", b"a")], None),
        (HEADER, {}, [], None),
        (HEADER, {"x-user": "a"}, [(b"x-other", b"a")], None),
        (HEADER, {}, [(b"accept", b"*"), (b"x-user", b"a"), (b"x-user", b"b")], b"a"),
        (HEADER, {}, [("x-user", "a")], b"a"),
        (HEADER, {}, [("x-user", "\xe9")], b"\xe9"),
        (HEADER, {}, [(b"x-user", b"\xe9")], b"\xe9"),
        (HEADER, {}, [(b"x-user", b"")], b""),
        (PARAMETER, {"user": "a"}, [(b"user", b"b")], b"a"),
        (PARAMETER, {"user": 7}, [], b"7"),
        (PARAMETER, {"user": ""}, [], b""),
        (PARAMETER, {"id": "a"}, [], None),
        (PARAMETER, {"user": "\ud800"}, [], b"\xed\xa0\x80"),
    ],
)
def test_what_a_request_says_of_whom_it_is_for(
    sticky: Sticky, parameters: dict[str, object], headers: list[tuple[bytes, bytes]], key: bytes | None
) -> None:
    assert key_of(sticky, parameters, headers) == key
