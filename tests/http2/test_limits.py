"""What one connection may cost: every bound of `Http2Limits`, and the client that runs into it."""

import dataclasses

import pytest

from kserve_v2.http2 import frames, headers
from kserve_v2.http2.budget import Allowance
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.frames import Kind, Setting
from kserve_v2.http2.limits import Http2Limits, Rate
from tests.http2.peer import GET, POST, Client, frame, request, resets

CALM = ErrorCode.ENHANCE_YOUR_CALM
FEW = Rate(burst=5, per_second=1)


def limits(**changes: object) -> Http2Limits:
    """The defaults, but for these."""
    return dataclasses.replace(Http2Limits(), **changes)  # type: ignore[arg-type]


def reset(stream_id: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(Kind.RST_STREAM, stream_id, int(ErrorCode.CANCEL).to_bytes(4, "big"))


def ids(count: int, start: int = 1) -> range:
    """So many streams of a client."""
    return range(start, start + 2 * count, 2)


# --- rates ------------------------------------------------------------------------------------------------------


def test_an_allowance() -> None:
    now = 0.0
    allowance = Allowance(Rate(burst=3, per_second=2), lambda: now)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    now = 1.0
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    assert [allowance.take(earned=1) for _ in range(2)] == [True, False]
    now = 1000.0
    assert [allowance.take(earned=1) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(earned=101) for _ in range(4)] == [True, True, True, False]


def test_rapid_reset() -> None:
    """CVE-2023-44487: streams that are opened and given up at once never count as concurrent."""
    client = Client(limits(resets=FEW), hold=True)
    for stream_id in ids(5):
        client.send(request(stream_id) + reset(stream_id))
    assert client.failure(request(11) + reset(11)) == (CALM, "too many streams are reset")


def test_clients_that_are_answered_may_give_up_as_often() -> None:
    client = Client(limits(resets=FEW))
    for stream_id in range(1, 401, 4):
        client.send(request(stream_id))
        client.send(request(stream_id + 2, POST, ends=False) + reset(stream_id + 2))
    assert client.connection.failure is None


def test_streams_that_fail_count_as_reset() -> None:
    """CVE-2025-8671: the server is made to reset the streams itself."""
    client = Client(limits(resets=FEW), hold=True)
    nothing = b"".join(
        request(stream_id) + frame(Kind.WINDOW_UPDATE, stream_id, bytes(4)) for stream_id in ids(6)
    )
    assert client.failure(nothing) == (CALM, "too many streams fail")


def test_streams_that_are_refused_count_as_reset() -> None:
    client = Client(limits(resets=FEW))
    malformed = b"".join(request(stream_id, GET[:2]) for stream_id in ids(6))
    assert client.failure(malformed) == (CALM, "too many streams are refused")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("settings", frame(Kind.SETTINGS, 0), "too many SETTINGS frames"),
        ("pings", frame(Kind.PING, 0, bytes(8)), "too many PING frames"),
        ("empty_data", frame(Kind.DATA, 1), "too many empty DATA frames"),
        ("overhead", frame(Kind.PRIORITY, 1, bytes(5)), "too many frames without use"),
        ("overhead", frame(Kind.WINDOW_UPDATE, 0, b"\0\0\0\1"), "too many frames without use"),
        ("overhead", frame(Kind.WINDOW_UPDATE, 1, b"\0\0\0\1"), "too many frames without use"),
        ("overhead", frame(0xFA, 0, b"x"), "too many frames without use"),
        ("overhead", frames.SETTINGS_ACK, "too many frames without use"),
        ("overhead", frame(Kind.PING, 0, bytes(8), frames.ACK), "too many frames without use"),
        ("overhead", frame(Kind.GOAWAY, 0, bytes(8)), "too many frames without use"),
    ],
)
def test_floods(name: str, data: bytes, message: str) -> None:
    client = Client(limits(**{name: FEW}), hold=True)
    client.send(request(1, POST, ends=False))
    allowed = 4 if name == "settings" else 5  # one is in the preface
    client.send(data * allowed)
    assert client.connection.failure is None
    client.now_s += 1
    client.send(data)
    assert client.connection.failure is None
    assert client.failure(data) == (CALM, message)


def test_a_flood_of_header_fields() -> None:
    """A byte each, on streams that are all answered. Blocks that came twice are not decoded, and cost nothing."""
    client = Client(limits(header_fields=Rate(burst=7, per_second=1), usual_header_fields=10))
    for stream_id in ids(50):
        client.send(request(stream_id, [*GET, *[(b"same", b"")] * 8]))
    many = [[*GET, *[(b"n", b"%d" % number)] * 7] for number in range(6)]
    for number, stream_id in enumerate(ids(3, 101)):
        client.send(request(stream_id, many[number]))
    assert client.connection.failure is None
    assert client.failure(request(107, [*many[4], *many[4][4:]])) == (CALM, "too many header fields")


def test_data_on_closed_streams_is_overhead() -> None:
    client = Client(limits(overhead=FEW))
    client.send(request(1))
    assert client.failure(frame(Kind.DATA, 1, b"x") * 20) == (CALM, "too many frames without use")


def test_window_updates_that_answer_data_are_no_overhead() -> None:
    client = Client(limits(overhead=FEW))
    for stream_id in ids(100):
        sent = client.send(
            request(stream_id, POST, ends=False) + frame(Kind.DATA, stream_id, b"x", frames.END_STREAM)
        )
        assert any(each.kind == Kind.DATA for each in sent)
        client.send(frame(Kind.WINDOW_UPDATE, 0, b"\0\0\0\1"))
    assert client.connection.failure is None


def test_a_frame_full_of_settings() -> None:
    """It costs as much as one that has each setting once."""
    client = Client(hold=True)
    client.send(request(1))
    many = b"".join(b"\0\4" + size.to_bytes(4, "big") for size in range(2000))
    sent = client.send(frame(Kind.SETTINGS, 0, many))
    assert [each.kind for each in sent] == [Kind.SETTINGS]
    assert client.seen[1].send_window == 1999


# --- sizes ------------------------------------------------------------------------------------------------------


def test_concurrent_streams() -> None:
    client = Client(limits(max_concurrent_streams=3), hold=True)
    sent = client.send(b"".join(request(stream_id) for stream_id in ids(5)))
    assert resets(sent) == {7: ErrorCode.REFUSED_STREAM, 9: ErrorCode.REFUSED_STREAM}
    client.seen[1].answer()
    assert resets(client.send(request(11))) == {}


def test_answers_that_the_client_does_not_let_be_sent() -> None:
    """With many small requests for large answers it could fill the memory."""
    client = Client(limits(max_queued_bytes=100_000), hold=True)
    for stream_id in ids(3):
        client.send(request(stream_id))
        client.seen[stream_id].body += bytes(70_000)
        client.seen[stream_id].answer()
    client.take()
    assert client.connection.output.queued_bytes == 3 * 70_000 - frames.DEFAULT_WINDOW_BYTES
    assert resets(client.send(request(7))) == {7: ErrorCode.REFUSED_STREAM}
    client.send(reset(5))
    assert client.connection.output.queued_bytes == 2 * 70_000 - frames.DEFAULT_WINDOW_BYTES
    assert resets(client.send(request(9))) == {}
    client.send(frame(Kind.WINDOW_UPDATE, 0, b"\0\7\0\0") + frame(Kind.WINDOW_UPDATE, 1, b"\0\7\0\0"))
    client.send(frame(Kind.WINDOW_UPDATE, 3, b"\0\7\0\0"))
    assert client.connection.output.queued_bytes == 0


def test_what_is_announced() -> None:
    made = limits(max_concurrent_streams=3, max_header_list_bytes=5000, max_frame_bytes=20_000)
    client = Client(made, greet=False)
    client.connection.greet()
    assert dict(frames.read_settings(client.take()[0].payload)) == {
        Setting.HEADER_TABLE_SIZE: made.header_table_bytes,
        Setting.MAX_CONCURRENT_STREAMS: 3,
        Setting.INITIAL_WINDOW_SIZE: made.stream_window_bytes,
        Setting.MAX_FRAME_SIZE: 20_000,
        Setting.MAX_HEADER_LIST_SIZE: 5000,
    }


def test_a_header_block_in_many_frames() -> None:
    """CVE-2024-27316 and its kin: CONTINUATION frames without end."""
    client = Client(limits(max_continuations=3))
    start = frame(Kind.HEADERS, 1, headers.encode(GET))
    client.send(start + frame(Kind.CONTINUATION, 1) * 3)
    assert client.failure(frame(Kind.CONTINUATION, 1)) == (CALM, "too many CONTINUATION frames")


@pytest.mark.parametrize("parts", [1, 3])
def test_a_header_block_of_many_bytes(parts: int) -> None:
    client = Client(limits(max_header_block_bytes=30_000))
    if parts == 1:
        data = frames.HEAD.pack(30_001 << 8 | Kind.HEADERS, frames.END_HEADERS, 1)
    else:
        data = frame(Kind.HEADERS, 1, bytes(10_001)) + frame(Kind.CONTINUATION, 1, bytes(10_000)) * 2
    assert client.failure(data) == (CALM, "the header block is too large")


def test_a_header_list_of_many_bytes() -> None:
    client = Client(limits(max_header_block_bytes=1000))
    code, _ = client.failure(request(1, [*GET, *[(b"a", b"b")] * 50]))
    assert code is CALM


def test_a_control_frame_of_many_bytes() -> None:
    """It would be kept until it is whole."""
    client = Client(limits(max_control_frame_bytes=20_000))
    code, _ = client.failure(frames.HEAD.pack(20_001 << 8 | 0xFA, 0, 0))
    assert code is CALM


def test_what_is_remembered_of_streams_that_were_reset() -> None:
    client = Client(limits(resets=Rate(burst=10_000, per_second=1)), hold=True)
    for stream_id in ids(3000):
        client.send(request(stream_id) + reset(stream_id))
    assert len(client.connection.table._reset_ids) == 1024
    assert client.connection.streams == {}
