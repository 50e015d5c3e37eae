"""Damaged requests over gRPC. Whatever is sent, the status blames neither the server nor nobody.

The inputs in `corpus/grpc` are sent first: serialized messages, in files that are called METHOD.what-is-in-it.
"""

import struct
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.fuzz.conftest import FUZZ
from tests.fuzz.mutations import damaged_bytes, damaged_messages
from tests.fuzz.target import corpus, throw
from tests.integration.grpc_requests import SERVICE, STATUS, Channel, request_of, tensor

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"

OUTPUT = pb.ModelInferRequest.InferRequestedOutputTensor
CLASSES = OUTPUT(name="SCORES", parameters={"classification": pb.InferParameter(int64_param=2)})
VALID = [
    request_of("bat", tensor("IN", "FP32", [1, 3]), raw=[bytes(12)], id="1"),
    request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3]), outputs=[OUTPUT(name="OUT")]),
    request_of("two", *(tensor(name, "INT32", [1, 2], int_contents=[1, 2]) for name in "AB"), model_version="1"),
    request_of("id_bytes", tensor("IN", "BYTES", [2], bytes_contents=[b"a", b""])),
    request_of("id_bytes", tensor("IN", "BYTES", [2]), raw=[struct.pack("<I", 1) + b"a" + bytes(4)]),
    request_of("id_int8", tensor("IN", "INT8", [1], int_contents=[1])),
    request_of("id_bf16", tensor("IN", "BF16", [2]), raw=[bytes(4)]),
    request_of("matrix", tensor("IN", "FP32", [0, 2]), raw=[b""]),
    request_of("classes", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3]), outputs=[CLASSES]),
    request_of("many", tensor("COUNT", "INT32", [1], int_contents=[2]), tensor("TEXT", "BYTES", [1], bytes_contents=[b"a"])),
]  # fmt: skip

# What a client may be told. Not among them: UNKNOWN, INTERNAL, and anything that takes longer than a moment.
BLAMELESS = {
    STATUS.OK, STATUS.INVALID_ARGUMENT, STATUS.NOT_FOUND, STATUS.ALREADY_EXISTS, STATUS.UNIMPLEMENTED,
    STATUS.RESOURCE_EXHAUSTED, STATUS.UNAVAILABLE,
}  # fmt: skip

METHODS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    """A channel without serializers: the tests have the bytes."""
    with Channel(server) as made:
        yield made.channel


def status_of(channel: grpc.Channel, path: str, *messages: bytes) -> grpc.StatusCode:
    """How a call ends."""
    try:
        if path == STREAM:
            for answer in channel.stream_stream(path)(iter(messages), timeout=60):
                assert pb.ModelStreamInferResponse.FromString(answer) is not None
        else:
            channel.unary_unary(path)(messages[0], timeout=60)
    except grpc.RpcError as error:
        opened = "Unable to open shared memory region" in (error.details() or "")
        return STATUS.INVALID_ARGUMENT if opened else error.code()
    return STATUS.OK


@pytest.mark.parametrize("name", corpus("grpc"))
def test_the_corpus(channel: grpc.Channel, name: str) -> None:
    assert status_of(channel, f"/{SERVICE}/{name.partition('.')[0]}", corpus("grpc")[name]) in BLAMELESS


@pytest.mark.slow
@pytest.mark.parametrize("path", [INFER, STREAM])
def test_inference(channel: grpc.Channel, path: str) -> None:
    for request in VALID:
        assert status_of(channel, STREAM, request.SerializeToString()) is STATUS.OK

    @FUZZ
    @given(damaged_messages(st.sampled_from(VALID)))
    def check(request: pb.ModelInferRequest) -> None:
        assert status_of(channel, path, request.SerializeToString()) in BLAMELESS

    check()


@pytest.mark.slow
@FUZZ
@given(st.lists(damaged_messages(st.sampled_from(VALID)), max_size=4))
def test_streams(channel: grpc.Channel, requests: list[pb.ModelInferRequest]) -> None:
    assert status_of(channel, STREAM, *(request.SerializeToString() for request in requests)) is STATUS.OK


def serialized(name: str) -> SearchStrategy[bytes]:
    """Messages of a method that nothing has been done to but in their bytes."""
    empty = pb.DESCRIPTOR.message_types_by_name[METHODS[name].input_type.name]._concrete_class()
    valid = VALID if name in ("ModelInfer", "ModelStreamInfer") else [empty]
    damaged = damaged_messages(st.sampled_from(valid)).map(lambda message: message.SerializeToString())
    return damaged | damaged_bytes(damaged) | st.binary(max_size=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS))
def test_bytes_of_messages(channel: grpc.Channel, name: str) -> None:
    @FUZZ
    @given(serialized(name))
    def check(message: bytes) -> None:
        assert status_of(channel, f"/{SERVICE}/{name}", message) in BLAMELESS

    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_of_messages_to_other_services(channel: grpc.Channel, path: str) -> None:
    @FUZZ
    @given(st.binary(max_size=30))
    def check(message: bytes) -> None:
        if path.endswith("Check"):
            assert status_of(channel, path, message) in BLAMELESS
            return
        try:
            list(channel.stream_stream(path)(iter([message]), timeout=60))
        except grpc.RpcError as error:
            assert error.code() in BLAMELESS

    check()


# --- HTTP/2 -----------------------------------------------------------------------------------------------------


def frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal_header(name: str, value: str) -> bytes:
    """A header field in HPACK, not indexed and not Huffman coded."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, b"")
HEADERS = frame(
    1, 1,
    b"".join(
        literal_header(*header)
        for header in ((":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "x"),
                       ("content-type", "application/grpc"), ("te", "trailers"))
    ),
    flags=4,
)  # fmt: skip


@pytest.mark.slow
@FUZZ
@given(
    flag=st.sampled_from([0, 0, 1, 2, 255]),
    wrong=st.sampled_from([0, 0, 1, -1, 2**31, 2**32 - 100]),
    message=damaged_bytes(st.sampled_from([request.SerializeToString() for request in VALID])),
    ends=st.booleans(),
)
def test_the_framing_of_messages(
    server: RunningServer, flag: int, wrong: int, message: bytes, ends: bool
) -> None:
    """A message's prefix says how long it is, and whether it is compressed."""
    prefix = struct.pack(">BI", flag, (len(message) + wrong) % 2**32)
    throw(server.grpc, PREFACE + HEADERS + frame(0, 1, prefix + message, flags=int(ends)))


@pytest.mark.slow
@FUZZ
@given(
    st.lists(
        st.builds(
            frame,
            st.integers(0, 12),
            st.sampled_from([0, 1, 2, 3, 2**31 - 1]),
            st.binary(max_size=20),
            st.integers(0, 255),
        ),
        max_size=5,
    )
)
def test_frames(server: RunningServer, frames: list[bytes]) -> None:
    throw(server.grpc, PREFACE + HEADERS + b"".join(frames))


@pytest.mark.slow
@FUZZ
@given(
    st.binary(max_size=200)
    | damaged_bytes(st.just(PREFACE + HEADERS))
    | st.binary().map(lambda data: PREFACE + data)
)
def test_random_bytes(server: RunningServer, data: bytes) -> None:
    throw(server.grpc, data)


def test_a_message_that_is_none_ends_the_stream_after_the_answers_before_it(channel: grpc.Channel) -> None:
    good = VALID[0].SerializeToString()
    answers = channel.stream_stream(STREAM)(iter([good, good, b"\xff", good]), timeout=60)
    assert [pb.ModelStreamInferResponse.FromString(next(answers)).error_message for _ in range(2)] == ["", ""]
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() is STATUS.INVALID_ARGUMENT
    assert caught.value.details() == "the message is not a serialized inference.ModelInferRequest"


def test_a_path_that_is_no_text(server: RunningServer) -> None:
    """A call as any other, for a method that is not there."""
    path = INFER.encode()
    with Channel(server) as channel:
        live = channel.method("ServerLive", pb.ServerLiveResponse)
        for _ in range(3):
            throw(server.grpc, PREFACE + HEADERS.replace(path, path[:-1] + b"\xff"))
            assert live(pb.ServerLiveRequest(), timeout=60).live
