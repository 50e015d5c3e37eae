"""Numbers as protobuf packs them, read a slice at a time, wherever the slices end."""

from unittest.mock import patch

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.rpc import wire
from kserve_v2.tensors import varints
from tests.slices import counted

FIELDS = {1: "?", 2: "i4", 3: "i8", 4: "u4", 5: "u8"}


def by_protobuf(number: int, parts: list[bytes]) -> list[int] | None:
    data = b"".join(wire.head(number, len(part)) + part for part in parts)
    try:
        found = pb.InferTensorContents.FromString(data).ListFields()
    except DecodeError:
        return None
    return list(found[0][1]) if found else []


def by_numpy(number: int, parts: list[bytes]) -> list[int] | None:
    views, dtype = [memoryview(part) for part in parts], np.dtype(FIELDS[number])
    _, count = counted(varints.count_varints(views))
    try:
        _, read = counted(varints.read_packed(views, count, dtype, dtype))
    except ValueError:
        return None
    found: list[int] = read.values.tolist()
    return found


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(list(FIELDS)),
    st.lists(
        st.lists(
            st.one_of(st.binary(max_size=12), st.integers(0, 2**64 - 1).map(wire.varint)), max_size=12
        ).map(b"".join),
        max_size=3,
    ),
    st.integers(10, 40),
)
def test_any_bytes(number: int, parts: list[bytes], slice_bytes: int) -> None:
    with patch.object(varints, "_SLICE_BYTES", slice_bytes), patch.object(varints, "_COUNTED_BYTES", 7):
        assert by_numpy(number, parts) == by_protobuf(number, parts)


@pytest.mark.parametrize("last", [0, 1, 2, 0x7F])
@pytest.mark.parametrize("size", range(1, 13))
@pytest.mark.parametrize("number", FIELDS)
def test_each_length(number: int, size: int, last: int) -> None:
    """Of more than ten bytes, none is a number; what is beyond 64 bits does not count."""
    for more in (b"\x80", b"\xff", b"\xaa"):
        packed = b"\5" + more * (size - 1) + bytes([last]) + b"\6"
        assert by_numpy(number, [packed]) == by_protobuf(number, [packed])
        assert (by_numpy(number, [packed]) is None) is (size > 10)
