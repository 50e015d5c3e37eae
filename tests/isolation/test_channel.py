"""One end of a channel and the other: whole messages, whatever is in them."""

import os
import select
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, Channel.pair())
    yield one, other
    one.close()
    other.close()


def test_a_message_arrives_as_it_was_sent(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    fields = {"a": float("inf"), "b": 2**63, "c": "\ud800", "d": [None, True]}
    groups = [
        {"x": np.arange(6, dtype=np.int32).reshape(2, 3), "y": np.array([b"", b"\0ab"], object)},
        {},
        {"z": np.array(1.5, np.float16), "empty": np.empty((0, 3), np.float64)},
    ]
    one.send(Kind.EXECUTE, 2**64 - 1, fields, groups)
    message = other.receive()
    assert (message.kind, message.number, message.fields) == (Kind.EXECUTE, 2**64 - 1, fields)
    assert [list(group) for group in message.groups] == [["x", "y"], [], ["z", "empty"]]
    for sent, received in zip(groups, message.groups, strict=True):
        for name, array in sent.items():
            assert received[name].dtype == array.dtype
            assert received[name].flags.writeable
            np.testing.assert_array_equal(received[name], array)


def test_receive_ends_when_the_time_is_over_or_the_other_side_is_gone(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    with pytest.raises(TimeoutError):
        other.receive(0)
    one.close()
    with pytest.raises(ChannelClosed):
        other.receive()


def test_closing_wakes_who_is_receiving(ends: tuple[Channel, Channel]) -> None:
    one, _ = ends
    outcome: list[BaseException] = []

    def receive() -> None:
        try:
            one.receive()
        except ChannelClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    one.close()
    thread.join()
    assert len(outcome) == 1


def test_a_reply_that_is_awaited_on_the_descriptor_is_left_there() -> None:
    ours, theirs = Channel.pair()
    with_tender, other = Channel(ours, tender=None), Channel(theirs, tender=None)
    with_tender.expect()
    other.send(Kind.RESPOND, 7)
    with_tender.tend(0.0)
    assert select.select([with_tender.fileno()], [], [], 0)[0]
    assert with_tender.receive(0).number == 7
    # What nobody expects is taken by whoever tends, and kept.
    other.send(Kind.RESPOND, 8)
    with_tender.tend(0.0)
    assert not select.select([with_tender.fileno()], [], [], 0)[0]
    assert with_tender.receive(0).number == 8
    with_tender.close()
    other.close()


def test_an_event_loop_that_has_watched_a_channel_changes_nothing(ends: tuple[Channel, Channel]) -> None:
    """libuv leaves what it has watched so that it does not block."""
    one, other = ends
    os.set_blocking(one.fileno(), False)
    # More than the socket holds, so that there is no room at first.
    fields = {"text": "x" * 4_000_000}

    def converse() -> None:
        one.send(Kind.EXECUTE, 1, fields)
        answers.append(one.receive().number)

    answers: list[int] = []
    thread = threading.Thread(target=converse)
    thread.start()
    assert other.receive().fields == fields
    other.send(Kind.RESPOND, 2)
    thread.join()
    assert answers == [2]


@pytest.mark.parametrize("text", [b"abc", b"a" * 4096])
def test_texts_that_travel_in_the_message_wait_for_those_behind_them(
    ends: tuple[Channel, Channel], text: bytes
) -> None:
    ours, theirs = ends
    for number in (1, 2):
        ours.send(Kind.EXECUTE, number, groups=[{"x": np.array([text], object)}], later=True)
    with pytest.raises(TimeoutError):
        theirs.receive(0)
    ours.flush()
    for number in (1, 2):
        message = theirs.receive(60)
        assert (message.number, message.groups[0]["x"].tolist()) == (number, [text])


def test_what_lies_in_shared_memory_does_not_wait_and_keeps_its_place(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    for number, size in ((1, 8), (2, 1 << 20)):
        ours.send(Kind.EXECUTE, number, groups=[{"x": np.array([b"a" * size], object)}], later=True)
    for number, size in ((1, 8), (2, 1 << 20)):
        message = theirs.receive(60)
        assert (message.number, len(message.groups[0]["x"][0])) == (number, size)
