"""Tensors on the wire: raw bytes, BYTES framing and JSON data, each against a closed form."""

import json
import re

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.large import Gaps, shown
from kserve_v2.json_data.tensors import decode_json_data
from kserve_v2.messages import InferResponse
from kserve_v2.rest.codec import ALL_JSON, encode_response
from kserve_v2.scheduling.slices import at_once
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import (
    BF16,
    BOOL,
    BYTES,
    DATATYPES,
    FP16,
    FP32,
    FP64,
    INT8,
    INT32,
    INT64,
    UINT8,
    UINT64,
    Datatype,
)
from kserve_v2.tensors.raw import decode_raw_tensor, encode_raw_tensor
from kserve_v2.tensors.strings import encode_bytes_tensor

NO_ID = "[request id: <id_unknown>] "


def announced(datatype: Datatype, *shape: int) -> AnnouncedInput:
    return AnnouncedInput("IN", datatype, list(shape), "m", "")


# --- raw bytes
# --------------------------------------------------------------------------------------------------------


def test_aligned_bytes_are_not_copied_and_others_are() -> None:
    data = b"\0" + np.arange(4, dtype=np.int32).tobytes()
    view = np.frombuffer(data, np.int32, offset=1)
    assert not view.flags.aligned
    decoded = decode_raw_tensor(announced(INT32, 4), memoryview(data)[1:])
    assert decoded.flags.aligned
    assert decoded.tolist() == [0, 1, 2, 3]
    whole = decode_raw_tensor(announced(INT32, 4), memoryview(data[1:]))
    assert not whole.flags.owndata


@pytest.mark.parametrize(
    ("datatype", "values", "wire"),
    [
        (BOOL, [True, False], "0100"),
        (UINT8, [0, 255], "00ff"),
        (INT8, [-128, 127], "807f"),
        (INT32, [1, -2], "01000000feffffff"),
        (UINT64, [2**64 - 1], "ff" * 8),
        (FP16, [1.0, -2.0], "003c00c0"),
        (FP32, [1.0], "0000803f"),
        (FP64, [-0.0], "0000000000000080"),
        # The high half of the single precision number.
        (BF16, [1.0, -2.0], "803f00c0"),
    ],
)
def test_raw_numbers_are_little_endian(datatype: Datatype, values: list[float], wire: str) -> None:
    array = np.array(values, dtype=datatype.dtype)
    assert bytes(encode_raw_tensor(array)).hex() == wire
    decoded = decode_raw_tensor(announced(datatype, len(values)), bytes.fromhex(wire))
    assert decoded.dtype == datatype.dtype
    assert decoded.tolist() == values


def test_bytes_elements_are_prefixed_with_their_length() -> None:
    wire = b"\x00\x00\x00\x00" + b"\x03\x00\x00\x00a\x00b" + b"\x02\x00\x00\x00\xff\xfe"
    decoded = decode_raw_tensor(announced(BYTES, 3, 1), wire)
    assert decoded.tolist() == [[b""], [b"a\x00b"], [b"\xff\xfe"]]
    assert encode_raw_tensor(decoded) == wire


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_bytes_survive_the_wire(elements: list[bytes]) -> None:
    wire = encode_bytes_tensor(elements)
    assert decode_raw_tensor(announced(BYTES, len(elements)), wire).tolist() == elements


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "text"),
    [
        (
            FP32,
            [1, 3],
            bytes(8),
            f"{NO_ID}input byte size mismatch for input 'IN' for model 'm'. Expected 12, got 8",
        ),
        (
            FP32,
            [1, 3],
            bytes(16),
            f"{NO_ID}input byte size mismatch for input 'IN' for model 'm'. Expected 12, got 16",
        ),
        (
            BYTES,
            [3],
            b"\1\0\0\0a" * 2,
            f"{NO_ID}expected 3 string elements for inference input 'IN' for model 'm', got 2",
        ),
        (
            BYTES,
            [1],
            b"\1\0\0\0a" * 2,
            f"{NO_ID}unexpected number of string elements 2 for inference input 'IN' for model 'm', expecting 1",
        ),
        (
            BYTES,
            [2],
            b"\1\0\0\0a\1\0",
            f"{NO_ID}incomplete string length indicator for inference input 'IN' for model 'm', expecting 4 bytes but only"
            " 2 bytes available. Please make sure the string length indicator is in one buffer.",
        ),
        (
            BYTES,
            [1],
            b"\xff\xff\xff\xffa",
            "incomplete string data for inference input 'IN', expecting string of length 4294967295 but only 1"
            " bytes available",
        ),
        (FP32, [2**40, 2**40], b"", "exceed maximum size"),
        (FP32, [-1], b"", "contains one or more invalid dimensions"),
        (BYTES, [2**63], b"", "exceed maximum size"),
    ],
)
def test_raw_data_that_does_not_fit_is_refused(
    datatype: Datatype, shape: list[int], data: bytes, text: str
) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        decode_raw_tensor(announced(datatype, *shape), data)
    assert text in error.value.message


def test_raw_numbers_are_a_view_of_the_message() -> None:
    message = bytearray(np.arange(4, dtype=np.int32).tobytes())
    decoded = decode_raw_tensor(announced(INT32, 4), memoryview(message))
    message[0] = 9
    assert decoded[0] == 9


# --- JSON
# -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        (INT32, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        (INT32, [[1, 2, 3], [4, 5, 6]], [1, 2, 3, 4, 5, 6]),
        (INT32, [[[1], [2]], [[3], [4]], [[5], [6]]], [1, 2, 3, 4, 5, 6]),
        # Ragged and mixed nestings are flattened in order.
        (INT32, [[1], [2, 3, 4], [5, 6]], [1, 2, 3, 4, 5, 6]),
        (INT32, [1, [2, [3, 4]], 5, [[6]]], [1, 2, 3, 4, 5, 6]),
        (BOOL, [True, False, True, False, True, False], [True, False, True, False, True, False]),
        (FP32, [1, 2.5, -0.0, 1e-50, 3, 4], [1, 2.5, 0, 0, 3, 4]),
        (UINT64, [2**64 - 1, 0, 0, 0, 0, 0], [2**64 - 1, 0, 0, 0, 0, 0]),
        (INT64, [-(2**63), 0, 0, 0, 0, 0], [-(2**63), 0, 0, 0, 0, 0]),
        (BYTES, ["a", "", "ä", "\0", "b", "c"], [b"a", b"", "ä".encode(), b"\0", b"b", b"c"]),
    ],
)
def test_json_data(datatype: Datatype, data: list[object], expected: list[object]) -> None:
    decoded = decode_json_data(announced(datatype, 2, 3), data)
    assert decoded.dtype == datatype.dtype
    assert decoded.shape == (2, 3)
    assert decoded.reshape(-1).tolist() == expected


@pytest.mark.parametrize("number", [1e40, -1e40])
def test_json_numbers_beyond_single_precision_are_refused(number: float) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(f"{number} is out of range for FP32")):
        decode_json_data(announced(FP32, 2), [1.0, number])


@pytest.mark.parametrize(
    ("datatype", "data", "text"),
    [
        (FP32, [True], "Unable to parse 'data': attempt to access JSON non-number as double"),
        (FP64, ["1"], "Unable to parse 'data': attempt to access JSON non-number as double"),
        (FP32, [None], "Unable to parse 'data': attempt to access JSON non-number as double"),
        (INT32, [1.0], "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer"),
        (
            INT32,
            [True],
            "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            UINT8,
            ["1"],
            "Unable to parse 'data': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (BOOL, [1], "Unable to parse 'data': attempt to access JSON non-boolean as boolean"),
        (BYTES, [1], "Unable to parse JSON bytes array: attempt to access JSON non-string as string"),
        (INT32, 7, "Unable to parse 'data': attempt to access JSON non-array as array"),
        (
            INT32,
            [1, 2],
            "Shape does not match true shape of 'data' field (input 'IN': shape has 1 elements, 'data' has 2)",
        ),
        (
            INT32,
            [],
            "Shape does not match true shape of 'data' field (input 'IN': shape has 1 elements, 'data' has 0)",
        ),
        (BYTES, ["a", "b"], "unexpected number of string elements 2"),
        (INT8, [128], "128 is out of range for INT8 [-128, 127] (input 'IN')"),
        (
            UINT8,
            [-1],
            "attempt to access JSON non-unsigned-integer as unsigned-integer (input 'IN': -1 is out of range for UINT8 [0, 255])",
        ),
        (UINT8, [256], "256 is out of range for UINT8 [0, 255] (input 'IN')"),
        (
            INT64,
            [2**63],
            "attempt to access JSON non-signed-integer as signed-integer (input 'IN': 9223372036854775808 is out of range for INT64",
        ),
        (
            FP16,
            [1.0],
            "receiving FP16 data via JSON is not supported. Please use the binary data format for input IN",
        ),
        (
            BF16,
            [1.0],
            "receiving BF16 data via JSON is not supported. Please use the binary data format for input IN",
        ),
    ],
)
def test_json_data_that_does_not_fit_is_refused(datatype: Datatype, data: object, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        decode_json_data(announced(datatype, 1), data)
    assert text in error.value.message


json_datatypes = [datatype for datatype in DATATYPES if datatype not in (FP16, BF16, BYTES)]


@pytest.mark.parametrize("datatype", json_datatypes, ids=lambda datatype: datatype.name)
@given(st.data())
def test_numbers_survive_json(datatype: Datatype, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    array = data.draw(arrays.arrays(datatype.dtype, shape))
    encoded = at_once(shown(array, "OUT", Gaps()))
    text = orjson.dumps(encoded, option=orjson.OPT_SERIALIZE_NUMPY)
    decoded = decode_json_data(announced(datatype, *shape), json.loads(text))
    np.testing.assert_array_equal(decoded, array)


def test_what_json_cannot_carry_is_refused_with_advice() -> None:
    not_text = np.empty(1, dtype=np.object_)
    not_text[0] = b"\xff"
    for array in (not_text, np.zeros(1, np.float16), np.zeros(1, ml_dtypes.bfloat16)):
        response = InferResponse("m", "1", "", {"OUT": array})
        with pytest.raises(
            InvalidArgumentError, match=r"[Pp]lease use the binary data format for (this )?output"
        ):
            at_once(encode_response(response, ALL_JSON, {}, batched=False))
