"""What a process that runs a stranger's code may send: every answer is a message or an error, and this process lives."""

import array
import fcntl
import gc
import mmap
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_v2_child.channel import frames
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.heads import make
from kserve_v2_child.channel.messages import ChannelClosed, Kind, Message, MessageError, ProtocolError
from kserve_v2_child.channel.places import BUNDLE, NOTICE, OWN, PLACE, RETURNED, SIZE, Notice

from tests.isolation.ends import LARGE, descriptors

SEGMENT_BYTES = 1 << 20
ANY = {"x": np.zeros(LARGE, np.uint8)}
TEXT = {"x": np.array([b"abc", b""], object)}
HEAD = make([ANY]).encoded
SHRINK = 2


@contextmanager
def victim() -> Iterator[tuple[socket.socket, Channel]]:
    """A socket of somebody who does what he likes, and the channel at its other end."""
    raw, sock = Channel.pair()
    channel = Channel(sock, tender=None)
    raw.settimeout(60)
    try:
        yield raw, channel
    finally:
        raw.close()
        channel.close()


def send(raw: socket.socket, data: bytes, fds: list[int] | None = None) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    raw.sendmsg([data], rights)


def sealed(size: int = SEGMENT_BYTES, seals: int = SHRINK) -> int:
    fd = os.memfd_create("kserve-v2", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def large(
    place: bytes = PLACE.pack(0, OWN, 1, 5, 0, LARGE), *, size: int = SEGMENT_BYTES, head: bytes = HEAD
) -> bytes:
    """A message with one tensor in a block of the segment 5, which comes with it."""
    return frames.pack(Kind.RESPOND, 3, (), [frames.SEGMENT.pack(5, size)], b"{}", head, place)


def touch(message: Message) -> None:
    """Read and write all of it, as whoever gets it does."""
    for group in message.groups:
        for tensor in group.values():
            tensor.tolist()
            if tensor.dtype != object:
                tensor[...] = tensor.dtype.type(1)


def outcomes(channel: Channel) -> list[Any]:
    """All that comes until the end."""
    found: list[Any] = []
    while True:
        try:
            message = channel.receive(0)
            touch(message)
            found.append(message)
        except MessageError as error:
            found.append(error)
        except (ChannelClosed, TimeoutError) as error:
            found.append(error)
            return found


def stream(groups: list[dict[str, Any]], kind: Kind = Kind.EXECUTE) -> bytes:
    """The bytes of a message of ours; large tensors are written, but nobody gets the descriptors."""
    sock, raw = Channel.pair()
    with raw:
        channel = Channel(sock, tender=None)
        channel.send(kind, 2**64 - 1, {"a": [1.5, None, "\ud800"]}, groups)
        data = raw.recv(1 << 20)
        channel.close()
        return data


@pytest.mark.parametrize("kind", Kind)
def test_a_peer_may_die_at_any_byte_of_any_message(kind: Kind) -> None:
    data = stream([{"x": np.arange(3), "y": np.array([b"ab", b""], object)}, {}], kind)
    for end in range(len(data)):
        with victim() as (raw, channel):
            raw.sendall(data + data[:end])
            raw.close()
            first, last = outcomes(channel)
            assert first.kind is kind
            assert type(last) is ChannelClosed


def test_a_peer_may_die_at_any_byte_of_a_message_with_shared_memory() -> None:
    data, fd = large(), sealed()
    before = open_descriptors()
    for end in range(1, len(data) + 1):
        with victim() as (raw, channel):
            send(raw, data[:end], [fd])
            raw.close()
            found = outcomes(channel)
            assert type(found[-1]) is ChannelClosed
            assert len(found) == 1 + (end == len(data))
    found.clear()
    os.close(fd)
    assert open_descriptors() == before - 1


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_changed_bytes_are_an_error_or_another_message(data: st.DataObject) -> None:
    groups = data.draw(
        st.sampled_from([[], [{"x": np.arange(3), "t": np.array([b"ab"], object)}, {}], [ANY], [TEXT, ANY]])
    )
    sent = bytearray(stream(groups))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(sent) - 1))
        sent[place] = data.draw(st.sampled_from([0, 1, 4, 127, 128, 255]) | st.integers(0, 255))
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(sent)))
        sent[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=9))
    with victim() as (raw, channel):
        fd = sealed()
        send(raw, sent or b"\0", [fd] if data.draw(st.booleans()) else None)
        os.close(fd)
        raw.close()
        assert isinstance(outcomes(channel)[-1], ChannelClosed)


def packed(*args: Any, **kwargs: Any) -> bytes:
    return frames.pack(Kind.RESPOND, 3, *args, **kwargs)


def described(*tensors: tuple[bytes, int, tuple[int, ...]]) -> bytes:
    """A head of one group, as somebody writes it who can write anything."""
    head = np.array([1, len(tensors)], "<u4").tobytes()
    for name, number, shape in tensors:
        head += np.array([len(name)], "<u2").tobytes() + bytes([number, len(shape)]) + name
        head += np.array(shape, "<i8").tobytes()
    return head


def open_descriptors() -> int:
    """How many this process has, without those of what tests have left to the collector."""
    gc.collect()
    return len(descriptors())


MALFORMED: dict[str, tuple[bytes, str]] = {
    "the size of 4 GB": (b"\xff" * 60, "impossible header"),
    "parts larger than the message": (frames.HEADER.pack(3, 1, 0, 0, 0, 4, 0, 0) + b"    ", "impossible header"),
    "a kind that there is not": (frames.pack(200, 0), "kind 200"),
    "fields that are not JSON": (packed(fields=b"{"), "not JSON"),
    "fields that are not ASCII": (packed(fields=b'{"\xff":1}'), "not JSON"),
    "fields that are a list": (packed(fields=b"[]"), "not a JSON object"),
    "fields in fields in fields": (packed(fields=b'{"a":' * 20_000), "not JSON"),
    "tensors that nobody describes": (packed(inline=b"abc"), "not described"),
    "a notice that there is not": (packed([NOTICE.pack(9, 1)]), "notice of the kind 9"),
    "a release of what was never lent": (packed([Notice.RELEASE.about(7)]), "block 7 is given back"),
    "a head that is cut off": (packed(head=HEAD[:-1]), "described wrongly"),
    "a head that goes on": (packed(head=HEAD + b"\0"), "1 bytes behind the description"),
    "4 billion groups": (packed(head=b"\xff" * 8), "described wrongly"),
    "a datatype that there is not": (packed(head=described((b"x", 14, (1,)))), "datatype number 14"),
    "too many dimensions": (packed(head=described((b"x", 1, (1,) * 33))), "33 dimensions"),
    "a negative dimension": (packed(head=described((b"x", 1, (-1, 4)))), "the shape [-1, 4]"),
    "a name that is not UTF-8": (packed(head=described((b"\xff", 1, (1,)))), "described wrongly"),
    "the same name twice": (packed(head=described((b"x", 1, (1,)), (b"x", 1, (1,)))), "two tensors 'x'"),
    "more than there is memory in the world": (packed(head=described((b"x", 1, (2**40, 2**40)))), "too large"),
    "more than that, and none": (packed(head=described((b"x", 8, (0, 2**62)))), "too large"),
    "less data than described": (packed(head=described((b"x", 1, (4,))), inline=b"abc"), "of 8 bytes in 3"),
    "far less": (packed(head=described((b"x", 1, (2**40,))), inline=b"abc"), "'x' is cut off"),
    "more data than described": (packed(head=described((b"x", 1, (4,))), inline=bytes(9)), "of 8 bytes in 9"),
    "places of what is inline": (
        packed(head=described((b"x", 1, (8,))), places=b"\0", inline=bytes(8)),
        "of 8 bytes in 8",
    ),
    "places that are cut off": (packed(head=HEAD, places=b"abc"), "have 3 bytes"),
    "no size of BYTES": (packed(head=make([TEXT]).encoded, places=b"abc"), "have 3 bytes"),
    "a size of BYTES that is not there": (
        packed(head=make([TEXT]).encoded, places=SIZE.pack(2**63), inline=bytes(16)),
        "'x' is cut off",
    ),
    "a length of BYTES that is not there": (
        packed(head=make([TEXT]).encoded, places=SIZE.pack(8), inline=b"\x05\0\0\0abcd"),
        "'x' is cut off in an element",
    ),
    "fewer bytes than elements": (
        packed(head=make([TEXT]).encoded, places=SIZE.pack(7), inline=bytes(8)),
        "2 elements in 7 bytes",
    ),
    "billions of elements": (
        packed(head=described((b"x", 12, (2**40,))), places=SIZE.pack(8), inline=bytes(8)),
        "1099511627776 elements in 8 bytes",
    ),
    "bytes behind the last element": (
        packed(head=make([TEXT]).encoded, places=SIZE.pack(16), inline=bytes(16)),
        "8 bytes behind its last element",
    ),
    "bytes behind the last text": (
        packed(head=make([TEXT]).encoded, places=SIZE.pack(8), inline=bytes(24)),
        "16 bytes behind the last tensor",
    ),
    "a number behind a text that is not there": (
        packed(head=make([{**TEXT, "y": np.zeros(3)}]).encoded, places=SIZE.pack(8), inline=bytes(24)),
        "'y' is cut off",
    ),
    "a segment that was not announced": (packed(head=HEAD, places=PLACE.pack(0, OWN, 1, 5, 0, LARGE)), "not there"),
    "a block that was not lent": (
        packed(head=HEAD, places=PLACE.pack(0, RETURNED, 1, 0, 0, LARGE)),
        "block 1 is given back, which is not lent",
    ),
    "a segment without a descriptor": (large(), "announces 1 segments and brings none"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_message_ends_the_channel(case: str) -> None:
    data, text = MALFORMED[case]
    with victim() as (raw, channel):
        raw.sendall(data)
        with pytest.raises(ProtocolError) as caught:
            channel.receive(60)
        assert text in str(caught.value)
        with pytest.raises(ChannelClosed):
            channel.receive()
        with pytest.raises(ChannelClosed):
            channel.send(Kind.EXECUTE)
        with suppress(ConnectionResetError):
            assert raw.recv(1) == b""  # the other side is told


BAD_PLACES: dict[str, tuple[bytes, str]] = {
    "behind the end": (PLACE.pack(0, OWN, 1, 5, SEGMENT_BYTES, LARGE), "not there"),
    "across the end": (PLACE.pack(0, OWN, 1, 5, SEGMENT_BYTES - LARGE + 64, LARGE), "not there"),
    "around the end of all memory": (PLACE.pack(0, OWN, 1, 5, 2**64 - 64, LARGE), "not there"),
    "not aligned": (PLACE.pack(0, OWN, 1, 5, 8, LARGE), "not there"),
    "another size": (PLACE.pack(0, OWN, 1, 5, 0, LARGE - 1), "of 16448 bytes has a place of 16447"),
    "another segment": (PLACE.pack(0, OWN, 1, 6, 0, LARGE), "not there"),
    "another owner": (PLACE.pack(0, 2, 1, 5, 0, LARGE), "not there"),
    "twice": (PLACE.pack(0, OWN, 1, 5, 0, LARGE) * 2, "two places of tensor 0"),
    "another tensor": (PLACE.pack(1, OWN, 1, 5, 0, LARGE), "is cut off"),
    "another tensor as well": (
        PLACE.pack(0, OWN, 1, 5, 0, LARGE) + PLACE.pack(1, OWN, 1, 5, 0, LARGE),
        "places of tensors that there are not: [1]",
    ),
    "all together, which is too much": (
        PLACE.pack(BUNDLE, OWN, 1, 5, 0, LARGE + 8),
        "8 bytes behind the last tensor",
    ),
    "all together, which is too little": (PLACE.pack(BUNDLE, OWN, 1, 5, 0, LARGE - 8), "'x' is cut off"),
}


@pytest.mark.parametrize("case", BAD_PLACES)
def test_a_place_that_is_none_ends_the_channel(case: str) -> None:
    place, text = BAD_PLACES[case]
    with victim() as (raw, channel):
        fd = sealed()
        send(raw, large(place), [fd])
        os.close(fd)
        with pytest.raises(ProtocolError) as caught:
            channel.receive(60)
        assert text in str(caught.value)


def test_a_segment_that_is_shorter_than_announced_ends_the_channel() -> None:
    with victim() as (raw, channel):
        fd = sealed(SEGMENT_BYTES - mmap.PAGESIZE)
        send(raw, large(), [fd])
        os.close(fd)
        with pytest.raises(ProtocolError, match="a segment of 1048576 bytes has only 1044480"):
            channel.receive(60)


def test_a_segment_that_can_shrink_is_not_mapped() -> None:
    with victim() as (raw, channel):
        fd = sealed(seals=0)
        os.pwrite(fd, b"\7" * LARGE, 0)
        send(raw, large(), [fd])
        kept = channel.receive(60).groups[0]["x"]
        os.ftruncate(fd, 0)
        assert kept.tolist() == [7] * LARGE
        raw.sendall(packed(head=HEAD, places=PLACE.pack(0, OWN, 2, 5, 0, LARGE)))
        with pytest.raises(ProtocolError, match="a segment has been made shorter"):
            channel.receive(60)
        os.close(fd)


def test_a_block_of_ours_that_comes_back_is_mapped_only_if_it_cannot_shrink() -> None:
    """The other side has our descriptor as well."""
    raw, sock = Channel.pair()
    made: list[int] = []

    def create(size: int) -> int:
        made.append(os.memfd_create("kserve-v2"))
        os.ftruncate(made[-1], size)
        return made[-1]

    with raw:
        channel = Channel(sock, create_memory=create, tender=None)
        channel.send(Kind.EXECUTE, groups=[ANY])
        os.ftruncate(made[0], 0)
        raw.sendall(packed(head=HEAD, places=PLACE.pack(0, RETURNED, 2, 0, 0, LARGE)))
        with pytest.raises(ProtocolError, match="a segment of 1048576 bytes has only 0"):
            channel.receive(60)
        channel.close()


def block_of(raw: socket.socket) -> tuple[int, int, int]:
    """Which block a message of ours with one large tensor is in, and where."""
    header = frames.HEADER.unpack_from(data := raw.recv(1 << 16))
    places = data[len(data) - header[7] :]
    _, _, number, _, offset, size = PLACE.unpack(places)
    return number, offset, size


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda n, o, s: (n, o + 64, s), "not there"),
        (lambda n, o, s: (n, o - 64, s), "not there"),
        (lambda n, o, s: (n, o, s + 1), "not there"),
        (lambda n, o, s: (n, 2**64 - 64, s), "not there"),
        (lambda n, o, s: (n + 1, o, s), "which is not lent"),
    ],
)
def test_what_comes_back_is_within_what_was_lent(
    change: Callable[[int, int, int], tuple[int, int, int]], text: str
) -> None:
    with victim() as (raw, channel):
        channel.send(Kind.EXECUTE, groups=[ANY])
        block_of(raw)
        channel.send(Kind.EXECUTE, groups=[ANY])
        number, offset, size = change(*block_of(raw))
        raw.sendall(packed(head=HEAD, places=PLACE.pack(0, RETURNED, number, 0, offset, size)))
        with pytest.raises(ProtocolError, match=text):
            channel.receive(60)


def test_a_block_is_given_back_once() -> None:
    with victim() as (raw, channel):
        channel.send(Kind.EXECUTE, groups=[ANY])
        number, offset, size = block_of(raw)
        back = packed(head=HEAD, places=PLACE.pack(0, RETURNED, number, 0, offset, size))
        raw.sendall(back + back)
        touch(channel.receive(60))
        with pytest.raises(ProtocolError, match="which is not lent"):
            channel.receive(60)


def unusual(kind: str) -> int:
    if kind == "a pipe":
        reading, writing = os.pipe()
        os.close(writing)
        return reading
    if kind == "a socket":
        return socket.socket().detach()
    if kind == "read-only memory":
        writable = sealed()
        fd = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY)
        os.close(writable)
        return fd
    return os.open(kind, os.O_RDONLY)


@pytest.mark.parametrize(
    "kind", ["a pipe", "a socket", "read-only memory", "/dev/zero", "/", tempfile.gettempdir()]
)
def test_descriptors_of_other_things_are_an_error(kind: str) -> None:
    before = open_descriptors()
    with victim() as (raw, channel):
        fd = unusual(kind)
        send(raw, large(), [fd])
        os.close(fd)
        assert isinstance(outcomes(channel)[0], (ProtocolError, MessageError))
    assert open_descriptors() == before


def test_huge_pages_are_not_mapped_because_there_may_be_none() -> None:
    with victim() as (raw, channel):
        fd = os.memfd_create("kserve-v2", os.MFD_ALLOW_SEALING | os.MFD_HUGETLB)
        os.ftruncate(fd, 2 << 20)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SHRINK)
        send(raw, large(), [fd])
        os.close(fd)
        found = outcomes(channel)[0]
        assert isinstance(found, MessageError) or isinstance(found.groups[0]["x"].base, bytearray)


def test_descriptors_that_nobody_announces_are_closed() -> None:
    before = open_descriptors()
    with victim() as (raw, channel):
        fd = sealed()
        with pytest.raises(ProtocolError, match="descriptors that no message announces"):
            for byte in packed(fields=b"{}"):
                send(raw, bytes([byte]), [fd, fd])
                with pytest.raises(TimeoutError):
                    channel.receive(0)
        os.close(fd)
    assert open_descriptors() == before


def test_more_or_fewer_descriptors_than_announced_end_the_channel() -> None:
    fd = sealed()
    before = open_descriptors()
    for count in (2, 70):
        with victim() as (raw, channel):
            send(raw, large(), [fd] * count)
            assert isinstance(outcomes(channel)[0], (ProtocolError, MessageError))
    os.close(fd)
    assert open_descriptors() == before - 1


def test_a_segment_is_announced_once() -> None:
    with victim() as (raw, channel):
        fd = sealed()
        send(raw, large(), [fd])
        send(raw, large(), [fd])
        touch(channel.receive(60))
        with pytest.raises(ProtocolError, match="segment 5 is announced, which there is already"):
            channel.receive(60)
        os.close(fd)


def test_no_more_segments_than_a_correct_side_has() -> None:
    with victim() as (raw, channel):
        fd = sealed()
        for number in range(128):
            send(raw, frames.pack(0, 0, (), [frames.SEGMENT.pack(number, SEGMENT_BYTES)]), [fd])
            with pytest.raises(TimeoutError):
                channel.receive(0)
        dropped = [Notice.DROP.about(0)]
        send(raw, frames.pack(0, 0, dropped, [frames.SEGMENT.pack(128, SEGMENT_BYTES)]), [fd])
        with pytest.raises(TimeoutError):
            channel.receive(0)
        send(raw, frames.pack(0, 0, (), [frames.SEGMENT.pack(129, SEGMENT_BYTES)]), [fd])
        with pytest.raises(ProtocolError, match="there are 128 already"):
            channel.receive(60)
        os.close(fd)
