"""What is done for a model's process ends with it."""

import threading
from pathlib import Path
from typing import Any

import pytest
from kserve_v2_child.channel.messages import ChannelClosed, Kind, Message

from kserve_v2.backend import ModelSource
from kserve_v2.isolation.services import Services
from kserve_v2.messages import InferRequest
from tests.integration.support import wait_until


class Side:
    """The channel to a process."""

    def __init__(self) -> None:
        self.closed = False
        self.sent: list[tuple[Kind, int]] = []

    def send(self, kind: Kind, number: int, fields: dict[str, Any], groups: Any = ()) -> None:
        if self.closed:
            raise ChannelClosed("gone")
        self.sent.append((kind, number))


def of_process(side: Side) -> Services:
    source = ModelSource("m", 1, Path("m"), Path("m/1"))
    return Services(side, source, {7: [InferRequest("m", {})]})


def loops() -> int:
    return sum(thread.name == "m-calls" for thread in threading.enumerate())


CALL = Message(Kind.CALL, 1, {"model_name": "n", "serving": []}, [{}])


@pytest.mark.parametrize("asked_before", [False, True])
def test_what_comes_once_the_process_is_gone_starts_nothing_that_nobody_ends(asked_before: bool) -> None:
    """Its last words, and that nobody waits any more for what it was executing when it died."""
    side = Side()
    services = of_process(side)
    if asked_before:
        services.cancelled(7, 0)
        wait_until(lambda: side.sent == [(Kind.CANCEL, 7)])
    side.closed = True
    services.close()
    services.cancelled(7, 0)
    services.take(CALL)
    wait_until(lambda: loops() == 0)
    assert side.sent == [(Kind.CANCEL, 7)] * asked_before
    assert services._calls == {}
