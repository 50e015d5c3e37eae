"""How a channel ends, and what happens when there are threads, forks, few descriptors, or a long silence."""

import contextlib
import gc
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kserve_v2_child
import numpy as np
import pytest
from kserve_v2_child.channel import frames
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import ChannelClosed, Kind, MessageError
from kserve_v2_child.channel.tending import Tender

from tests.isolation.ends import LARGE, NUMERIC, channel_ends, mapped_bytes, segment_descriptors

PEER = """
import socket, sys
{first}
sys.path.insert(0, sys.argv[2])
import numpy as np
from {package}.channel.channel import Channel
from {package}.channel.messages import Kind
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
{body}
"""


@contextmanager
def peer(body: str, first: str = "") -> Iterator[tuple[Channel, subprocess.Popen[bytes]]]:
    """A process at the other end."""
    ours, theirs = Channel.pair()
    package = Path(kserve_v2_child.__file__).parent
    code = PEER.format(package=kserve_v2_child.__name__, body=body, first=first)
    paths = str(package.parent if package.name == "kserve_v2_child" else next(filter(None, sys.path)))
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), paths], pass_fds=[theirs.fileno()]
        )
    channel = Channel(ours)
    try:
        yield channel, process
    finally:
        process.kill()
        process.wait()
        channel.close()


FLOOD = """
while True:
    for kind in Kind:
        channel.send(kind, 1, {"text": "x" * 1000}, [{"x": np.full(%d, 7, np.int32)}])
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [16, LARGE, 1 << 18])
def test_a_peer_that_is_killed_while_it_sends(count: int) -> None:
    with peer(FLOOD % count) as (channel, process):
        for kind in Kind:
            message = channel.receive(60)
            assert message.kind is kind
            assert message.groups[0]["x"].tolist()[-1] == 7
        process.send_signal(signal.SIGKILL)
        with pytest.raises(ChannelClosed):
            while True:
                message = channel.receive(60)
                assert np.all(message.groups[0]["x"] == 7)
        with pytest.raises(ChannelClosed):
            while True:
                channel.send(Kind.EXECUTE)
        assert np.all(message.groups[0]["x"] == 7)  # what has come stays
    del message
    gc.collect()
    assert (segment_descriptors(), mapped_bytes()) == (0, 0)


@pytest.mark.slow
def test_a_peer_that_is_killed_while_it_does_not_read() -> None:
    with peer("channel.send(Kind.READY)\nimport signal; signal.pause()") as (channel, process):
        channel.receive(60)
        outcome: list[BaseException] = []
        thread = threading.Thread(target=flood, args=(channel, outcome))
        thread.start()
        # It is blocked, or will be: either way it ends.
        select.select([], [], [], 0)
        process.send_signal(signal.SIGKILL)
        thread.join()
        assert [type(error) for error in outcome] == [ChannelClosed]


WITHOUT_BF16 = f"""
from {kserve_v2_child.__name__}.channel.messages import MessageError
while True:
    try:
        message = channel.receive()
        channel.send(Kind.RESPOND, message.number, None, message.groups, give=True)
    except MessageError as error:
        channel.send(Kind.ERROR, error.number, {{"text": str(error), "fields": error.fields}})
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, LARGE])
def test_a_peer_without_ml_dtypes_says_that_it_needs_it_and_goes_on(count: int) -> None:
    with peer(WITHOUT_BF16, "sys.modules['ml_dtypes'] = None") as (channel, _):
        for number in range(2):
            channel.send(Kind.EXECUTE, number, {"a": 1}, [{"x": np.zeros(count, NUMERIC[-1])}])
            answer = channel.receive(60)
            assert (answer.kind, answer.number, answer.fields["fields"]) == (Kind.ERROR, number, {"a": 1})
            assert answer.fields["text"] == (
                "tensor 'x' is BF16, for which the Python package ml_dtypes is needed in the model's environment"
            )
            channel.send(Kind.EXECUTE, number, None, [{"x": np.arange(count)}])
            np.testing.assert_array_equal(channel.receive(60).groups[0]["x"], np.arange(count))


def flood(channel: Channel, outcome: list[BaseException]) -> None:
    try:
        while True:
            channel.send(Kind.EXECUTE, 1, {"text": "x" * 100_000})
    except ChannelClosed as error:
        outcome.append(error)


def test_closing_wakes_who_is_sending() -> None:
    with channel_ends() as (one, _):
        outcome: list[BaseException] = []
        thread = threading.Thread(target=flood, args=(one, outcome))
        thread.start()
        one.close()
        thread.join()
        assert [type(error) for error in outcome] == [ChannelClosed]
        assert one.fileno() == -1
        one.close()


@pytest.mark.slow
def test_many_threads_send_on_one_channel_and_every_message_is_whole() -> None:
    with channel_ends() as (one, other):

        def send(sender: int) -> None:
            for index in range(60):
                count = (3, LARGE, 5 * LARGE)[index % 3]
                one.send(
                    Kind.LOG, index, {"s": sender}, [{"x": np.full(count, 100 * sender + index, np.int32)}]
                )

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
        for thread in threads:
            thread.start()
        seen: dict[int, list[int]] = {sender: [] for sender in range(4)}
        for _ in range(4 * 60):
            message = other.receive(60)
            sender = message.fields["s"]
            assert np.all(message.groups[0]["x"] == 100 * sender + message.number)
            seen[sender].append(message.number)
        for thread in threads:
            thread.join()
        assert all(numbers == list(range(60)) for numbers in seen.values())


def test_a_message_that_comes_in_pieces_is_waited_for_and_time_outs_lose_nothing() -> None:
    raw, sock = Channel.pair()
    receiver = Channel(sock, tender=None)
    text = "y" * 100_000
    data = frames.pack(Kind.EXECUTE, 5, fields=b'{"text":"%s"}' % text.encode()) * 2
    with raw:
        received = []
        for start in range(0, len(data), 9_999):
            with contextlib.suppress(TimeoutError):
                received.append(receiver.receive(0))
            raw.sendall(data[start : start + 9_999])
        received.append(receiver.receive(60))
        assert [message.fields for message in received] == [{"text": text}] * 2
        receiver.close()


def test_a_large_message_leaves_no_large_buffer() -> None:
    raw, sock = Channel.pair()
    reader = frames.FrameReader(sock)
    with raw, sock:
        sender = threading.Thread(
            target=raw.sendall, args=(frames.pack(1, 1, fields=bytes(10 << 20)) + frames.pack(1, 2) * 3,)
        )
        tracemalloc.start()
        sender.start()
        assert len(reader.next().fields) == 10 << 20
        sender.join()
        assert tracemalloc.get_traced_memory()[0] > 10 << 20
        assert [reader.next().number for _ in range(3)] == [2, 2, 2]
        raw.sendall(frames.pack(1, 3))
        assert reader.next().number == 3
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
        tracemalloc.stop()


@contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """No more than so many more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        # Gaps below the limit are filled.
        probe = os.open("/dev/null", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(256, probe + 1), hard))
        taken.append(probe)
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(free):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


def test_without_descriptors_a_send_fails_and_the_channel_goes_on() -> None:
    with channel_ends() as (one, other):
        with few_descriptors(0):
            with pytest.raises(
                MessageError, match=r"no shared memory of 1048576 bytes for tensors: .*Too many open files"
            ):
                one.send(Kind.EXECUTE, groups=[{"x": np.zeros(LARGE)}])
            one.send(Kind.EXECUTE, 1, groups=[{"x": np.zeros(3)}])
        assert other.receive(0).number == 1
        one.send(Kind.EXECUTE, 2, groups=[{"x": np.zeros(LARGE)}])
        assert other.receive(0).number == 2


@pytest.mark.parametrize("free", [0, 1])
def test_without_descriptors_a_message_is_lost_and_the_channel_goes_on(free: int) -> None:
    with channel_ends() as (one, other):
        groups = [{"x": np.arange(LARGE), "small": np.arange(3)}]
        one.send(Kind.EXECUTE, 1, {"a": 1}, groups)
        one.send(Kind.EXECUTE, 2, {"a": 2}, groups)
        with few_descriptors(free):
            for number in (1, 2):
                with pytest.raises(
                    MessageError, match=r"tensor 'x' is in shared memory that could not be mapped"
                ) as caught:
                    other.receive(0)
                assert (caught.value.kind, caught.value.number) == (Kind.EXECUTE, number)
                assert caught.value.fields == {"a": number}
                del caught
        other.send(Kind.RESPOND)
        assert one.receive(0).kind is Kind.RESPOND
        one.send(Kind.EXECUTE, 3, {}, groups)
        np.testing.assert_array_equal(other.receive(0).groups[0]["x"], np.arange(LARGE))
        assert len(list(one._pool.segments())) == 1


def test_a_copy_of_the_process_cannot_speak_and_does_not_keep_the_channel_open() -> None:
    with channel_ends() as (one, other):
        other.send(Kind.EXECUTE, groups=[{"x": np.zeros(LARGE)}])
        message = one.receive(0)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                one.send(Kind.RESPOND)
            except ChannelClosed:
                del message
                os.write(writing, b"closed")
            os.close(reading)
            signal.pause()
        os.close(writing)
        assert os.read(reading, 100) == b"closed"
        one.send(Kind.RESPOND, 5)
        assert other.receive(60).number == 5
        one.close()
        with pytest.raises(ChannelClosed):
            other.receive(60)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)


def test_what_is_dropped_while_nobody_sends_is_given_back_by_the_tender() -> None:
    ours, theirs = Channel.pair()
    one, other = Channel(ours, tender=None), Channel(theirs, tender=Tender())
    one.send(Kind.EXECUTE, groups=[{"x": np.zeros(LARGE)}])
    message = other.receive(0)
    assert select.select([one.fileno()], [], [], 0)[0] == []
    del message
    assert select.select([one.fileno()], [], [], 60)[0] == [one.fileno()]
    one.tend(0.0)
    assert all(segment.is_idle for segment in one._pool.segments())
    one.close()
    other.close()


def test_a_finalizer_waits_for_nothing_wherever_it_runs() -> None:
    """Garbage that holds blocks is collected at every allocation, in the midst of everything that a channel does."""

    class Cycle:
        def __init__(self, held: Any) -> None:
            self.held = held
            self.itself = self

    thresholds = gc.get_threshold()
    with channel_ends() as (one, other):
        gc.set_threshold(1, 1, 1)
        try:
            for number in range(30):
                one.send(
                    Kind.EXECUTE,
                    number,
                    {"a": [number]},
                    [{"x": np.full(LARGE, number), "y": np.zeros(LARGE)}],
                )
                group = other.receive(0).groups[0]
                Cycle(group.pop("y"))
                assert np.all(group["x"] == number)
                other.send(Kind.RESPOND, number, {}, [group], give=True)
                group.clear()
                answer = one.receive(0).groups[0].pop("x")
                assert np.all(answer == number)
                Cycle(answer)
                del answer
                one.tend(float(number))
                other.tend(float(number))
        finally:
            gc.set_threshold(*thresholds)


def test_nobody_is_asked_twice_for_the_same_kind_of_message() -> None:
    """A small request and its answer, as often as they come: how many functions of ours that takes."""
    inputs = [{"a": np.ones((1, 16), np.int32), "b": np.ones((1, 16), np.int32)}]
    with channel_ends() as (one, other):

        def exchange() -> None:
            one.send(Kind.EXECUTE, 1, {"requests": [{"id": "7"}]}, inputs)
            other.receive()
            other.send(Kind.RESPOND, 1, None, inputs)
            one.receive()

        for _ in range(3):
            exchange()
        calls: Counter[str] = Counter()

        def count(frame: Any, event: str, _: Any) -> None:
            if event == "call" and "child" in frame.f_code.co_filename:
                calls[frame.f_code.co_qualname if sys.version_info >= (3, 11) else ""] += 1

        sys.setprofile(count)
        try:
            exchange()
        finally:
            sys.setprofile(None)
        assert calls["make"] == calls["read"] == 0
        assert calls.total() <= 80, calls


def test_two_who_close_a_channel_do_not_leave_it_to_each_other() -> None:
    """One finds that somebody receives, who stops that and finds in turn that the one is still looking."""

    class Receiving:
        came = False

        def acquire(self, _blocking: bool) -> bool:
            if self.came:
                return True
            self.came = True
            ours._dispose()
            return False

        def locked(self) -> bool:
            return False

        def release(self) -> None:
            pass

    with channel_ends() as (ours, _):
        ours._receiving = Receiving()  # type: ignore[assignment]
        ours.close()
        assert ours.fileno() == -1
