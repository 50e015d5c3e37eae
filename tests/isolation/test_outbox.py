"""Messages that wait to be sent together: in order, once, soon, and not lost with the process that has written them."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind
from kserve_v2_child.channel.outbox import MOST_BYTES, MOST_WAIT_S, LeftOutbox, Outbox

from kserve_v2.backend import ExecutionLostError
from kserve_v2.isolation.link import Link
from kserve_v2.messages import InferRequest
from tests.isolation.test_link import Process, given, instance_on

REQUESTS = [[InferRequest("m", {}, id=str(number))] for number in range(4)]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Ends:
    """The server's end, and that of a process, which nobody tends but the test."""

    def __init__(self) -> None:
        self.clock = Clock()
        left = LeftOutbox()
        outbox = Outbox(os.dup(left.fileno()), self.clock)
        ours, theirs = Channel.pair()
        self.server = Channel(ours, tender=None, left_in=left)
        self.process = Channel(theirs, tender=None, keep_in=outbox)

    def answer(self, *numbers: int, later: bool = True) -> None:
        for number in numbers:
            self.process.send(Kind.RESPOND, number, {}, given(number), later=later)

    def come(self) -> list[int]:
        """The numbers of what the server receives without waiting, -1 for the end."""
        numbers = []
        while True:
            try:
                message = self.server.receive(0)
            except TimeoutError:
                return numbers
            except ChannelClosed:
                return [*numbers, -1]
            assert message.groups[0]["y"] == message.number
            numbers.append(message.number)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.server.close()
    made.process.close()


def test_what_waits_is_sent_with_what_does_not(ends: Ends) -> None:
    ends.answer(1, 2)
    assert ends.come() == []
    ends.answer(3, later=False)
    assert ends.come() == [1, 2, 3]
    ends.process.close()
    assert ends.come() == [-1]


def test_what_waits_is_received_after_the_death_of_who_was_to_send_it(ends: Ends) -> None:
    ends.answer(1, later=False)
    ends.answer(2, 3)
    ends.process.close()
    assert ends.come() == [1, 2, 3, -1]
    assert ends.come() == [-1]


def test_what_was_sent_is_not_left_behind(ends: Ends) -> None:
    ends.answer(1)
    ends.process.flush()
    ends.answer(2)
    ends.process.tend(0.0)
    ends.answer(3)
    ends.process.close()
    assert ends.come() == [1, 2, 3, -1]


def test_nothing_waits_for_long(ends: Ends) -> None:
    ends.answer(1)
    ends.clock.now_s += MOST_WAIT_S / 2
    ends.answer(2)
    assert ends.come() == []
    ends.clock.now_s += MOST_WAIT_S
    ends.answer(3)
    assert ends.come() == [1, 2, 3]


def test_who_tends_the_channel_sends_what_waits_for_an_execution_that_does_not_end(ends: Ends) -> None:
    ends.answer(1)
    ends.process.tend(0.0)
    assert ends.come() == [1]


def test_what_does_not_fit_does_not_wait(ends: Ends) -> None:
    """Nor does what lies in shared memory, of which the other side gives notice."""
    text = b"a" * 12_000
    numbers = range(1, 3 + MOST_BYTES // len(text))
    for number in numbers:
        groups = [{"y": np.array([number]), "text": np.array([text], object)}]
        ends.process.send(Kind.RESPOND, number, {}, groups, later=True)
    sent = ends.come()
    assert sent == list(numbers)[: len(sent)]
    assert len(sent) > 1
    large = [{"y": np.array([99]), "large": np.zeros(1 << 20, np.uint8)}]
    ends.process.send(Kind.RESPOND, 99, {}, large, later=True)
    assert ends.come() == [*list(numbers)[len(sent) :], 99]


def test_a_message_has_come_when_all_of_it_has(ends: Ends) -> None:
    assert not ends.process.has_next
    for number in (1, 2):
        ends.server.send(Kind.EXECUTE, number, {}, given(number), later=True)
    ends.server.flush()
    assert ends.process.receive(60).number == 1
    assert ends.process.has_next
    assert ends.process.receive(60).number == 2
    assert not ends.process.has_next


@pytest.mark.parametrize("garbage", [b"\xff" * 200, b"\0" * 200, b"\1"])
def test_garbage_left_behind_is_the_end_like_any_other(garbage: bytes) -> None:
    left = LeftOutbox()
    outbox = Outbox(os.dup(left.fileno()))
    ours, theirs = Channel.pair()
    server = Channel(ours, tender=None, left_in=left)
    outbox.append(garbage)
    theirs.close()
    with pytest.raises(ChannelClosed):
        server.receive(60)
    server.close()


def test_a_process_that_dies_takes_with_it_what_it_has_begun_and_nothing_before_or_behind(ends: Ends) -> None:
    """It has answered two, of which one was sent and not yet struck out, and dies of the third."""
    process = Process()
    instance = instance_on(Link(process, ends.server, None))  # type: ignore[arg-type] - a stand-in
    assert instance.descriptor is not None
    for number, requests in enumerate(REQUESTS):
        instance.post(given(number)[0], requests)
    instance.flush()
    numbers = [ends.process.receive(60).number for _ in REQUESTS]
    ends.answer(*numbers[:2])
    with ends.process._sending:
        os.write(ends.process.fileno(), ends.process._sender._unsent)
    assert instance.collect()["y"] == numbers[0]
    ends.process.close()
    assert instance.collect()["y"] == numbers[1]
    with pytest.raises(ExecutionLostError):
        instance.collect()
    assert [posted.requests for posted in instance._posted] == REQUESTS[2:]
    assert not process.killed_for


def test_answers_are_received_though_nothing_can_be_sent_any_more(ends: Ends) -> None:
    process = Process()
    instance = instance_on(Link(process, ends.server, None))  # type: ignore[arg-type] - a stand-in
    assert instance.descriptor is not None
    instance.post(given(1)[0], REQUESTS[0])
    instance.flush()
    ends.answer(ends.process.receive(60).number, later=False)
    ends.process.close()
    instance.post(given(2)[0], REQUESTS[1])
    with pytest.raises(ExecutionLostError):
        instance.flush()
    assert instance.collect()["y"] == 1
    with pytest.raises(ExecutionLostError):
        instance.collect()
