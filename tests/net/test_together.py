"""Which answers of a turn of the event loop are sent at once, and which at its end."""

import asyncio

import pytest

from kserve_v2.net.together import Together


async def sent(turns: list[int]) -> list[list[str]]:
    """For turns in which so many answers are there: how each was sent, in order."""
    together, found = Together(), []
    for answers in turns:
        turn: list[str] = []
        for _ in range(answers):
            if together.is_first():
                turn.append("at once")
            else:
                together.at_end(lambda _, turn=turn: turn.append("at the end"), ())
        await asyncio.sleep(0)
        found.append(turn)
    return found


@pytest.mark.parametrize("before", [[], [1], [1] * 3, [3], [2, 1, 1, 1]])
def test_all_but_the_first_wait_for_the_end(before: list[int]) -> None:
    *_, last = asyncio.run(sent([*before, 3]))
    assert last == ["at once", "at the end", "at the end"]


def test_where_answers_came_alone_others_are_seen_soon_and_none_is_lost() -> None:
    for alone in range(5, 40):
        crowd = asyncio.run(sent([1] * alone + [3] * 12))[alone:]
        assert all(len(turn) == 3 for turn in crowd)
        seen = [turn[1:] == ["at the end"] * 2 for turn in crowd]
        assert True in seen[:8]
        assert all(seen[seen.index(True) :])
