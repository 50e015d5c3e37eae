"""Integers in typed contents of large messages are read by numpy, in slices: what comes of it, right or wrong, is what
protobuf makes of them.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.backend import ModelConfig
from kserve_v2.forms import Forms
from kserve_v2.rpc import wire
from kserve_v2.rpc.codec import decode_request
from kserve_v2.rpc.large import receive_large
from kserve_v2.rpc.received import LARGE_BYTES as NOT_SMALL_BYTES
from kserve_v2.rpc.received import Received, receive
from kserve_v2.rpc.recurring import key_of, note
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import LARGE_BYTES, any_room
from kserve_v2.tensors.datatypes import BOOL, DATATYPES, INT8, INT32, INT64, UINT16, Datatype
from tests.rpc.large_messages import MODEL, REGIONS, check_the_same, field, in_slices, outcome, tensor
from tests.slices import counted

FIELDS = {
    "bool_contents": 1,
    "int_contents": 2,
    "int64_contents": 3,
    "uint_contents": 4,
    "uint64_contents": 5,
}
OF_INTEGERS = [datatype for datatype in DATATYPES if datatype.contents_field in FIELDS]
# Of the contents: around those at which a message is read otherwise.
SIZES = [
    1_023, 1_024, NOT_SMALL_BYTES - 60, NOT_SMALL_BYTES, NOT_SMALL_BYTES + 9, LARGE_BYTES - 60, LARGE_BYTES, LARGE_BYTES + 9,
]  # fmt: skip
EDGES = [2**bits + more for bits in (0, 7, 8, 14, 15, 16, 31, 32, 35, 63, 64) for more in (-1, 0, 1)]
WHOLE = st.one_of(
    st.integers(0, 127), st.integers(-130, -1), st.sampled_from([*EDGES, *(-each for each in EDGES)])
).map(lambda number: wire.varint(number % 2**64))
# In more bytes than they need, or with bits beyond the 64th.
ODD = st.sampled_from(
    [b"\x80\x00", b"\x81\x80\x80\x00", b"\x80" * 9 + b"\x00", b"\xff" * 9 + b"\x7f", b"\x80" * 9 + b"\x02"]
)
# Too long, cut off, not packed, in another field, or in none.
WRONG = [b"", b"\x80" * 10 + b"\x00", b"\xff" * 40, b"\x80", b"\xff" * 9]
# Too long, cut off, not packed, in another field, or in none.
BEHIND = [
    b"", b"\x10\x05", b"\x18\x05", b"\x08\x01", b"\x12\x02\x05\x06", b"\x1a\x01\x05", b"\x0a\x01\x01", b"\x12\x00", b"\x12\x81\x00\x05", b"\x12\x81\x80\x80\x80\x80\x00\x05",
    b"\x12\x05\x05", b"\x12\x02\x05\x80", b"\x3a\x08aaaaaaaa", b"\x42\x01a", b"\xc2\x0c\x03abc", b"\xff",
]  # fmt: skip
# Elsewhere in the input.
AROUND = [
    b"",
    field(2, b"INT8"),
    field(2, b"\xff"),
    b"\x10\x05",
    field(5, b""),
    field(5, b"\x12\x01\x05"),
    field(5, b"\x18\x05"),
]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    datatype = draw(st.sampled_from(OF_INTEGERS))
    number = FIELDS[datatype.contents_field]
    elements = draw(st.lists(WHOLE, min_size=1, max_size=30)) + draw(st.lists(ODD, max_size=2))
    if draw(st.booleans()):
        # Those that are in the range of most datatypes.
        elements = [element for element in elements if len(element) < 2] or [b"\x07"]
    size, once = draw(st.sampled_from(SIZES)), b"".join(elements)
    last = draw(st.lists(WHOLE, max_size=3))
    times = size // len(once) + draw(st.integers(0, 1))
    packed = once * times + b"".join(last)
    count = len(elements) * times + len(last) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    # Anywhere, also within a number, and then both halves are wrong.
    places = sorted(
        {
            0,
            len(packed),
            *draw(st.lists(st.integers(0, times).map(lambda each: each * len(once)), max_size=3)),
        }
    )
    if draw(st.integers(0, 9)) == 9:
        places = sorted({*places, draw(st.integers(0, len(packed)))})
    wrong, more = draw(st.sampled_from([b""] * 9 + WRONG)), draw(st.sampled_from([b""] * 9 + BEHIND))
    pieces = [packed[start:end] for start, end in pairwise(places)]
    pieces[-1] += wrong
    contents = b"".join(field(number, piece) for piece in pieces) + more
    named = draw(st.sampled_from([datatype.name] * 6 + [each.name for each in DATATYPES] + ["TEXT"]))
    message = MODEL + tensor(named, count, contents, draw(st.sampled_from([b""] * 9 + AROUND)))
    message += draw(st.sampled_from([b"", b"", field(5, b"\xff"), field(7, b"\1\2\3\4"), b"\x38\x05"]))
    cut = draw(st.sampled_from([0] * 9 + [1, 7]))
    return message[: len(message) - cut]


@settings(deadline=None, max_examples=300)
@given(messages())
def test_what_is_read_by_numpy(data: bytes) -> None:
    check_the_same(data)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("first", [True, False])
def test_messages_that_are_not_so_usual(around: bytes, first: bool) -> None:
    for wrong, behind in [*((wrong, b"") for wrong in WRONG), *((b"", behind) for behind in BEHIND)]:
        contents = field(2, b"\x05" * NOT_SMALL_BYTES + wrong) + behind
        for more in (0, 1, 2) if not wrong else (0,):
            count = NOT_SMALL_BYTES + more
            of_input = (around, field(5, contents)) if first else (field(5, contents), around)
            check_the_same(MODEL + tensor("INT32", count, None, *of_input))


def message_of(datatype: Datatype, values: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> bytes:
    request = pb.ModelInferRequest(model_name="m")
    item = request.inputs.add(name="x", datatype=datatype.name, shape=[len(values)])
    getattr(item.contents, datatype.contents_field).extend(values.tolist())
    return request.SerializeToString()


@pytest.mark.parametrize("datatype", OF_INTEGERS, ids=lambda datatype: datatype.name)
@pytest.mark.parametrize("size", [NOT_SMALL_BYTES, LARGE_BYTES])
def test_protobuf_gets_the_message_without_them(datatype: Datatype, size: int) -> None:
    """The array is writeable, as those of small requests are."""
    limits = np.iinfo(np.uint8 if datatype is BOOL else datatype.dtype)
    low, high = max(int(limits.min), -(2**62)), 2 if datatype is BOOL else min(int(limits.max), 2**62)
    values = np.random.default_rng(size).integers(low, high, size)
    data = message_of(datatype, values)
    found = receive_large(memoryview(data), any_room)
    assert isinstance(found, Received) is (len(data) < LARGE_BYTES)
    number, received = (0, found) if isinstance(found, Received) else counted(found)
    assert number >= len(data) // (64 * 1024) or len(data) < LARGE_BYTES
    assert received.message.ByteSize() < 100
    request, _ = decode_request(received.message, REGIONS, received.raw, received.typed)
    assert request.inputs["x"].dtype == datatype.dtype
    assert request.inputs["x"].flags.writeable
    assert request.inputs["x"].tolist() == values.tolist()


def test_each_cut_of_the_last_numbers() -> None:
    last = b"".join(wire.varint(number % 2**64) for number in (-1, 2**35, 300, -(2**31), 5))
    count = LARGE_BYTES
    for kept in range(len(last) + 1):
        ends = sum(byte < 0x80 for byte in last[:kept])
        check_the_same(MODEL + tensor("INT64", count + ends, field(3, b"\x05" * count + last[:kept])))


@pytest.mark.parametrize("datatype", [INT8, UINT16], ids=lambda datatype: datatype.name)
def test_the_first_errors_come_first(datatype: Datatype) -> None:
    """A number out of range is said only of an input that has as many as it should, and of the first one of these."""
    number = FIELDS[datatype.contents_field]
    large = b"\x05" * LARGE_BYTES + wire.varint(2**20)
    one = tensor(datatype.name, LARGE_BYTES + 1, field(number, large))
    other = tensor("INT64", 3, field(3, b"\x01" * 2_000)).replace(b"\x01x", b"\x01y", 1)
    for data in (one + other, other + one, one + one, one + field(7, b"1234"), one + field(5, b"\x0a\x01z")):
        check_the_same(MODEL + data)
    assert "out of range for" in outcome(lambda: in_slices(MODEL + one + other))
    assert "byte size mismatch" in outcome(lambda: in_slices(MODEL + other + one))


def test_room_is_asked_for_all_of_them_first() -> None:
    asked: list[int] = []
    data = message_of(INT64, np.full(LARGE_BYTES, 5))
    received = in_slices(data, lambda size: bool(asked.append(size)))
    assert asked == [8 * LARGE_BYTES]
    assert received.typed == {}


def test_large_ones_are_not_recognised() -> None:
    """They would be read in one go. Small ones are, and one that is large for its numbers alone is not like these."""
    signature = ModelSignature(ModelConfig(name="m"))
    forms: Forms[None] = Forms()
    for values in (np.full(10_000, 5), np.full(NOT_SMALL_BYTES, 5)):
        data = message_of(INT32, values)
        for _ in range(8):
            received = receive(data)
            request, _ = decode_request(received.message, REGIONS)
            request.checked = True
            note(forms, data, received.message, request, signature)
        assert (forms.find(key_of(data), data) is not None) is (len(data) < NOT_SMALL_BYTES)
    for value, length in ((7, 1), (-7, 10)):
        data = message_of(INT32, np.full(10_000, value))
        assert (forms.find(key_of(data), data) is not None) is (length == 1)
