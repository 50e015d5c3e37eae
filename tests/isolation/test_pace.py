"""When an instance in another process gets its next batch."""

from collections.abc import Sequence
from typing import Any

import pytest
from kserve_v2_child.channel.messages import Kind, Message
from kserve_v2_child.serving import describe

from kserve_v2.backend import PacedInstance
from kserve_v2.isolation.async_instances import (
    IsolatedAsyncInstance,
    IsolatedAsyncStreamInstance,
    IsolatedAsyncStreamsInstance,
)
from kserve_v2.isolation.pace import Pace

SENT = Message(Kind.RESPOND, 1)
END = Message(Kind.RESPOND, 1, {"end": True})
ERROR = Message(Kind.ERROR, 1)
BEGUN = Message(Kind.BEGUN, 1)
OTHER = Message(Kind.RESPOND, 5)


def free(pace: Pace) -> list[str]:
    """Grows when it is free."""
    told: list[str] = []
    pace.when_free(lambda: told.append("free"))
    return told


# What is given, what the instance says, and whether it is free then.
CASES = [
    ((1,), False, [], False),
    ((1,), False, [SENT], True),
    ((1,), False, [BEGUN], True),
    ((1,), False, [ERROR], True),
    ((1,), False, [OTHER], False),
    # A stream that has answers, or all of them, may still keep its instance busy.
    ((1, 2), True, [SENT], False),
    ((1, 2), True, [SENT, END], False),
    ((1, 2), True, [SENT, END, BEGUN], True),
    ((1, 2), True, [BEGUN], True),
    ((1, 2), True, [ERROR], True),
]


@pytest.mark.parametrize(("numbers", "streams", "said", "is_free"), CASES)
def test_an_instance_is_free_when_it_has_begun(
    numbers: Sequence[int], streams: bool, said: Sequence[Message], is_free: bool
) -> None:
    pace = Pace()
    assert free(pace) == ["free"]
    pace.given(numbers, streams=streams)
    told = free(pace)
    for message in said:
        assert told == []
        pace.heard(message)
    assert (told, free(pace)) == ((["free"], ["free"]) if is_free else ([], []))


def test_of_several_the_last_one_counts() -> None:
    pace = Pace()
    pace.given((1,), streams=False)
    pace.given((5,), streams=False)
    told = free(pace)
    pace.heard(BEGUN)
    assert told == []
    pace.heard(OTHER)
    assert told == ["free"]


def test_one_that_is_lost_keeps_nobody_waiting() -> None:
    pace = Pace()
    pace.given((1,), streams=True)
    told = free(pace)
    pace.lost()
    assert told == free(pace) == ["free"]


def test_one_that_works_for_nobody_and_is_silent_is_stuck() -> None:
    """For `execution_timeout`: while somebody waits, it is measured from when he began to."""
    now = [10.0]
    pace = Pace(lambda: now[0])
    assert pace.stuck_since_s() is None
    pace.given((1, 2), streams=True)
    now[0] = 20.0
    pace.heard(END)
    # The second stream may have a client that does not read.
    assert pace.stuck_since_s() is None
    now[0] = 30.0
    pace.heard(Message(Kind.RESPOND, 2, {"end": True}))
    assert pace.stuck_since_s() == 30.0
    pace.heard(BEGUN)
    assert pace.stuck_since_s() is None


class Instance:
    """One as a model may have it, with nothing but what it tells of itself."""

    max_concurrency = 2

    async def execute_async(self) -> None:
        pass


class PacedOne(Instance):
    def when_free(self) -> None:
        pass


@pytest.mark.parametrize("kind", [Instance, PacedOne])
def test_only_the_instances_of_paced_ones_are_paced(kind: type[Instance]) -> None:
    """Any other one gets batch after batch without a word of it."""
    paced = describe(kind())["paced"]
    nobody: Any = None
    for made in (IsolatedAsyncInstance, IsolatedAsyncStreamInstance, IsolatedAsyncStreamsInstance):
        assert isinstance(made(nobody, nobody, nobody, 2, paced=paced), PacedInstance) is (kind is PacedOne)
