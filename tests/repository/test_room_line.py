"""Who may go in: the decision alone. `test_sources_on_demand.py` has the line with loads."""

import pytest

from kserve_v2.repository.sources.room_line import MOST_BEFORE, Place, in_turn, pass_by


def place(name: str, passed: int = 0, *, tried: bool = True, until_s: float | None = None) -> Place:
    return Place(name, {"cpu": 1} if tried else None, passed=passed, until_s=until_s)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([], ""),
        ([place("a"), place("b")], "ab"),
        ([place("a", MOST_BEFORE - 1), place("b")], "ab"),
        ([place("a", MOST_BEFORE), place("b"), place("c")], "a"),
        ([place("a"), place("b", MOST_BEFORE + 3), place("c", tried=False)], "ab"),
        # The first of several that were passed by is the one that is waited for.
        ([place("a"), place("b", MOST_BEFORE), place("c", MOST_BEFORE), place("d")], "ab"),
        # What was not tried yet may need nothing.
        ([place("a", MOST_BEFORE, tried=False), place("b")], "ab"),
        ([place("a", MOST_BEFORE, until_s=101), place("b")], "a"),
        ([place("a", MOST_BEFORE, until_s=100), place("b")], "ab"),
        ([place("a", MOST_BEFORE, until_s=100), place("b", MOST_BEFORE), place("c")], "ab"),
    ],
)
def test_who_may_go_in(line: list[Place], expected: str) -> None:
    assert "".join(each.name for each in in_turn(line, 100, lambda _: 10)) == expected


def test_others_wait_for_a_while_and_then_twice_as_many_go_in() -> None:
    first, second = place("a", MOST_BEFORE), place("b")
    line = [first, second]
    assert in_turn(line, 100, lambda _: 10) == [first]
    # It was decided when they began to wait.
    assert in_turn(line, 109.9, lambda _: 1000) == [first]
    assert in_turn(line, 110, lambda _: 10) == line
    first.passed = 2 * MOST_BEFORE - 1
    assert in_turn(line, 111, lambda _: 10) == line
    first.passed += 1
    assert in_turn(line, 112, lambda _: 10) == [first]
    assert in_turn(line, 122, lambda _: 10) == line
    assert first.most == 4 * MOST_BEFORE


def test_those_in_front_that_wait_for_room_are_passed_by() -> None:
    line = [place("a"), place("b", tried=False), place("c"), place("d"), place("e")]
    pass_by(line, line[3])
    assert [each.passed for each in line] == [1, 0, 1, 0, 0]
    pass_by(line, line[0])
    assert [each.passed for each in line] == [1, 0, 1, 0, 0]
