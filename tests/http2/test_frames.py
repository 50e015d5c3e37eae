"""Frames as bytes, against hyperframe, which is not ours."""

import hyperframe.frame as other
import pytest

from kserve_v2.http2 import frames
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.frames import Setting

CASES = {
    "settings": (
        frames.settings({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1, Setting.MAX_FRAME_SIZE: 16384}),
        other.SettingsFrame(0, {4: 2**31 - 1, 5: 16384}),
    ),
    "settings-ack": (frames.SETTINGS_ACK, other.SettingsFrame(0, flags=["ACK"])),
    "ping": (frames.ping(b"12345678"), other.PingFrame(0, b"12345678")),
    "ping-ack": (frames.ping(b"12345678", ack=True), other.PingFrame(0, b"12345678", flags=["ACK"])),
    "reset": (frames.reset(3, ErrorCode.CANCEL), other.RstStreamFrame(3, 8)),
    "window": (frames.window_update(5, 2**31 - 1), other.WindowUpdateFrame(5, 2**31 - 1)),
    "goaway": (frames.goaway(7, ErrorCode.ENHANCE_YOUR_CALM, b"why"), other.GoAwayFrame(0, 7, 11, b"why")),
    "large-data": (frames.frame(0, 1, 2**31 - 1, bytes(70_000)), other.DataFrame(2**31 - 1, bytes(70_000), flags=["END_STREAM"])),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_serialized(name: str) -> None:
    ours, theirs = CASES[name]
    assert ours == theirs.serialize()


def test_settings_are_read() -> None:
    payload = other.SettingsFrame(0, {1: 0, 4: 70_000, 0xF0: 2**32 - 1}).serialize_body()
    assert list(frames.read_settings(payload)) == [(1, 0), (4, 70_000), (0xF0, 2**32 - 1)]


def test_settings_that_end_within_one() -> None:
    with pytest.raises(ConnectionFaultError) as caught:
        frames.read_settings(bytes(7))
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("flags", "payload", "fragment"),
    [
        (0, b"abc", b"abc"),
        (frames.PADDED, b"\2abc\0\0", b"abc"),
        (frames.PADDED, b"\0abc", b"abc"),
        (frames.PADDED, b"\3abc", b""),
        (frames.PRIORITY, b"\0\0\0\0\x10abc", b"abc"),
        (frames.PADDED | frames.PRIORITY, b"\1\0\0\0\0\x10abc\0", b"abc"),
    ],
)
def test_fragments_of_header_blocks(flags: int, payload: bytes, fragment: bytes) -> None:
    assert frames.header_fragment(flags, payload) == fragment


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        (frames.PADDED, b""),
        (frames.PADDED, b"\4abc"),
        (frames.PRIORITY, b"\0\0\0\0"),
        (frames.PADDED | frames.PRIORITY, b"\2\0\0\0\0\x10a"),
    ],
)
def test_fragments_that_do_not_fit(flags: int, payload: bytes) -> None:
    with pytest.raises(ConnectionFaultError):
        frames.header_fragment(flags, payload)
