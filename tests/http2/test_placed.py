"""Bytes that are read to where they belong mean the same as bytes that are handed over."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import frames
from kserve_v2.http2.frames import Kind
from tests.http2.peer import GET, POST, Client, EchoStream, Frame, drain, frame, read_frames, request

SIZE = 100


class PlacedStream(EchoStream):
    """Has a place for its first SIZE bytes."""

    def place(self) -> memoryview | None:
        left = SIZE - len(self.body)
        self.memory = bytearray(max(left, 0))
        return memoryview(self.memory) if left > 0 else None

    def data_placed(self, size: int, ended: bool) -> None:
        self.data_received(bytes(self.memory[:size]), ended)


class PlacingClient(Client):
    """Reads to the place wherever there is one."""

    def make_stream(self, stream_id: int, head: object) -> EchoStream:
        stream = self.seen[stream_id] = PlacedStream(self.connection, stream_id, False)
        return stream

    def send(self, data: bytes) -> list[Frame]:
        while data:
            place = self.connection.place()
            if place is None:
                self.connection.receive(data)
                break
            size = min(len(place), len(data))
            place[:size] = data[:size]
            self.connection.receive_placed(size)
            self.placed = getattr(self, "placed", 0) + size
            data = data[size:]
        return read_frames(drain(self.connection))


def padded(data: bytes, padding: int) -> bytes:
    """The payload of a padded frame."""
    return bytes([padding]) + data + bytes(padding)


CONVERSATION = b"".join(
    [
        request(1, POST, ends=False),
        frame(Kind.DATA, 1, b"a" * 70),
        frame(Kind.DATA, 1, padded(b"b" * 60, 9), frames.PADDED),
        request(3, GET),
        frame(Kind.DATA, 1, padded(b"", 20), frames.PADDED),
        frame(Kind.DATA, 1, b"c" * 10, frames.END_STREAM),
        request(5, POST, ends=False),
        frame(Kind.DATA, 5, padded(b"d" * 99, 3), frames.PADDED | frames.END_STREAM),
        # Behind the end, and on a stream that nobody knows any more.
        frame(Kind.DATA, 5, b"e" * 50),
        request(7, POST, ends=False),
        frame(Kind.DATA, 7, b"f" * 40),
        frame(Kind.RST_STREAM, 7, bytes(4)),
        frame(Kind.DATA, 7, b"g" * 40),
    ]
)


def heard(client: Client, cuts: list[int]) -> tuple[list[Frame], list[int], tuple[int, int]]:
    """What is sent over the conversation in these parts, and what is left."""
    places = sorted({0, len(CONVERSATION), *(cut % len(CONVERSATION) for cut in cuts)})
    sent = [each for start, end in pairwise(places) for each in client.send(CONVERSATION[start:end])]
    return sent, sorted(client.connection.streams), client.connection.reader.progress


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_the_same_is_sent_either_way(cuts: list[int]) -> None:
    assert heard(PlacingClient(), cuts) == heard(Client(), cuts)


def test_byte_by_byte() -> None:
    client = PlacingClient()
    cuts = list(range(len(CONVERSATION)))
    assert heard(client, cuts) == heard(Client(), cuts)
    assert client.placed > SIZE
