"""Calls of grpcio's client to a server of plain methods: its own, and those of another process."""

import asyncio
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from kserve_v2.errors import ErrorCode
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.options import GrpcOptions
from tests.rpc.serving import MAX_REQUEST_BYTES, Served, serving

STATUS = grpc.StatusCode
TRANSPORTS = ("asyncio", "forwarded")


@pytest.fixture(scope="module", params=TRANSPORTS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server of each kind."""
    with serving(request.param) as running:
        yield running


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    """A connection of its own for each test: channels to one address share theirs otherwise."""
    served.methods.forget()
    with open_channel(served) as made:
        yield made


def open_channel(served: Served, **options: Any) -> grpc.Channel:
    """A channel that shares its connection with no other."""
    listed = {"grpc.use_local_subchannel_pool": 1, "grpc.max_receive_message_length": -1, **options}
    return grpc.insecure_channel(served.address, list(listed.items()))


def unary(channel: grpc.Channel, method: str, response: Any = BytesValue) -> Any:
    """A method of the test service."""
    return channel.unary_unary(
        f"/test/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )


def failure(call: Any, *arguments: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    """Status and details of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **{"timeout": 30, **options})
    return caught.value.code(), caught.value.details()


# --- one message each way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16_000, 16_384, 70_000, MAX_REQUEST_BYTES - 100])
@pytest.mark.parametrize("method", ["Echo", "Direct", "Recalled"])
def test_messages_of_any_size(channel: grpc.Channel, method: str, size: int) -> None:
    sent = BytesValue(value=bytes(range(256)) * (size // 256) + bytes(size % 256))
    assert unary(channel, method)(sent, timeout=60) == sent


@pytest.mark.parametrize("method", ["Direct", "Recalled"])
def test_an_answer_that_comes_later(channel: grpc.Channel, method: str) -> None:
    assert unary(channel, method)(BytesValue(value=b"later"), timeout=60).value == b"later"


@pytest.mark.parametrize("method", ["Direct", "Recalled"])
@pytest.mark.parametrize("message", [b"fail", b"fail later"])
def test_an_error_of_a_direct_call(channel: grpc.Channel, method: str, message: bytes) -> None:
    assert failure(unary(channel, method), BytesValue(value=message)) == (STATUS.NOT_FOUND, "no such thing")


def test_many_calls_at_once(channel: grpc.Channel) -> None:
    calls = [unary(channel, "Echo").future(BytesValue(value=b"%d" % n), timeout=60) for n in range(500)]
    assert [int(call.result().value) for call in calls] == list(range(500))


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.INTERNAL])
def test_every_error_has_its_status(channel: grpc.Channel, code: ErrorCode) -> None:
    status, details = failure(unary(channel, "Fail"), StringValue(value=f"{code.name}:because"))
    assert (status.value[0], details) == (code.value.grpc, "because")


@pytest.mark.parametrize("code", ErrorCode)
def test_clients_are_asked_to_try_again_if_they_may(channel: grpc.Channel, code: ErrorCode) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "Fail")(StringValue(value=f"{code.name}:because"), timeout=60)
    # As gRFC A6 has it.
    asked = [value for name, value in caught.value.trailing_metadata() if name == "grpc-retry-pushback-ms"]
    assert asked == (["1000"] if code in (ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED) else [])


@pytest.mark.parametrize("details", ["", "a b", "100% ŝ\n\0 \U0001f600", "%25", "x" * 5000])
def test_details_of_any_text(channel: grpc.Channel, details: str) -> None:
    assert failure(unary(channel, "Fail"), StringValue(value=f"NOT_FOUND:{details}")) == (
        STATUS.NOT_FOUND,
        details,
    )


@pytest.mark.parametrize("method", ["Fail", "DirectDefect", "RecalledDefect"])
def test_a_defect_is_not_told(channel: grpc.Channel, method: str, caplog: pytest.LogCaptureFixture) -> None:
    status, details = failure(unary(channel, method), StringValue(value="?"))
    assert (status, details) == (STATUS.INTERNAL, "internal error: the server's log has the details")
    assert "secret" in caplog.text


def test_what_an_answer_waits_for_is_cancelled(channel: grpc.Channel) -> None:
    assert failure(unary(channel, "Cancelled"), StringValue())[0] is STATUS.INTERNAL


def test_what_a_stream_waits_for_is_cancelled(channel: grpc.Channel) -> None:
    answers = stream_of(channel, iter([BytesValue(value=b"a")]), "CancelledStream")
    assert next(answers).value == b"a"
    assert failure(lambda **_: next(answers))[0] is STATUS.INTERNAL


@pytest.mark.parametrize("path", ["/test/NoSuch", "/no.such.Service/Echo", "/"])
def test_unknown_methods(channel: grpc.Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"", timeout=60)
    assert caught.value.code() is STATUS.UNIMPLEMENTED


def test_a_message_that_is_none(channel: grpc.Channel) -> None:
    status, details = failure(channel.unary_unary("/test/Echo"), b"\xff")
    assert (status, details) == (
        STATUS.INVALID_ARGUMENT,
        "the message is not a serialized google.protobuf.BytesValue",
    )


def test_a_message_over_the_limit(channel: grpc.Channel) -> None:
    for size in (MAX_REQUEST_BYTES + 1, 5 * MAX_REQUEST_BYTES):
        status, details = failure(channel.unary_unary("/test/Echo"), bytes(size))
        assert status is STATUS.RESOURCE_EXHAUSTED
        assert f"Received message larger than max ({size} vs. {MAX_REQUEST_BYTES})" in details
    assert unary(channel, "Echo")(BytesValue(value=b"x"), timeout=60).value == b"x"


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-a", "1"), ("x-b", "two words"), ("x-a", "3")],
        [("x-data-bin", b"\0\xff\x80"), ("x-empty-bin", b""), ("x-one-bin", b"\0")],
        [("x-empty", "")],
    ],
)
def test_metadata(channel: grpc.Channel, metadata: list[tuple[str, str | bytes]]) -> None:
    answer = unary(channel, "Metadata", StringValue)(StringValue(), metadata=metadata, timeout=60)
    assert sorted(eval(answer.value)) == sorted(metadata)  # noqa: S307 - what this test's own server has printed


# --- compression --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests(channel: grpc.Channel, algorithm: grpc.Compression) -> None:
    sent = BytesValue(value=bytes(200_000))
    assert unary(channel, "Echo")(sent, compression=algorithm, timeout=60) == sent
    stream = channel.stream_stream("/test/Stream", BytesValue.SerializeToString, BytesValue.FromString)(
        iter([sent] * 3), compression=algorithm, timeout=60
    )
    assert list(stream) == [sent] * 3


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_that_is_too_large_within(
    channel: grpc.Channel, algorithm: grpc.Compression
) -> None:
    bomb = bytes(100 * MAX_REQUEST_BYTES)
    status, _ = failure(channel.unary_unary("/test/Echo"), bomb, compression=algorithm)
    assert status is STATUS.RESOURCE_EXHAUSTED


# --- streams ------------------------------------------------------------------------------------------------------


def stream_of(channel: grpc.Channel, messages: Any, name: str = "Stream", **options: Any) -> Any:
    """A call of a method, by default the one that sends everything back."""
    method = channel.stream_stream(f"/test/{name}", BytesValue.SerializeToString, BytesValue.FromString)
    return method(messages, **{"timeout": 30, **options})


def test_a_stream_is_answered_message_by_message(channel: grpc.Channel) -> None:
    sent: queue.SimpleQueue[BytesValue | None] = queue.SimpleQueue()
    answers = stream_of(channel, iter(sent.get, None))
    for number in range(5):
        sent.put(BytesValue(value=bytes(number * 40_000)))
        assert len(next(answers).value) == number * 40_000
    sent.put(None)
    assert list(answers) == []
    assert answers.code() is STATUS.OK


def test_a_stream_without_messages(channel: grpc.Channel) -> None:
    answers = stream_of(channel, iter([]))
    assert list(answers) == []
    assert answers.code() is STATUS.OK


def test_a_stream_of_many_small_messages(channel: grpc.Channel) -> None:
    sent = [BytesValue(value=b"%d" % number) for number in range(3000)]
    assert list(stream_of(channel, iter(sent))) == sent


def test_an_error_ends_a_stream(channel: grpc.Channel) -> None:
    answers = stream_of(
        channel, iter([BytesValue(value=b"a"), BytesValue(value=b"fail"), BytesValue(value=b"b")])
    )
    assert next(answers).value == b"a"
    status, details = failure(lambda **_: next(answers))
    assert (status, details) == (STATUS.NOT_FOUND, "no such thing")


def test_a_message_that_is_none_ends_a_stream_after_the_answers_before_it(channel: grpc.Channel) -> None:
    good = BytesValue(value=b"good").SerializeToString()
    answers = channel.stream_stream("/test/Stream")(iter([good, b"\xff", good]), timeout=60)
    assert next(answers) == good
    status, _ = failure(lambda **_: next(answers))
    assert status is STATUS.INVALID_ARGUMENT


@pytest.mark.slow
def test_a_slow_reader_slows_the_server_down(served: Served, channel: grpc.Channel) -> None:
    """Without flow control, this would fill the memory."""
    repeat = channel.unary_stream("/test/Repeat", Int64Value.SerializeToString, BytesValue.FromString)
    answers = repeat(Int64Value(value=300), timeout=60)
    assert served.methods.started.get(timeout=60) == "Repeat"
    assert sum(len(answer.value) for answer in answers) == 300 * 50_000
    assert served.methods.given_up.get(timeout=60) == "Repeat"


def test_a_client_that_is_not_listened_to(channel: grpc.Channel) -> None:
    """It may send as much as a window has, and gets its answer all the same."""
    deaf = channel.stream_stream("/test/Deaf", BytesValue.SerializeToString, BytesValue.FromString)
    answers = deaf(iter([BytesValue(value=bytes(500_000))] * 100), timeout=60)
    assert next(answers).value == b"what?"
    answers.cancel()


# --- the end of calls ---------------------------------------------------------------------------------------------

HANGING = ["Hang", "DirectHang", "RecalledHang"]


@pytest.mark.parametrize("method", HANGING)
def test_a_deadline(served: Served, channel: grpc.Channel, method: str) -> None:
    status, _ = failure(unary(channel, method), StringValue(), timeout=1.5)
    assert status is STATUS.DEADLINE_EXCEEDED
    assert served.methods.given_up.get(timeout=60) == method


@pytest.mark.parametrize("method", HANGING)
def test_a_client_cancels(served: Served, channel: grpc.Channel, method: str) -> None:
    call = unary(channel, method).future(StringValue(), timeout=60)
    assert served.methods.started.get(timeout=60) == method
    call.cancel()
    assert served.methods.given_up.get(timeout=60) == method


@pytest.mark.parametrize("method", HANGING)
def test_a_client_leaves(served: Served, method: str) -> None:
    served.methods.forget()
    channel = open_channel(served)
    call = unary(channel, method).future(StringValue(), timeout=60)
    assert served.methods.started.get(timeout=60) == method
    channel.close()
    assert call.code() is STATUS.CANCELLED
    assert served.methods.given_up.get(timeout=60) == method


def test_a_client_cancels_a_stream(served: Served, channel: grpc.Channel) -> None:
    sent: queue.SimpleQueue[BytesValue | None] = queue.SimpleQueue()
    answers = stream_of(channel, iter(sent.get, None))
    sent.put(BytesValue(value=b"x"))
    assert next(answers).value == b"x"
    answers.cancel()
    assert served.methods.given_up.get(timeout=60) == "Stream"
    sent.put(None)


def test_what_an_rpc_is_told_of_its_end(served: Served, channel: grpc.Channel) -> None:
    unary(channel, "Direct")(BytesValue(value=b"x"), timeout=60)
    assert served.methods.ended.get(timeout=60) == (0, "")
    call = unary(channel, "DirectHang").future(StringValue(), timeout=60)
    served.methods.started.get(timeout=60)
    call.cancel()
    assert served.methods.ended.get(timeout=60) == (1, "the client left")


# --- servers with options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_connection_has_an_age(transport: str) -> None:
    """Calls go on over the next one without an error."""
    with serving(transport, max_connection_age_ms=100) as served, open_channel(served) as channel:
        states: list[grpc.ChannelConnectivity] = []
        others = set(threading.enumerate())
        channel.subscribe(states.append)
        watching = set(threading.enumerate()) - others
        while states.count(grpc.ChannelConnectivity.IDLE) < 4:
            assert unary(channel, "Echo")(BytesValue(value=b"x"), timeout=60).value == b"x"
        channel.unsubscribe(states.append)
        # If the channel were closed before grpcio has noticed, its thread would fail.
        for thread in watching:
            thread.join(60)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_compressed_answers(transport: str, level: str) -> None:
    with serving(transport, response_compression=level) as served, open_channel(served) as channel:
        sent = BytesValue(value=bytes(300_000))
        for method in ("Echo", "Direct", "Recalled"):
            assert unary(channel, method)(sent, timeout=60) == sent
        assert list(stream_of(channel, iter([sent, sent]))) == [sent, sent]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_stops_lets_calls_finish(transport: str) -> None:
    with serving(transport) as served, open_channel(served) as channel:
        sent: queue.SimpleQueue[BytesValue | None] = queue.SimpleQueue()
        answers = stream_of(channel, iter(sent.get, None))
        sent.put(BytesValue(value=b"1"))
        assert next(answers).value == b"1"
        stopped = asyncio.run_coroutine_threadsafe(served.server.stop(60), served.loop)
        with pytest.raises(grpc.RpcError):
            while True:
                with open_channel(served) as other:
                    unary(other, "Echo")(BytesValue(), timeout=5)
        sent.put(BytesValue(value=b"2"))
        assert next(answers).value == b"2"
        sent.put(None)
        assert list(answers) == []
        stopped.result(60)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_stops_gives_up_what_takes_too_long(transport: str) -> None:
    with serving(transport) as served, open_channel(served) as channel:
        call = unary(channel, "Hang").future(StringValue(), timeout=60)
        assert served.methods.started.get(timeout=60) == "Hang"
        served.call(lambda: served.server.stop(0.1))
        assert call.code() in (STATUS.UNAVAILABLE, STATUS.CANCELLED)
        assert served.methods.given_up.get(timeout=60) == "Hang"


def test_a_port_in_use() -> None:
    async def bind(port: int) -> None:
        AsyncioServer((), GrpcOptions(max_request_bytes=1)).bind("127.0.0.1", port)

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:"),
    ):
        asyncio.run(bind(taken.getsockname()[1]))
