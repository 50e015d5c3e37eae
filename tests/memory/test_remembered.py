"""What is remembered: not what came once, not more than there is room for, and what is used stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.memory.remembered import Remembered


def test_a_key_is_worth_its_place_when_it_comes_again() -> None:
    remembered: Remembered[str, int] = Remembered(100)
    assert [remembered.is_seen_again("a") for _ in range(3)] == [False, True, True]
    assert remembered["a"] is None
    remembered.keep("a", 1, 10)
    assert remembered["a"] == 1


def test_a_value_takes_the_place_of_an_earlier_one() -> None:
    remembered: Remembered[str, int] = Remembered(100)
    for value in range(100):
        remembered.keep("a", value, 10)
        assert remembered["a"] == value
        assert remembered.nbytes == 10


def test_what_is_used_outlasts_what_is_not() -> None:
    remembered: Remembered[object, int] = Remembered(1000)
    remembered.keep("used", 1, 10)
    remembered.keep("unused", 1, 10)
    for number in range(1000):
        remembered.keep(number, number, 10)
        assert remembered["used"] == 1
    assert remembered["unused"] is None
    assert remembered[999] == 999


def test_what_is_too_large_costs_nothing_else_its_place() -> None:
    remembered: Remembered[str, int] = Remembered(100)
    remembered.keep("a", 1, 50)
    remembered.keep("b", 2, 51)
    assert (remembered["a"], remembered["b"]) == (1, None)
    remembered.keep("a", 2, 51)
    assert remembered["a"] is None


def test_those_that_came_once_are_forgotten_in_time() -> None:
    """A stream of new keys does not fill the memory, and does not hide one that comes regularly."""
    remembered: Remembered[int, int] = Remembered(100)
    for number in range(100_000):
        assert not remembered.is_seen_again(number)
        assert remembered.is_seen_again(-5) or number == 0
    assert len(remembered._marks) + len(remembered._older_marks) <= 8192


@pytest.mark.parametrize("max_bytes", [0, 40, 100])
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 60))))
def test_the_bytes_are_counted(max_bytes: int, steps: list[tuple[int, bool, int]]) -> None:
    """And a value is the last one for its key, or none."""
    remembered: Remembered[int, int] = Remembered(max_bytes)
    last: dict[int, int] = {}
    for number, (key, write, nbytes) in enumerate(steps):
        if write:
            remembered.keep(key, number, nbytes)
            last[key] = number
        found = remembered[key]
        assert found is None or found == last[key]
        assert remembered.nbytes <= max_bytes


def test_all_is_forgotten_when_what_it_depends_on_has_changed() -> None:
    """Also what has not been used for longest; what came once before is still worth its place when it comes again."""
    remembered: Remembered[int, int] = Remembered(100)
    for number in range(9):
        remembered.keep(number, number, 10)
    assert not remembered.is_seen_again(5)
    remembered.forget_all()
    assert [remembered[number] for number in range(9)] == [None] * 9
    assert remembered.nbytes == 0
    assert remembered.is_seen_again(5)
    remembered.keep(1, 1, 50)
    assert (remembered[1], remembered.nbytes) == (1, 50)


def test_few_marks_are_kept_where_few_are_wanted() -> None:
    remembered: Remembered[int, int] = Remembered(100, max_marks=8)
    assert not any(remembered.is_seen_again(number) for number in range(100))
    assert len(remembered._marks) + len(remembered._older_marks) <= 16
    assert all(remembered.is_seen_again(number) for number in range(93, 100))
    assert not remembered.is_seen_again(50)
