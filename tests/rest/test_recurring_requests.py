"""What is not decoded again is what would have been decoded."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest
from kserve_v2.rest.codec import ALL_JSON, OutputFormat, ResponseFormat, decode_request
from kserve_v2.rest.recurring import Recurring, recurring_binary, recurring_json
from kserve_v2.shared_memory import SharedMemoryRegions
from kserve_v2.signature import ModelSignature

REGIONS = SharedMemoryRegions(enabled=False)
CONFIG = """
name: "m" max_batch_size: 4
input { name: "A" data_type: TYPE_INT32 dims: 3 }
input { name: "B" data_type: TYPE_FP32 dims: [ 2, 1 ] }
input { name: "C" data_type: TYPE_BOOL dims: 1 }
"""
SIGNATURE = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))


def decoded(body: bytes, header: bytes | None = None) -> tuple[InferRequest, ResponseFormat]:
    """Decoded and checked in the usual way."""
    request, response_format = decode_request(body, header, SIGNATURE, "", REGIONS)
    if not request.checked:
        request.rows, request.batch_key = SIGNATURE.check(request)
        request.checked = True
    return request, response_format


def document(rows: int, a: list[Any], b: list[Any], c: list[Any]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "A", "shape": [rows, 3], "datatype": "INT32", "data": a},
            {"name": "B", "shape": [rows, 2, 1], "datatype": "FP32", "data": b},
            {"name": "C", "shape": [rows, 1], "datatype": "BOOL", "data": c},
        ]
    }


PLAIN = orjson.dumps(document(1, [1, 2, 3], [0.5, 1], [True]))


def json_form(body: bytes) -> Recurring:
    request, response_format = decode_request(body, None, SIGNATURE, "", REGIONS)
    assert request.checked, "of the usual form"
    recurring = recurring_json(body, request, SIGNATURE, response_format)
    assert recurring is not None
    return recurring


def same(left: InferRequest, right: InferRequest) -> bool:
    """Whether two requests are equal, to the bit."""

    def parts(request: InferRequest) -> Any:
        tensors = [
            (name, array.dtype, array.shape, array.tobytes()) for name, array in request.inputs.items()
        ]
        return (
            sorted(tensors), request.model_name, request.model_version, request.id, request.requested_outputs,
            request.checked, request.rows, request.batch_key, request.parameters, request.control,
        )  # fmt: skip

    return bool(parts(left) == parts(right))


INT32 = st.integers(-(2**31), 2**31 - 1)
NUMBERS = st.one_of(st.integers(-(2**64), 2**64), st.floats(allow_nan=False, allow_infinity=False))


@settings(deadline=None)
@given(
    st.lists(INT32, min_size=3, max_size=3), st.lists(NUMBERS, min_size=2, max_size=2), st.booleans(),
    st.sampled_from(["", " ", "\n\t"]),
)  # fmt: skip
def test_other_numbers_are_read_as_by_the_codec(a: list[int], b: list[float], c: bool, space: str) -> None:
    first, second = (
        json.dumps(each, separators=(",", ":"))
        .encode()
        .replace(b",", f",{space}".encode())
        .replace(b":[", f": {space}[".encode())
        for each in (document(1, [1, 2, 3], [0.5, 1], [True]), document(1, a, b, [c]))
    )
    got = json_form(first).request(second)
    assert got is not None
    assert same(got, decoded(second)[0])


DATA = st.recursive(
    st.one_of(NUMBERS, st.booleans(), st.none(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3),
)


@settings(deadline=None)
@given(st.lists(DATA, max_size=4), st.lists(DATA, max_size=4), st.lists(DATA, max_size=2))
def test_whatever_comes_as_data_means_the_same(a: list[Any], b: list[Any], c: list[Any]) -> None:
    body = json.dumps(document(1, a, b, c)).encode()
    got = json_form(PLAIN).request(body)
    if got is not None:
        assert same(got, decoded(body)[0])


@settings(deadline=None, max_examples=500)
@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=0, max_size=3))
def test_other_bytes_anywhere_mean_the_same(where: int, change: bytes) -> None:
    """A request that differs in a few bytes is decoded, or is what it would be decoded to."""
    body = PLAIN[:where] + change + PLAIN[where + 1 :]
    got = json_form(PLAIN).request(body)
    if got is not None:
        assert same(got, decoded(body)[0])


NOT_OF_THE_FORM = {
    "too few numbers": PLAIN.replace(b"[1,2,3]", b"[1,2]"),
    "too many numbers": PLAIN.replace(b"[1,2,3]", b"[1,2,3,4]"),
    "fractions for integers": PLAIN.replace(b"[1,2,3]", b"[1,2,3.0]"),
    "out of range": PLAIN.replace(b"[1,2,3]", b"[1,2,2147483648]"),
    "nested": PLAIN.replace(b"[1,2,3]", b"[[1,2,3]]"),
    "another shape": PLAIN.replace(b'"shape":[1,3]', b'"shape":[3,1]'),
    "another name": PLAIN.replace(b'"A"', b'"B"'),
    "numbers for booleans": PLAIN.replace(b"[true]", b"[1]"),
    "not a number": PLAIN.replace(b"[0.5,1]", b"[NaN,1]"),
    "more behind it": PLAIN + b" ",
    "cut off": PLAIN[:-1],
    "an input more": PLAIN.replace(b"]}]}", b']},{"name":"D"}]}'),
    "no list": PLAIN.replace(b"[1,2,3]", b"1"),
    "no JSON": b"",
}


@pytest.mark.parametrize("name", NOT_OF_THE_FORM)
def test_requests_that_are_not_of_the_form(name: str) -> None:
    assert NOT_OF_THE_FORM[name] != PLAIN
    assert json_form(PLAIN).request(NOT_OF_THE_FORM[name]) is None


def test_a_number_that_is_too_large_for_single_precision() -> None:
    body = PLAIN.replace(b"[0.5,1]", b"[1e39,1]")
    got = json_form(PLAIN).request(body)
    assert got is not None
    assert got.inputs["B"].tolist() == [[[np.inf], [1.0]]]


def test_long_requests_are_decoded_each_time() -> None:
    long = orjson.dumps(document(1, [1, 2, 3], [0.5, 1], [True])).replace(b",", b"," + b" " * 5000)
    request, response_format = decode_request(long, None, SIGNATURE, "", REGIONS)
    assert recurring_json(long, request, SIGNATURE, response_format) is None


# --- bytes behind JSON ------------------------------------------------------------------------------------------


def binary(rows: int, fill: int, **members: Any) -> tuple[bytes, int]:
    """A request whose tensors follow the JSON, and the length of that."""
    inputs, tensors = [], b""
    for each in document(rows, [], [], [])["inputs"]:
        size = int(np.prod(each["shape"])) * {"INT32": 4, "FP32": 4, "BOOL": 1}[each["datatype"]]
        del each["data"]
        inputs.append({**each, "parameters": {"binary_data_size": size}})
        tensors += bytes([fill]) * size
    text = orjson.dumps({"inputs": inputs, **members})
    return text + tensors, len(text)


def binary_form(body: bytes, json_bytes: int) -> Recurring | None:
    request, response_format = decoded(body, b"%d" % json_bytes)
    return recurring_binary(body, json_bytes, request, SIGNATURE, response_format)


OUTPUTS = [{"name": "X", "parameters": {"binary_data": True}}, {"name": "Y"}]
MEMBERS = [{}, {"id": "r7"}]


@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("rows", [1, 4])
def test_other_bytes_are_read_as_by_the_codec(rows: int, members: dict[str, Any]) -> None:
    form = binary_form(*binary(rows, 0, **members))
    assert form is not None
    body, json_bytes = binary(rows, 1, **members)
    for each in (body, memoryview(body), memoryview(b"x" + body)[1:]):
        got = form.request(each)
        assert got is not None
        assert same(got, decoded(body, b"%d" % json_bytes)[0])
        assert all(array.flags.aligned for array in got.inputs.values())


def test_how_the_outputs_are_wanted_is_remembered() -> None:
    text = 'name: "m" input { name: "A" data_type: TYPE_INT32 dims: 1 } output { name: "X" data_type: TYPE_INT32 dims: 1 }'
    signature = ModelSignature(text_format.Parse(text, ModelConfig()))
    tensor = {"name": "A", "shape": [1], "datatype": "INT32", "parameters": {"binary_data_size": 4}}
    header = orjson.dumps({"inputs": [tensor], "outputs": OUTPUTS[:1]})
    body = header + bytes(4)
    request, response_format = decode_request(body, b"%d" % len(header), signature, "", REGIONS)
    recurring = recurring_binary(body, len(header), request, signature, response_format)
    assert recurring is not None
    assert recurring.response_format.named == {"X": OutputFormat(binary=True)}
    got = recurring.request(header + b"\1\0\0\0")
    assert got is not None
    assert got.requested_outputs == ("X",)
    assert got.inputs["A"].tolist() == [1]


def test_other_json_of_the_same_length_is_another_form() -> None:
    body, json_bytes = binary(1, 0, id="a")
    form = binary_form(body, json_bytes)
    assert form is not None
    assert form.request(binary(1, 0, id="b")[0]) is None
    assert form.request(body + b"x") is None
    assert form.request(body[:-1]) is None


@pytest.mark.parametrize(
    "members",
    [{"parameters": {"priority": 1}}, {"parameters": {"mine": "x"}}, {"parameters": {"timeout": 5}}],
)
def test_requests_with_parameters_are_decoded_each_time(members: dict[str, Any]) -> None:
    assert binary_form(*binary(1, 0, **members)) is None


def test_numbers_in_json_before_bytes_are_decoded_each_time() -> None:
    mixed = document(1, [1, 2, 3], [], [])
    tensors = b""
    for each, size in zip(mixed["inputs"][1:], (8, 1), strict=True):
        del each["data"]
        each["parameters"] = {"binary_data_size": size}
        tensors += bytes(size)
    text = orjson.dumps(mixed)
    assert binary_form(text + tensors, len(text)) is None


def test_a_form_that_was_refused_is_never_noted() -> None:
    body, json_bytes = binary(5, 0)
    with pytest.raises(InvalidArgumentError, match="batch-size must be <= 4"):
        decoded(body, b"%d" % json_bytes)


def test_all_json_is_what_the_usual_form_asks_for() -> None:
    assert json_form(PLAIN).response_format is ALL_JSON
