"""Frames: whatever pieces the bytes come in, the same frames come out, in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.processes.frames import HEAD, PIECE_BYTES, FrameReader, Payload, Step, Turns


class Found:
    """Whoever is told; takes no payload of more than `room` bytes."""

    def __init__(self, room: int = 2**40) -> None:
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.room = room
        self.held = 0
        self.reader = FrameReader(self)
        self.alignment: list[int] = []

    def take(self, step: int, kind: int, number: int, payload: Payload) -> None:
        self.frames.append((step, kind, number, bytes(payload)))
        if isinstance(payload, memoryview):
            self.alignment.append(np.frombuffer(payload, np.uint8).ctypes.data % 64)

    def large_begins(self, step: int, number: int, size: int) -> bool:
        if size > self.room:
            return False
        self.held += size
        return True

    def large_ends(self, size: int) -> None:
        self.held -= size

    def feed(self, data: bytes, most: int) -> None:
        while data:
            place = self.reader.place()
            size = min(len(place), most, len(data))
            place[:size] = data[:size]
            self.reader.filled(size)
            data = data[size:]


def frame(step: Step, kind: int, number: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload), number, step, kind) + payload


def sent(turns: Turns) -> bytes:
    found = b""
    while turns:
        found += b"".join(turns.next())
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Step.ASK, Step.MESSAGE]),
            st.integers(0, 255),
            st.integers(0, 9),
            st.binary(max_size=40),
        ),
        max_size=12,
    ),
    st.integers(1, 60),
)
def test_small_frames_come_as_they_were_sent(frames: list[tuple[Step, int, int, bytes]], most: int) -> None:
    found = Found()
    found.feed(b"".join(frame(*each) for each in frames), most)
    assert found.frames == frames


@pytest.mark.parametrize("most", [1000, PIECE_BYTES - 1, 10**9])
@pytest.mark.parametrize("size", [PIECE_BYTES + 1, 2 * PIECE_BYTES, 5 * PIECE_BYTES + 7])
def test_a_large_payload_comes_whole_and_others_pass_it(size: int, most: int) -> None:
    rng = np.random.default_rng(size)
    large, other = rng.bytes(size), rng.bytes(size + 3)
    turns = Turns()
    turns.add(Step.ASK, 5, 1, (large[:10], large[10:]), None)
    turns.add(Step.ASK, 6, 3, (other,), 3)
    turns.add(Step.END, 0, 1, (), None)
    data = b""
    while turns:
        data += b"".join(turns.next()) + frame(Step.NOTE, 1, 0, b"between")
    found = Found()
    found.feed(data, most)
    notes = [each for each in found.frames if each[0] == Step.NOTE]
    assert len(notes) >= 2 * (size // PIECE_BYTES)
    assert [each for each in found.frames if each[2] == 1] == [(Step.ASK, 5, 1, large), (Step.END, 0, 1, b"")]
    assert [each for each in found.frames if each[2] == 3] == [(Step.ASK, 6, 3, other)]
    # The end of the one, and the fourth byte of the other.
    assert sorted(found.alignment) == sorted([-size % 64, -3 % 64])
    assert found.held == 0
    # It does not wait for the end of the first one.
    assert found.frames.index(notes[0]) < found.frames.index((Step.ASK, 5, 1, large))


def test_the_rest_of_a_large_payload_is_not_sent_if_nobody_wants_it() -> None:
    turns = Turns()
    turns.add(Step.ASK, 5, 1, (bytes(10 * PIECE_BYTES),), None)
    turns.add(Step.ASK, 5, 3, (b"x" * 10,), None)
    first = b"".join(turns.next())
    assert turns.forget(1)
    assert not turns.forget(1)
    rest = sent(turns)
    found = Found()
    found.feed(first, 10**9)
    assert found.held == 10 * PIECE_BYTES
    found.reader.forget(1)
    assert found.held == 0
    found.feed(rest, 10**9)
    assert found.frames == [(Step.ASK, 5, 3, b"x" * 10)]


def test_what_there_is_no_room_for_is_passed_over() -> None:
    found = Found(room=3 * PIECE_BYTES)
    turns = Turns()
    turns.add(Step.ASK, 5, 1, (bytes(4 * PIECE_BYTES),), None)
    turns.add(Step.ASK, 5, 3, (bytes(2 * PIECE_BYTES),), None)
    found.feed(sent(turns), 4096)
    assert [each[2] for each in found.frames] == [3]
    assert found.held == 0
