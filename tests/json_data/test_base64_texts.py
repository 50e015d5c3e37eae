"""Base64 in JSON: what is taken, what is not, and how outputs are asked for in it."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.messages import InferResponse
from kserve_v2.rest.codec import decode_request, encode_response
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import at_once

SIGNATURE = ModelSignature(
    parse_config(
        'name: "m" input { name: "x" data_type: TYPE_STRING dims: -1 } output { name: "y" data_type: TYPE_STRING dims: -1 }',
        "test",
    )
)
ENCODED = {"content_type": "base64"}
ALL_BYTES = bytes(range(256))


def decode(
    data: Any, shape: list[int], parameters: Any = ENCODED, datatype: str = "BYTES", **outputs: Any
) -> Any:
    item = {"name": "x", "datatype": datatype, "shape": shape, "data": data, "parameters": parameters}
    if data is None:
        del item["data"]
    body = json.dumps({"inputs": [item], **outputs}).encode()
    return decode_request(body, None, SIGNATURE, "", SharedMemoryRegions(enabled=True))


@pytest.mark.parametrize(
    ("data", "shape", "expected"),
    [
        ([base64.b64encode(ALL_BYTES).decode()], [1], [ALL_BYTES]),
        (["", "AA==", "AAA="], [3], [b"", b"\0", b"\0\0"]),
        ([["QQ=="], ["Qg=="]], [2, 1], [[b"A"], [b"B"]]),
        # As programs write it that break lines.
        ([base64.encodebytes(ALL_BYTES).decode()], [1], [ALL_BYTES]),
        (["QQ==\r\n"], [1], [b"A"]),
        ([], [0], []),
    ],
)
def test_elements_are_decoded(data: Any, shape: list[int], expected: Any) -> None:
    request, _ = decode(data, shape)
    assert request.inputs["x"].tolist() == expected
    assert request.inputs["x"].dtype == object


@pytest.mark.parametrize(
    "parameters", [None, {}, {"content_type": "str"}, {"content_type": ["base64"]}, {"other": "base64"}]
)
def test_other_texts_stay_as_they_are(parameters: Any) -> None:
    request, _ = decode(["QQ=="], [1], parameters)
    assert request.inputs["x"].tolist() == [b"QQ=="]


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "text"),
    [
        (["QQ"], [1], "BYTES", "input 'x': element 0 is no base64: Incorrect padding; it begins with 'QQ'"),
        (["QQ==", "Q?=="], [2], "BYTES", "input 'x': element 1 is no base64: "),
        (["QQ==QQ=="], [1], "BYTES", "input 'x': element 0 is no base64: "),
        (["_-=="], [1], "BYTES", "input 'x': element 0 is no base64: "),
        (["ŝ"], [1], "BYTES", "input 'x': element 0 is no base64: "),
        (["data:image/png;base64,QQ=="], [1], "BYTES", "leave out what stands before the comma"),
        (
            [1],
            [1],
            "BYTES",
            "input 'x': expected a list of texts in 'data', because parameter 'content_type' is 'base64'",
        ),
        ("QQ==", [1], "BYTES", "input 'x': expected a list of texts in 'data'"),
        (["QQ=="], [2], "BYTES", "expected 2 string elements for inference input 'x' for model 'm', got 1"),
        ([1.0], [1], "FP32", "input 'x': parameter 'content_type' is 'base64', which is for BYTES, got FP32"),
    ],
)
def test_what_is_none(data: Any, shape: list[int], datatype: str, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decode(data, shape, datatype=datatype)
    assert text in caught.value.message


@pytest.mark.parametrize(("source", "value"), [("binary_data_size", 8), ("shared_memory_region", "r")])
def test_bytes_that_come_as_they_are_are_no_base64(source: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"which is for texts in 'data', got '{source}'"):
        decode(None, [1], {**ENCODED, source: value})


def answer(array: Any, parameters: Any) -> dict[str, Any]:
    outputs = [{"name": "y", "parameters": parameters}]
    _, response_format = decode(["QQ=="], [1], outputs=outputs)
    response = InferResponse("m", "1", "", {"y": array})
    encoded = at_once(encode_response(response, response_format, {}, batched=False))
    found: dict[str, Any] = json.loads(b"".join(encoded.parts))["outputs"][0]
    return found


def test_outputs_go_as_base64_if_they_are_asked_for_so() -> None:
    array = np.array([[ALL_BYTES, b""]], object)
    found = answer(array, ENCODED)
    assert found["parameters"] == ENCODED
    assert (found["datatype"], found["shape"]) == ("BYTES", [1, 2])
    assert [base64.b64decode(text) for text in found["data"]] == [ALL_BYTES, b""]
    with pytest.raises(
        InvalidArgumentError, match='or ask for it with the parameter "content_type": "base64"'
    ):
        answer(array, {})


@pytest.mark.parametrize(
    ("array", "parameters", "text"),
    [
        (
            np.zeros(1, np.float32),
            ENCODED,
            "output 'y': parameter 'content_type' is 'base64', which is for BYTES, but it is FP32",
        ),
        (
            np.array([b"a"], object),
            {**ENCODED, "binary_data": True},
            "Output can't set both 'binary_data' and 'content_type' to 'base64' (output 'y')",
        ),
        (
            np.array([b"a"], object),
            {**ENCODED, "shared_memory_region": "r", "shared_memory_byte_size": 8},
            "Output can't set both 'shared_memory_region' and 'content_type' (output 'y')",
        ),
    ],
)
def test_what_does_not_go_together(array: Any, parameters: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        answer(array, parameters)
    assert text in caught.value.message
