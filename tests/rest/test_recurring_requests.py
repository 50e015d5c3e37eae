"""What is not decoded again is what would have been decoded."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.forms import MAX_REMEMBERED_BYTES, Forms, gives, may_recur
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.messages import InferRequest, same_request
from kserve_v2.rest.codec import ALL_JSON, OutputFormat, ResponseFormat, decode_request
from kserve_v2.rest.heads import InferHead, InferHeads
from kserve_v2.rest.recurring import MAX_JSON_BYTES, RestForm, form_of, key_of, note
from kserve_v2.scheduling.signature import ModelSignature

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


def form(body: bytes, json_bytes: int) -> RestForm | None:
    request, response_format = decoded(body, b"%d" % json_bytes)
    return proved(body, json_bytes, request, response_format)


def proved(
    body: bytes,
    json_bytes: int,
    request: InferRequest,
    response_format: ResponseFormat = ALL_JSON,
    signature: ModelSignature = SIGNATURE,
) -> RestForm | None:
    """The form of a request if one would be kept."""
    found = form_of(body, json_bytes, request, signature, response_format)
    return found if found is not None and may_recur(request) and gives(found, body, request) else None


OUTPUTS = [{"name": "X", "parameters": {"binary_data": True}}, {"name": "Y"}]
MEMBERS = [{}, {"id": "r7"}]


@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("rows", [1, 4])
def test_other_bytes_are_read_as_by_the_codec(rows: int, members: dict[str, Any]) -> None:
    found = form(*binary(rows, 0, **members))
    assert found is not None
    body, json_bytes = binary(rows, 1, **members)
    for each in (body, memoryview(body), memoryview(b"x" + body)[1:]):
        got = found.request(each)
        assert got is not None
        assert same_request(got, decoded(body, b"%d" % json_bytes)[0])
        assert all(array.flags.aligned for array in got.inputs.values())


def test_how_the_outputs_are_wanted_is_remembered() -> None:
    text = 'name: "m" input { name: "A" data_type: TYPE_INT32 dims: 1 } output { name: "X" data_type: TYPE_INT32 dims: 1 }'
    signature = ModelSignature(text_format.Parse(text, ModelConfig()))
    tensor = {"name": "A", "shape": [1], "datatype": "INT32", "parameters": {"binary_data_size": 4}}
    header = orjson.dumps({"inputs": [tensor], "outputs": OUTPUTS[:1]})
    body = header + bytes(4)
    request, response_format = decode_request(body, b"%d" % len(header), signature, "", REGIONS)
    signature.check(request)
    request.checked = True
    recurring = proved(body, len(header), request, response_format, signature)
    assert recurring is not None
    assert recurring.wanted.named == {"X": OutputFormat(binary=True)}
    got = recurring.request(header + b"\1\0\0\0")
    assert got is not None
    assert got.requested_outputs == ("X",)
    assert got.inputs["A"].tolist() == [1]


@pytest.mark.parametrize(
    "members",
    [{"parameters": {"priority": 1}}, {"parameters": {"mine": "x"}}, {"parameters": {"timeout": 5}}],
)
def test_requests_with_parameters_are_decoded_each_time(members: dict[str, Any]) -> None:
    assert form(*binary(1, 0, **members)) is None


def test_numbers_in_json_before_bytes_are_decoded_each_time() -> None:
    mixed = document(1, [1, 2, 3], [], [])
    tensors = b""
    for each, size in zip(mixed["inputs"][1:], (8, 1), strict=True):
        del each["data"]
        each["parameters"] = {"binary_data_size": size}
        tensors += bytes(size)
    text = orjson.dumps(mixed)
    assert form(text + tensors, len(text)) is None


def test_names_that_are_written_with_escapes_are_decoded_each_time() -> None:
    body, json_bytes = binary(1, 0)
    assert form(body, json_bytes) is not None
    escaped = body.replace(b'"binary_data_size"', b'"binary_data\\u005fsize"')
    assert form(escaped, json_bytes + len(escaped) - len(body)) is None


def test_a_form_that_would_not_give_its_own_request_is_none() -> None:
    body, json_bytes = binary(1, 7)
    request, response_format = decoded(body, b"%d" % json_bytes)
    wrong = replace(request, inputs={**request.inputs, "A": request.inputs["A"] + 1})
    assert proved(body, json_bytes, request, response_format) is not None
    assert proved(body, json_bytes, wrong, response_format) is None
    assert proved(body, json_bytes, replace(request, cancelled=True), response_format) is None


def test_a_form_that_was_refused_is_never_noted() -> None:
    body, json_bytes = binary(5, 0)
    with pytest.raises(InvalidArgumentError, match="batch-size must be <= 4"):
        decoded(body, b"%d" % json_bytes)


# --- looked up by their JSON ------------------------------------------------------------------------------------


def head_for(
    body: bytes, json_bytes: int, *headers: tuple[bytes, bytes], url: bytes = b"/v2/models/m/infer"
) -> InferHead:
    fields = [
        (b"host", b"x"),
        (b"content-length", b"%d" % len(body)),
        (b"inference-header-content-length", b"%d" % json_bytes),
        *headers,
    ]
    lines = b"".join(b"%b: %b\r\n" % each for each in fields)
    head = InferHeads(100_000).read(b"POST %b HTTP/1.1\r\n%b\r\n" % (url, lines))
    assert head is not None
    return head


def recalled(
    forms: Forms[ResponseFormat], head: InferHead, body: bytes
) -> tuple[RestForm, InferRequest] | None:
    key = key_of(head, body)
    return None if key is None else forms.find(key, body)


def noted(
    forms: Forms[ResponseFormat], body: bytes, json_bytes: int, times: int = 2, model: str = "m"
) -> None:
    head = head_for(body, json_bytes, url=f"/v2/models/{model}/infer".encode())
    for _ in range(times):
        request, response_format = decoded(body, b"%d" % json_bytes)
        note(forms, head, body, request, SIGNATURE, response_format)


def test_a_form_is_remembered_when_it_comes_again() -> None:
    forms: Forms[ResponseFormat] = Forms()
    body, json_bytes = binary(1, 0)
    noted(forms, body, json_bytes, times=1)
    assert recalled(forms, head_for(body, json_bytes), body) is None
    noted(forms, body, json_bytes, times=1)
    other = binary(1, 9)[0]
    assert recalled(forms, head_for(other, json_bytes), other) is not None


def test_what_is_of_another_form() -> None:
    forms: Forms[ResponseFormat] = Forms()
    body, json_bytes = binary(1, 0, id="a")
    noted(forms, body, json_bytes)
    head = head_for(body, json_bytes)
    assert recalled(forms, head, body) is not None
    others = {
        "another member": (head, body.replace(b'"id"', b'"ix"')),
        "a number as its id": (head, body.replace(b'"a"', b"123")),
        "longer": (head, body + b"x"),
        "shorter": (head, body[:-1]),
        "JSON of another length": (head_for(body, json_bytes - 1), body),
        "another model": (head_for(body, json_bytes, url=b"/v2/models/n/infer"), body),
        "another version": (head_for(body, json_bytes, url=b"/v2/models/m/versions/2/infer"), body),
        "without JSON": (head_for(body, 0), body),
    }
    assert [name for name, (each, data) in others.items() if recalled(forms, each, data) is not None] == []


def test_what_is_remembered_is_bounded() -> None:
    """And what is used stays."""
    forms: Forms[ResponseFormat] = Forms()
    used, used_json_bytes = binary(1, 0, id="used")
    noted(forms, used, used_json_bytes)
    for number in range(MAX_REMEMBERED_BYTES // 4096):
        noted(forms, *binary(1, 0), model=f"m{number}")
        assert recalled(forms, head_for(used, used_json_bytes), used) is not None
    assert forms.nbytes <= MAX_REMEMBERED_BYTES
    long, json_bytes = binary(1, 0, other="x" * MAX_JSON_BYTES)
    noted(forms, long, json_bytes)
    assert recalled(forms, head_for(long, json_bytes), long) is None
