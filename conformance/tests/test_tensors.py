"""Tensors on the wire: known bytes, and what is no tensor."""

import json

import numpy as np
import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.tensors import (
    Tensor,
    UnreadableTensor,
    array,
    difference,
    from_contents,
    from_json,
    from_raw,
    show_element,
    to_contents,
    to_json,
    to_raw,
)

# Datatype, values, and their bytes: IEEE 754 and two's complement, little-endian; BYTES behind their length.
KNOWN = [
    ("BOOL", [True, False], "01 00"),
    ("UINT8", [0, 255], "00 ff"),
    ("INT8", [-1, 127], "ff 7f"),
    ("UINT16", [1, 65535], "01 00 ff ff"),
    ("INT16", [-2, 256], "fe ff 00 01"),
    ("UINT32", [1], "01 00 00 00"),
    ("INT32", [-1], "ff ff ff ff"),
    ("UINT64", [2**64 - 1], "ff ff ff ff ff ff ff ff"),
    ("INT64", [-(2**63)], "00 00 00 00 00 00 00 80"),
    ("FP16", [1.0, -2.0], "00 3c 00 c0"),
    ("BF16", [1.0, -2.0], "80 3f 00 c0"),
    ("FP32", [1.0, -0.0], "00 00 80 3f 00 00 00 80"),
    ("FP64", [1.0], "00 00 00 00 00 00 f0 3f"),
    ("BYTES", [b"ab", b""], "02 00 00 00 61 62 00 00 00 00"),
]


def _tensor(datatype: str, values: list[object]) -> Tensor:
    return Tensor("T", datatype, (len(values),), array(datatype, values))


@pytest.mark.parametrize(("datatype", "values", "raw"), KNOWN)
def test_raw(datatype: str, values: list[object], raw: str) -> None:
    data = bytes.fromhex(raw)
    tensor = _tensor(datatype, values)
    assert to_raw(tensor) == data
    assert difference(tensor, Tensor("T", datatype, tensor.shape, from_raw(datatype, data))) is None


@pytest.mark.parametrize(
    ("datatype", "values"), [known[:2] for known in KNOWN if known[0] not in ("FP16", "BF16")]
)
def test_json_and_contents(datatype: str, values: list[object]) -> None:
    tensor = _tensor(datatype, values)
    through_json = from_json(datatype, json.loads(json.dumps(to_json(tensor))))
    message = pb.InferTensorContents.FromString(to_contents(tensor).SerializeToString())
    for got in (through_json, from_contents(datatype, message)):
        assert difference(tensor, Tensor("T", datatype, tensor.shape, got)) is None


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", {}),
        ("FP32", "1"),
        ("FP32", ["1"]),
        ("FP32", [None]),
        ("FP32", [True]),
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("INT32", [1.5]),
        ("INT32", [float("nan")]),
        ("BOOL", [1]),
        ("BYTES", [1]),
    ],
)
def test_json_that_is_no_tensor(datatype: str, data: object) -> None:
    with pytest.raises(UnreadableTensor):
        from_json(datatype, data)


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [("INT32", "00 00"), ("BF16", "00"), ("BOOL", "02"), ("BYTES", "01 00"), ("BYTES", "02 00 00 00 61")],
)
def test_bytes_that_are_no_tensor(datatype: str, raw: str) -> None:
    with pytest.raises(UnreadableTensor):
        from_raw(datatype, bytes.fromhex(raw))


def test_contents_in_another_field() -> None:
    with pytest.raises(UnreadableTensor, match="fp64_contents"):
        from_contents("FP32", pb.InferTensorContents(fp64_contents=[1.0]))
    with pytest.raises(UnreadableTensor, match="raw contents"):
        from_contents("FP16", pb.InferTensorContents(fp32_contents=[1.0]))
    assert len(from_contents("FP16", pb.InferTensorContents())) == 0


def test_nested_json_is_flattened() -> None:
    assert from_json("INT32", [[1, 2], [3, [4]]]).tolist() == [1, 2, 3, 4]
    assert from_json("INT32", [2.0]).tolist() == [2]


@pytest.mark.parametrize(
    ("expected", "got", "text"),
    [
        ([1.0, 2.0], [1.0, 2.0], None),
        ([float("nan")], [float("nan")], None),
        ([0.0], [-0.0], "1 of 1 elements differ, first [0]: expected 0.0, got -0.0"),
        ([1.0, 2.0, 3.0], [1.0, 5.0, 6.0], "2 of 3 elements differ, first [1]: expected 2.0, got 5.0"),
        ([1.0], [1.0, 2.0], "expected 1 elements, got 2"),
    ],
)
def test_difference(expected: list[object], got: list[object], text: str | None) -> None:
    assert difference(_tensor("FP32", expected), _tensor("FP32", got)) == text


def test_long_elements_are_shortened() -> None:
    assert show_element(b"x" * 200).endswith("… (203 characters)")
    assert show_element(np.float32(1.5)) == "1.5"
