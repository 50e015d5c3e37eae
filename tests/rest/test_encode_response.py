"""Answers as REST has them: the JSON is what a plain encoder makes of the same document, and the tensors behind it are
numpy's bytes, however large they are.
"""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.tensors import JSON_DTYPES
from kserve_v2.messages import InferResponse
from kserve_v2.rest.codec import (
    ALL_BINARY,
    ALL_JSON,
    EncodedResponse,
    OutputFormat,
    ResponseFormat,
    encode_response,
)
from kserve_v2.tensors.datatypes import BY_DTYPE, BYTES, DATATYPES, FP16, Array
from tests.slices import counted

NAMES = st.text(max_size=5)


def encoded(
    response: InferResponse, response_format: ResponseFormat = ALL_JSON
) -> tuple[int, EncodedResponse]:
    """How many slices there are before the last one, and the answer."""
    return counted(encode_response(response, response_format, {}, batched=True))


def divided(found: EncodedResponse) -> tuple[bytes, bytes]:
    """The JSON of an answer, and what is behind it."""
    whole = b"".join(found.parts)
    json_bytes = found.json_bytes or len(whole)
    return whole[:json_bytes], whole[json_bytes:]


@st.composite
def responses(draw: st.DrawFn) -> InferResponse:
    outputs: dict[str, Array] = {}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        dtype = draw(st.sampled_from(sorted(JSON_DTYPES, key=str)))
        outputs[name] = draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
    parameters = draw(st.sampled_from([{}, {"p": 1, "q": float("nan")}]))
    return InferResponse(draw(NAMES), draw(st.sampled_from(["", "1"])), draw(NAMES), outputs, parameters)


FORMATS = st.one_of(
    st.sampled_from([ALL_JSON, ALL_BINARY]),
    st.dictionaries(NAMES, st.sampled_from([OutputFormat(), OutputFormat(binary=True)])).map(ResponseFormat),
)


@settings(deadline=None)
@given(responses(), FORMATS)
def test_what_is_sent_is_what_the_model_gave(
    response: InferResponse, response_format: ResponseFormat
) -> None:
    slices, found = encoded(response, response_format)
    assert slices == 0
    text, binary = divided(found)
    document = json.loads(text)
    assert document.get("id", "") == response.id
    assert (document["model_name"], document["model_version"]) == (
        response.model_name,
        response.model_version,
    )
    assert str(document.get("parameters", {})) == str(response.parameters)
    for entry, (name, array) in zip(document["outputs"], response.outputs.items(), strict=True):
        expected = {"name": name, "datatype": BY_DTYPE[array.dtype].name, "shape": list(array.shape)}
        if response_format.named.get(name, response_format.default).binary:
            expected["parameters"] = {"binary_data_size": array.nbytes}
            assert binary[: array.nbytes] == array.tobytes()
            binary = binary[array.nbytes :]
        else:
            np.testing.assert_array_equal(np.array(entry.pop("data"), array.dtype), array.reshape(-1))
        assert entry == expected
    assert not binary


def response_of(outputs: dict[str, Array], **fields: Any) -> InferResponse:
    return InferResponse("m", "1", "", outputs, **fields)


def test_members_are_in_the_protocol_s_order() -> None:
    response = InferResponse("m", "1", "r", {"Y": np.array([1, 2])}, {"p": 1})
    expected = (
        b'{"id":"r","model_name":"m","model_version":"1","parameters":{"p":1},'
        b'"outputs":[{"name":"Y","datatype":"INT64","shape":[2],"data":[1,2]}]}'
    )
    assert encoded(response) == (0, EncodedResponse([expected]))


@pytest.mark.parametrize(
    ("values", "text"),
    [([1.5, np.nan], b"[1.5,NaN]"), ([np.inf, -np.inf], b"[Infinity,-Infinity]"), ([-0.0], b"[-0.0]")],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_that_json_does_not_have(values: list[float], text: bytes, dtype: type) -> None:
    _, found = encoded(response_of({"Y": np.array(values, dtype)}))
    assert b"".join(found.parts).endswith(b'"data":' + text + b"}]}")


def test_every_datatype() -> None:
    for datatype in DATATYPES:
        array = np.zeros(2, datatype.dtype) if datatype is not BYTES else np.array([b"", b"a"], object)
        slices, found = encoded(response_of({"Y": array}), ALL_BINARY)
        assert (slices, divided(found)[1]) == (
            0,
            array.tobytes() if datatype is not BYTES else b"\0\0\0\0\1\0\0\0a",
        )
        if datatype.dtype in JSON_DTYPES or datatype is BYTES:
            assert b'"data":[' in b"".join(encoded(response_of({"Y": array}))[1].parts)
        else:
            with pytest.raises(InvalidArgumentError, match=f"sending {datatype.name} data via JSON"):
                encoded(response_of({"Y": array}))


def test_outputs_of_all_kinds_in_one_answer() -> None:
    texts = np.array([b"a", "\u00e9".encode()], object)
    outputs = {"A": np.array([1]), "B": texts, "C": np.array([0.5], FP16.dtype), "D": texts}
    named = {"C": OutputFormat(binary=True), "D": OutputFormat(base64=True)}
    _, found = encoded(response_of(outputs), ResponseFormat(named))
    text, binary = divided(found)
    shown = json.loads(text)["outputs"]
    assert [each.get("data") for each in shown] == [[1], ["a", "\u00e9"], None, ["YQ==", "w6k="]]
    assert binary == outputs["C"].tobytes()


@pytest.mark.parametrize(
    ("array", "form"),
    [
        (np.arange(100_000), OutputFormat()),
        (np.full((2, 50_000), b"text", object), OutputFormat()),
        (np.full((2, 50_000), b"text", object), OutputFormat(binary=True)),
        (np.full((2, 50_000), b"text", object), OutputFormat(base64=True)),
        (np.full(2, b"x" * 300_000, object), OutputFormat()),
    ],
)
def test_what_is_large_is_written_in_slices(array: Array, form: OutputFormat) -> None:
    """And no other output is written otherwise because of it."""
    small = np.array([7])
    slices, found = encoded(response_of({"S": small, "Y": array, "T": small}), ResponseFormat({"Y": form}))
    assert slices > 1
    text, binary = divided(found)
    shown = json.loads(text)["outputs"]
    assert [each["name"] for each in shown] == ["S", "Y", "T"]
    assert shown[0]["data"] == shown[2]["data"] == [7]
    flat = array.reshape(-1).tolist()
    if form.binary:
        assert len(binary) == shown[1]["parameters"]["binary_data_size"] == len(flat) * 8
    else:
        texts = {b"text": "dGV4dA==" if form.base64 else "text", b"x" * 300_000: "x" * 300_000}
        assert shown[1]["data"] == [texts.get(each, each) for each in flat]


def test_an_answer_without_outputs() -> None:
    assert (
        b"".join(encoded(response_of({}))[1].parts) == b'{"model_name":"m","model_version":"1","outputs":[]}'
    )
