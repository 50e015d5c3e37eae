"""Of large requests, the raw contents are read without protobuf: what comes of it is what protobuf makes of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rpc import wire
from kserve_v2.rpc.codec import decode_request
from kserve_v2.rpc.received import LARGE_BYTES, Received, receive

LARGE = bytes(range(256)) * (LARGE_BYTES // 256)


def field(number: int, content: bytes) -> bytes:
    return wire.head(number, len(content)) + content


def whole(received: Received) -> pb.ModelInferRequest:
    """The message with all that belongs to it."""
    message = pb.ModelInferRequest()
    message.CopyFrom(received.message)
    message.raw_input_contents.extend(map(bytes, received.raw))
    return message


def expected(data: bytes) -> pb.ModelInferRequest | None:
    try:
        return pb.ModelInferRequest.FromString(data)
    except Exception:  # noqa: BLE001 - whatever protobuf says, it is no message
        return None


def found(data: bytes) -> pb.ModelInferRequest | None:
    try:
        return whole(receive(data))
    except InvalidArgumentError:
        return None


TENSOR = pb.ModelInferRequest.InferInputTensor(name="x", datatype="UINT8", shape=[3]).SerializeToString()
PARAMETER = pb.ModelInferRequest(parameters={"p": pb.InferParameter(int64_param=7)}).SerializeToString()
# Tags and lengths in more bytes than they need, up to and beyond what protobuf takes.
LONG_LENGTHS = [wire.head(7, 0)[:1] + b"\x83" + b"\x80" * count + b"\x00abc" for count in range(10)]
LONG_TAGS = [b"\xba" + b"\x80" * count + b"\x00\x03abc" for count in range(10)]
ODD = [
    b"", b"\x38\x05", b"\x39" + bytes(8), b"\x3d" + bytes(4), b"\x3b\x3c", b"\x3b\x3a\x01a\x3c", b"\x3c", b"\x3e\x00",
    b"\x00\x00", b"\x02\x01a", b"\xc2\x0c\x03abc", b"\x42\x03abc", b"\x40\x05", b"\x3a\xff\xff\xff\xff\x0f",
    b"\x3a\x80\x80\x80\x80\x08", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", *LONG_LENGTHS, *LONG_TAGS,
]  # fmt: skip
PIECES = st.one_of(
    st.sampled_from([field(1, b"m"), field(1, b"n"), field(2, b"1"), field(3, b"id"), field(3, b"\xff"), PARAMETER]),
    st.sampled_from([field(5, TENSOR), field(5, b"\xff"), field(6, b"\x0a\x01y"), field(7, b""), field(7, LARGE)]),
    st.sampled_from(ODD),
    st.binary(max_size=8).map(lambda content: field(7, content)),
    st.binary(max_size=4),
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(PIECES, max_size=6), st.lists(PIECES, max_size=6), st.integers(0, 40))
def test_it_is_what_protobuf_makes_of_it(before: list[bytes], after: list[bytes], cut: int) -> None:
    data = b"".join((*before, field(7, LARGE), *after))
    data = data[: len(data) - cut]
    assert found(data) == expected(data)


@pytest.mark.parametrize("piece", ODD)
@pytest.mark.parametrize("last", [True, False])
def test_something_odd_beside_large_contents(piece: bytes, last: bool) -> None:
    large = field(7, LARGE)
    data = large + piece if last else piece + large
    assert found(data) == expected(data)


def test_large_contents_are_not_copied() -> None:
    values = np.arange(LARGE_BYTES, dtype=np.float32)
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[values.tobytes(), b"\1"])
    message.parameters["some"].int64_param = 1
    message.inputs.add(name="X", datatype="FP32", shape=[LARGE_BYTES])
    message.inputs.add(name="B", datatype="BOOL", shape=[1])
    # Behind an aligned byte, as a message of a connection has it.
    serialized = message.SerializeToString()
    memory = np.frombuffer(serialized.rjust(len(serialized) + -len(serialized) % 64), np.uint8)
    data = memory.data[-len(serialized) :]
    received = receive(data)
    assert not received.message.raw_input_contents
    assert all(np.shares_memory(np.frombuffer(raw, np.uint8), memory) for raw in received.raw)
    request, _ = decode_request(received.message, SharedMemoryRegions(enabled=False), received.raw)
    assert request.parameters == {"some": 1}
    assert np.array_equal(request.inputs["X"], values)
    assert request.inputs["B"].tolist() == [True]


def test_small_messages_are_protobuf_s() -> None:
    assert not receive(field(7, LARGE[:100])).raw
