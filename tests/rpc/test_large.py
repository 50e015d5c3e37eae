"""Messages with large BYTES tensors, raw or typed, are read in slices: what comes of it, right or wrong, is what comes of
them in one go.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.rpc import large
from kserve_v2.rpc.codec import decode_request
from kserve_v2.rpc.large import receive_large
from kserve_v2.rpc.received import Received
from kserve_v2.scheduling.slices import LARGE_BYTES, any_room
from kserve_v2.tensors.strings import encode_bytes_tensor
from tests.rpc.large_messages import MODEL, REGIONS, check_the_same, field, tensor
from tests.slices import counted

# Enough for a tensor to be large, in elements of many sizes.
LARGE = [b"word %d" % number for number in range(LARGE_BYTES // 8)]
ELEMENTS = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"", b"\xff\xfe", b"x" * 127, b"x" * 128, b"y" * 16_383, b"y" * 16_384, b"z" * 70_000]),
)


def typed(elements: list[bytes]) -> bytes:
    return b"".join(field(8, element) for element in elements)


ALL = pb.ModelInferRequest(parameters={"p": pb.InferParameter(int64_param=7)}).SerializeToString()
OTHERS = st.sampled_from([
    b"", MODEL, ALL, tensor("INT32", 1, b"\x12\x01\x07").replace(b"x", b"y"), field(7, b"\1\2\3\4"),
    field(6, b"\x0a\x01o"), b"\x38\x05", b"\x02\x01a", b"\xc2\x0c\x03abc", field(5, b"\xff"),
])  # fmt: skip
# What a message may have behind the elements of typed contents, or the lengths in raw ones.
BEHIND = st.sampled_from([
    b"", b"", b"", b"\x42", b"\x42\x05ab", b"\x42\x80", b"\x42\x81\x00a", b"\x42\x80\x00", b"\x0a\x01\x01", b"\x10\x05", b"\xff",
    b"\x42\xff\xff\xff\xff\x0f", b"\1\0\0\0", b"\1\0\0\0a", b"\xff\xff\xff\xff", b"\0\0\0",
])  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.lists(ELEMENTS, max_size=12),
    BEHIND,
    st.sampled_from(["BYTES", "BYTES", "BYTES", "INT8", "TEXT"]),
    st.sampled_from([0, 0, 0, 1, -1]),
    OTHERS,
    OTHERS,
    st.sampled_from([b"", b"", field(5, b""), field(5, typed([b"a"])), b"\x10\x05"]),
    st.booleans(),
    st.integers(0, 12),
)
def test_what_is_read_in_slices(
    some: list[bytes],
    behind: bytes,
    datatype: str,
    more: int,
    before: bytes,
    after: bytes,
    twice: bytes,
    is_typed: bool,
    cut: int,
) -> None:
    elements = [*some, *LARGE, *some]
    count = len(elements) + more
    if is_typed:
        data = before + MODEL + tensor(datatype, count, typed(elements) + behind, twice) + after
    else:
        data = (
            before
            + MODEL
            + tensor(datatype, count)
            + field(7, encode_bytes_tensor(elements) + behind)
            + after
        )
    check_the_same(data[: len(data) - cut] if cut > 9 else data)


def messages() -> Iterator[tuple[str, bytes]]:
    words = LARGE
    yield (
        "two typed",
        MODEL
        + tensor("BYTES", len(words), typed(words))
        + tensor("BYTES", len(words), typed(words)).replace(b"\x0a\x01x", b"\x0a\x01y", 1),
    )
    yield "two of one name", MODEL + tensor("BYTES", len(words), typed(words)) * 2
    yield (
        "raw and typed",
        MODEL + tensor("BYTES", len(words), typed(words)) + field(7, encode_bytes_tensor(words)),
    )
    yield (
        "one of three raw",
        MODEL
        + tensor("INT8", 3)
        + tensor("BYTES", len(words)).replace(b"x", b"y", 1)
        + tensor("INT8", 2).replace(b"x", b"z", 1)
        + field(7, b"abc")
        + field(7, encode_bytes_tensor(words))
        + field(7, b"de"),
    )
    yield "one too many raw", MODEL + tensor("BYTES", len(words)) + field(7, encode_bytes_tensor(words)) * 2
    yield "one long element", MODEL + tensor("BYTES", 1, typed([b"x" * LARGE_BYTES]))
    yield "one long element, cut off", MODEL + tensor("BYTES", 1, typed([b"x" * LARGE_BYTES])[:-1])
    yield "nothing but empty ones", MODEL + tensor("BYTES", LARGE_BYTES, typed([b""] * LARGE_BYTES))
    yield (
        "a length in more bytes than it needs",
        MODEL + tensor("BYTES", len(words) + 1, typed(words) + b"\x42\x81\x80\x00a"),
    )
    shared = pb.ModelInferRequest(model_name="m")
    shared.inputs.add(name="x", datatype="BYTES", shape=[1]).parameters[
        "shared_memory_region"
    ].string_param = "r"
    shared.inputs.add(name="y", datatype="BYTES", shape=[len(words)])
    yield "one in a region", shared.SerializeToString() + field(7, encode_bytes_tensor(words))


MESSAGES = dict(messages())


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_that_are_not_so_usual(name: str) -> None:
    check_the_same(MESSAGES[name])


@pytest.mark.parametrize("is_typed", [False, True])
def test_usual_ones_are_read_in_slices(is_typed: bool) -> None:
    """And the elements are not protobuf's to read."""
    contents = typed(LARGE) if is_typed else None
    data = MODEL + tensor("BYTES", len(LARGE), contents)
    data += b"" if is_typed else field(7, encode_bytes_tensor(LARGE))
    slices = receive_large(memoryview(data), any_room)
    assert not isinstance(slices, Received)
    number, received = counted(slices)
    assert number > len(LARGE) * 14 // (64 * 1024)
    assert received.message.ByteSize() < 100
    request, _ = decode_request(received.message, REGIONS, received.raw, received.typed)
    assert request.inputs["x"].tolist() == LARGE


def test_large_numbers_are_not_looked_at() -> None:
    data = MODEL + tensor("INT8", LARGE_BYTES) + field(7, bytes(LARGE_BYTES))
    assert isinstance(receive_large(data, any_room), Received)
    assert large.LARGE_BYTES == LARGE_BYTES
