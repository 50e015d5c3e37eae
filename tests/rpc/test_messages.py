"""Length-prefixed messages and their compression, without a connection."""

import gzip
import itertools
import sys
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, ServingError, UnsupportedError
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rpc.transport.messages import (
    PREFIX,
    Compressed,
    MessageReader,
    choose_encoding,
    decompressed,
    framed,
    in_frames,
    known_encoding,
)
from kserve_v2.scheduling.slices import Slices, at_once


def reader_of(max_bytes: int) -> MessageReader:
    """One of which nobody is told what it keeps."""
    return MessageReader(max_bytes, lambda size: None)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in parts."""
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=50), max_size=6), st.lists(st.integers(0, 10**6), max_size=12), st.booleans()
)
def test_messages_however_they_are_cut(messages: list[bytes], cuts: list[int], views: bool) -> None:
    data = b"".join(PREFIX.pack(0, len(message)) + message for message in messages)
    told: list[int] = []
    reader = MessageReader(50, told.append)
    found = []
    for part in cut(data, cuts):
        found += reader.feed(memoryview(part) if views else part)
        assert sum(told) == reader.buffered_bytes
    assert found == messages
    assert not reader.partial
    assert reader.buffered_bytes == 0


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(LARGE_BYTES - 2, LARGE_BYTES + 100) | st.integers(0, 3), min_size=1, max_size=4),
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_large_messages_however_they_are_cut(sizes: list[int], cuts: list[int]) -> None:
    messages = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    data = b"".join(PREFIX.pack(0, len(message)) + message for message in messages)
    reader = reader_of(10**6)
    found = [message for part in cut(data, cuts) for message in reader.feed(part)]
    assert found == messages
    for message in found:
        assert isinstance(message, memoryview) == (len(message) >= LARGE_BYTES)
        if isinstance(message, memoryview):
            address = np.frombuffer(message, np.uint8).ctypes.data
            assert (address + len(message)) % 64 == 0
    assert (reader.partial, reader.buffered_bytes) == (False, 0)


def test_what_is_announced_costs_nothing_before_it_comes() -> None:
    """Not even address space, of which a process can have only so many pieces."""
    tracemalloc.start()
    try:
        reader = reader_of(2**40)
        assert list(reader.feed(PREFIX.pack(0, 2**31) + bytes(LARGE_BYTES - 1))) == []
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGE_BYTES
    finally:
        tracemalloc.stop()


def test_a_message_for_which_there_is_no_memory() -> None:
    reader = reader_of(2**63)
    reader._length = 2**62
    with pytest.raises(ResourceExhaustedError, match=f"no memory for a message of {2**62} bytes"):
        list(reader.feed(bytes(LARGE_BYTES)))


@pytest.mark.parametrize("more", [b"", b"\0", PREFIX.pack(0, 9)])
def test_nothing_is_kept_of_a_read_but_what_is_unfinished(more: bytes) -> None:
    """A read has other things in it, which may be large."""
    reader = reader_of(50)
    data = PREFIX.pack(0, 3) + b"abc" + more
    before = sys.getrefcount(data)
    assert list(reader.feed(data)) == [b"abc"]
    assert sys.getrefcount(data) == before


def test_a_message_that_has_begun() -> None:
    reader = reader_of(50)
    assert not reader.partial
    assert list(reader.feed(PREFIX.pack(0, 3)[:2])) == []
    assert (reader.partial, reader.buffered_bytes) == (True, 2)
    assert list(reader.feed(PREFIX.pack(0, 3)[2:])) == []
    assert (reader.partial, reader.buffered_bytes) == (True, 0)
    assert list(reader.feed(b"abc")) == [b"abc"]
    assert not reader.partial


def test_a_message_over_the_limit_is_refused_when_its_prefix_is_there() -> None:
    with pytest.raises(ResourceExhaustedError, match=r"Received message larger than max \(51 vs\. 50\)"):
        list(reader_of(50).feed(PREFIX.pack(0, 51)))


def test_an_unknown_flag() -> None:
    with pytest.raises(UnsupportedError, match="flag 2"):
        list(reader_of(50).feed(PREFIX.pack(2, 1) + b"a"))


COMPRESSED = {b"gzip": gzip.compress, b"deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_compression(encoding: bytes) -> None:
    message = b"abc" * 1000
    small = COMPRESSED[encoding](message)
    reader = reader_of(5000)
    assert list(reader.feed(PREFIX.pack(1, len(small)) + small + PREFIX.pack(0, 2) + b"ab")) == [
        Compressed(small),
        b"ab",
    ]
    assert at_once(decompressed(small, encoding, 5000)) == message
    prefix, body = at_once(framed((message[:7], memoryview(message)[7:]), encoding))
    assert PREFIX.unpack(prefix) == (1, len(body))
    assert at_once(decompressed(body, encoding, 5000)) == message


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_large_messages_are_compressed_in_slices(encoding: bytes) -> None:
    message = np.random.default_rng(1).bytes(1_000_000) + bytes(4_000_000)
    parts: list[Any] = []

    def through(slices: Slices[Any]) -> Slices[None]:
        parts.append((yield from slices))

    assert sum(1 for _ in through(framed((message,), encoding))) > 100
    data = b"".join(parts[0][1:])
    assert sum(1 for _ in through(decompressed(data, encoding, len(message)))) > 30
    assert parts[1] == message


@pytest.mark.parametrize("encoding", COMPRESSED)
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data[:-1], InvalidArgumentError),
        (lambda data: b"\xff" + data[1:], InvalidArgumentError),
        (lambda data: b"", InvalidArgumentError),
        (lambda data: data + b"a", InvalidArgumentError),
    ],
)
def test_what_cannot_be_decompressed(encoding: bytes, change: object, error: type[ServingError]) -> None:
    with pytest.raises(error):
        at_once(decompressed(change(COMPRESSED[encoding](b"abc" * 1000)), encoding, 5000))  # type: ignore[operator]


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_message_that_is_larger_within(encoding: bytes) -> None:
    with pytest.raises(ResourceExhaustedError):
        at_once(decompressed(COMPRESSED[encoding](bytes(5001)), encoding, 5000))


@pytest.mark.parametrize("encoding", [b"", b"identity", b"br"])
def test_a_compressed_message_whose_encoding_is_not_said(encoding: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        at_once(decompressed(zlib.compress(b"a"), encoding, 5000))


SMALL, LARGE = b"abc", bytes(64 * 1024)


@pytest.mark.parametrize(
    ("parts", "sent"),
    [
        ([], []),
        ([SMALL, SMALL], [SMALL * 2]),
        ([LARGE], [LARGE]),
        ([SMALL, SMALL, LARGE, SMALL, LARGE], [SMALL * 2, LARGE, SMALL, LARGE]),
        ([LARGE, LARGE, SMALL, SMALL], [LARGE, LARGE, SMALL * 2]),
        ([LARGE[1:], SMALL, LARGE[9:]], [LARGE[1:], SMALL + LARGE[9:]]),
    ],
)
def test_small_parts_share_a_frame(parts: list[bytes], sent: list[bytes]) -> None:
    assert in_frames(parts) == sent


def test_what_does_not_get_smaller_is_sent_as_it_is() -> None:
    assert b"".join(at_once(framed((b"a",), b"gzip"))) == b"\0\0\0\0\1a"


@pytest.mark.parametrize(
    ("level", "accepted", "chosen"),
    [
        ("none", b"gzip", b""),
        ("low", b"identity, deflate, gzip", b"gzip"),
        ("medium", b"identity, deflate, gzip", b"deflate"),
        ("high", b"identity,deflate,gzip", b"deflate"),
        ("high", b"gzip", b"gzip"),
        ("low", b"deflate", b"deflate"),
        ("high", b"identity,br", b""),
        ("low", b"", b""),
    ],
)
def test_which_encoding_a_level_means(level: str, accepted: bytes, chosen: bytes) -> None:
    assert choose_encoding(level, accepted) == chosen


def test_encodings_that_are_known() -> None:
    assert [known_encoding(name) for name in (b"", b"identity", b"gzip", b"deflate", b"br")] == [True] * 4 + [
        False
    ]
