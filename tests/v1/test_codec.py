"""Requests of the v1 protocol, and their answers: what they become, and the words for what is wrong."""

import base64
import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.text import parse_json
from kserve_v2.messages import InferResponse
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import at_once
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, DATATYPES, Array
from kserve_v2.v1.answer import encode_predictions
from kserve_v2.v1.codec import TF_DATATYPES, Decoded, decode_predict
from kserve_v2.v1.flavours import FLAVOURS

KSERVE, TF = FLAVOURS["kserve"], FLAVOURS["tfserving"]


def signature(
    *inputs: tuple[str, str, tuple[int, ...]], batch: int = 8, optional: str = ""
) -> ModelSignature:
    """A model with inputs of these names, datatypes and dims."""
    text = " ".join(
        f'input {{ name: "{name}" data_type: TYPE_{"STRING" if kind == "BYTES" else kind} '
        f"dims: [ {', '.join(map(str, dims))} ] {'optional: true' if name == optional else ''} }}"
        for name, kind, dims in inputs
    )
    return ModelSignature(
        parse_config(
            f'name: "m" max_batch_size: {batch} {text} output {{ name: "y" data_type: TYPE_FP32 dims: 1 }}',
            "test",
        )
    )


ONE = signature(("x", "FP32", (2,)))
PAIR = signature(("a", "FP32", (2,)), ("b", "INT64", (1,)))
TEXT = signature(("t", "BYTES", (1,)))
WHOLE = signature(("x", "FP32", (-1, 2)), batch=0)


def decode(body: Any, model: ModelSignature = ONE, manners: Any = KSERVE) -> Decoded:
    """What a body says; one that is text is JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    return decode_predict(parse_json(text.encode()), model, "", manners)


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        # Rows of one input: values, or objects with its name.
        (ONE, {"instances": [[1, 2.5], [3, 4]]}, {"x": [[1, 2.5], [3, 4]]}),
        (ONE, {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, {"x": [[1, 2], [3, 4]]}),
        (WHOLE, {"instances": [[1, 2], [3, 4], [5, 6]]}, {"x": [[1, 2], [3, 4], [5, 6]]}),
        # Of several, and one value where a row has one element.
        (
            PAIR,
            {"instances": [{"a": [1, 2], "b": [7]}, {"b": [8], "a": [3, 4]}]},
            {"a": [[1, 2], [3, 4]], "b": [[7], [8]]},
        ),
        (PAIR, {"instances": [{"a": [1, 2], "b": 7}]}, {"a": [[1, 2]], "b": [[7]]}),
        # Columns.
        (ONE, {"inputs": [[1, 2]]}, {"x": [[1, 2]]}),
        (ONE, {"inputs": {"x": [[1, 2]]}}, {"x": [[1, 2]]}),
        (
            PAIR,
            {"inputs": {"a": [[1, 2], [3, 4]], "b": [[7], [8]]}},
            {"a": [[1, 2], [3, 4]], "b": [[7], [8]]},
        ),
        (PAIR, {"inputs": {"a": [[1, 2]], "b": [7]}}, {"a": [[1, 2]], "b": [[7]]}),
        # Bytes.
        (TEXT, {"instances": ["a", {"b64": "/wA="}]}, {"t": [[b"a"], [b"\xff\0"]]}),
        (TEXT, {"instances": [["ŝ"]]}, {"t": [["ŝ".encode()]]}),
        (TEXT, {"instances": [{"t": {"b64": ""}}]}, {"t": [[b""]]}),
        (TEXT, {"inputs": [{"b64": "aGk="}, "you"]}, {"t": [[b"hi"], [b"you"]]}),
        # What has no rows, and what stands for what is not finite.
        (signature(("x", "FP32", ()), batch=0), {"inputs": 5}, {"x": 5.0}),
        (ONE, '{"instances": [[NaN, -Infinity]]}', {"x": [[math.nan, -math.inf]]}),
        (ONE, {"signature_name": "serving_default", "instances": [[1, 2]]}, {"x": [[1, 2]]}),
        (ONE, {"signature_name": "", "inputs": [[1, 2]]}, {"x": [[1, 2]]}),
    ],
)
def test_what_a_body_says(model: ModelSignature, body: Any, expected: dict[str, Any]) -> None:
    request, by_row = decode(body, model)
    assert by_row is ("instances" in body)
    assert request.inputs.keys() == expected.keys()
    for name, array in request.inputs.items():
        datatype = model.inputs[name].datatype
        wanted = np.array(expected[name], datatype.dtype)
        assert array.dtype == datatype.dtype
        assert array.shape == wanted.shape
        assert (
            array.tobytes() == wanted.tobytes()
            if datatype is not BYTES
            else array.tolist() == wanted.tolist()
        )


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (ONE, [1], "the body of a request must be a JSON object"),
        (ONE, {}, "Missing 'inputs' or 'instances' key"),
        (ONE, {"inputs": [[1, 2]], "instances": [[1, 2]]}, "expecting only one of 'inputs' or 'instances' keys"),
        (ONE, {"instances": []}, "No values in 'instances' array"),
        (ONE, {"instances": {"x": [1, 2]}}, 'Expected "instances" to be a list'),
        (ONE, {"signature_name": 7, "instances": [[1, 2]]}, "'signature_name' key must be a string value."),
        (ONE, {"signature_name": "other", "instances": [[1, 2]]}, 'Serving signature name: "other" not found'),
        # Ragged, mixed, of another type, out of range.
        (ONE, {"instances": [[1, 2], [3]]}, "x[0] is a list of 2, x[1] is a list of 1"),
        (ONE, {"instances": [[1, 2], 3]}, "x[0] is a list of 2, x[1] is no list"),
        (ONE, {"instances": [["1", 2]]}, 'JSON Value: "1" Type: String is not of expected type: float'),
        (ONE, {"instances": [[True, 2]]}, "JSON Value: true Type: Bool is not of expected type: float"),
        (ONE, {"instances": [[None, 2]]}, "JSON Value: null Type: Null is not of expected type: float"),
        (ONE, {"instances": [[{"b64": "AA=="}, 2]]}, "Type: Object is not of expected type: float"),
        (ONE, {"instances": [[1, 2], {"x": [1, 2]}]}, "x[0] is a list of 2, x[1] is no list"),
        (ONE, {"instances": [{"x": [1, 2]}, [1, 2]]}, "element: 1 of 'instances' list. It is of type Array"),
        (ONE, {"instances": [[1e39, 2]]}, "1e+39 is out of range for FP32 [-3.4028235e+38, 3.4028235e+38] (input 'x')"),
        (PAIR, {"instances": [{"a": [1, 2], "b": 1.0}]}, "JSON Value: 1.0 Type: Number is not of expected type: int64"),
        (PAIR, {"instances": [{"a": [1, 2], "b": 2**63}]}, f"{2**63} is out of range for INT64"),
        # Names.
        (PAIR, {"instances": [[1, 2]]}, "instances is a plain list, but expecting list of objects as multiple input"),
        (PAIR, {"instances": [{"a": [1, 2]}]}, "element: 0 of 'instances' list. JSON object: {\"a\":[1,2]} keys must be"),
        (PAIR, {"instances": [{"a": [1, 2], "b": 1, "c": 1}]}, "keys must be equal to: a,b"),
        (PAIR, {"instances": [{"a": [1, 2], "b": 1}, {"a": [1, 2]}]}, "element: 1 of 'instances' list."),
        (PAIR, {"inputs": [[1, 2]]}, "inputs is a plain value/list, but expecting an object as multiple input"),
        (PAIR, {"inputs": {"a": [[1, 2]]}}, "Missing named input: b in 'inputs' object."),
        (PAIR, {"inputs": {"a": [[1, 2]], "b": [1], "c": 1}}, "'inputs' object has 'c'; the inputs of model 'm' are a, b"),
        (ONE, {"instances": [[1, 2]], "instance": 1}, "unknown member 'instance'"),
        (ONE, {"instances": [[1, 2]], "parameters": 7}, "failed to get request params."),
        (ONE, {"instances": [[1, 2]], "parameters": {"binary_data_output": True}}, "have no binary data"),
        # Bytes that are none, and more dimensions than an array has.
        (TEXT, {"instances": [{"b64": "%"}]}, "input 't': element 0 is no base64"),
        (TEXT, {"instances": ["a", {"b64": "AA==", "c": 1}]}, "expected a text, or"),
        (TEXT, {"instances": [5]}, "JSON Value: 5 Type: Number is not of expected type: string"),
        (ONE, f'{{"instances": {"[" * 40}1{"]" * 40}}}', "it has 40 dimensions"),
    ],
)  # fmt: skip
def test_what_is_wrong(model: ModelSignature, body: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        decode(body, model)
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("body", "passed_over"),
    [
        ({"instances": [{"a": [1, 2], "b": 1}], "more": 1}, True),
        ({"inputs": {"a": [[1, 2]], "b": [1], "c": 1}}, True),
        ({"instances": [{"a": [1, 2], "b": 1, "c": 1}]}, False),
    ],
)
def test_what_tf_serving_passes_over(body: Any, passed_over: bool) -> None:
    with pytest.raises(InvalidArgumentError):
        decode(body, PAIR, KSERVE)
    if passed_over:
        assert decode(body, PAIR, TF).request.inputs["b"].tolist() == [[1]]
    else:
        with pytest.raises(InvalidArgumentError):
            decode(body, PAIR, TF)


def test_optional_inputs_are_in_all_rows_or_none() -> None:
    model = signature(("a", "FP32", (1,)), ("b", "FP32", (1,)), optional="b")
    assert decode({"instances": [{"a": 1}, {"a": 2}]}, model).request.inputs.keys() == {"a"}
    assert decode({"inputs": {"a": [1]}}, model).request.inputs.keys() == {"a"}
    with pytest.raises(InvalidArgumentError, match="element: 1 of 'instances' list"):
        decode({"instances": [{"a": 1}, {"a": 2, "b": 3}]}, model)


def test_parameters_are_those_of_v2() -> None:
    request = decode(
        {"instances": [[1, 2]], "parameters": {"k": "v", "sequence_id": 7, "timeout": 5}}
    ).request
    assert request.parameters == {"k": "v"}
    assert request.control == {"sequence_id": 7, "timeout": 5}


# --- answers ------------------------------------------------------------------------------------------------------


def encoded(outputs: dict[str, Any], *, by_row: bool, **parameters: Any) -> str:
    """The text of an answer."""
    parts = at_once(encode_predictions(InferResponse("m", "1", "", outputs, parameters), by_row=by_row))
    return b"".join(parts).decode()


def texts(*elements: bytes, shape: tuple[int, ...] = (-1,)) -> Array:
    """A BYTES tensor."""
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(shape)


Y = np.array([[1, 2.5], [3, 4]], np.float32)


@pytest.mark.parametrize(
    ("outputs", "by_row", "expected"),
    [
        ({"y": Y}, True, '{"predictions":[[1.0,2.5],[3.0,4.0]]}'),
        ({"y": Y}, False, '{"outputs":[[1.0,2.5],[3.0,4.0]]}'),
        (
            {"y": Y, "n": np.array([7, -(2**63)])},
            True,
            '{"predictions":[{"y":[1.0,2.5],"n":7},{"y":[3.0,4.0],"n":-9223372036854775808}]}',
        ),
        ({"y": Y, "n": np.array([7])}, False, '{"outputs":{"y":[[1.0,2.5],[3.0,4.0]],"n":[7]}}'),
        ({"y": np.array(2, np.int32)}, False, '{"outputs":2}'),
        ({"y": np.array([True, False])}, True, '{"predictions":[true,false]}'),
        ({"y": np.array([0.1], np.float16)}, True, '{"predictions":[0.099975586]}'),
        ({"y": np.array([1], ml_dtypes.bfloat16)}, True, '{"predictions":[1.0]}'),
        ({"y": np.array([math.nan, math.inf])}, True, '{"predictions":[NaN,Infinity]}'),
        (
            {"y": np.array([[math.nan], [1]]), "t": texts(b"null", b"b")},
            True,
            '{"predictions":[{"y":[NaN],"t":"null"},{"y":[1.0],"t":"b"}]}',
        ),
        ({"t": texts(b"a", b"\xff")}, True, '{"predictions":["a",{"b64":"/w=="}]}'),
        ({"t_bytes": texts(b"a", b"b", shape=(2, 1))}, True, '{"predictions":[[{"b64":"YQ=="}],[{"b64":"Yg=="}]]}'),
        ({"t": texts(b"a", shape=())}, False, '{"outputs":"a"}'),
        ({"y": np.zeros((0, 2))}, True, '{"predictions":[]}'),
    ],
)  # fmt: skip
def test_what_an_answer_says(outputs: dict[str, Any], by_row: bool, expected: str) -> None:
    assert encoded(outputs, by_row=by_row) == expected


def test_parameters_of_an_answer_are_not_lost() -> None:
    assert encoded({"y": np.ones(1)}, by_row=True, k="v", n=math.inf) == (
        '{"predictions":[1.0],"parameters":{"k":"v","n":Infinity}}'
    )


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"a": np.ones(2), "b": np.ones(1)}, "Tensor name: b has inconsistent batch size: 1 expecting: 2"),
        ({"a": np.array(1.0)}, "Tensor name: a has no shape information"),
    ],
)
def test_answers_that_have_no_rows(outputs: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        encoded(outputs, by_row=True)
    assert encoded(outputs, by_row=False).startswith('{"outputs":')


def elements(name: str) -> Any:
    """Elements of a datatype, all of them."""
    datatype = BY_NAME[name]
    if datatype is BYTES:
        return st.binary(max_size=5)
    if name == "BF16":
        return st.floats(width=16)
    return arrays.from_dtype(datatype.dtype)


@st.composite
def tensors(draw: Any) -> tuple[str, Array]:
    """A tensor of any datatype, and the name of that."""
    name = draw(st.sampled_from([each.name for each in DATATYPES]))
    shape = draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=3))
    found = draw(st.lists(elements(name), min_size=math.prod(shape), max_size=math.prod(shape)))
    array = np.empty(len(found), BY_NAME[name].dtype)
    array[:] = found
    return name, array.reshape(shape)


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(tensors(), st.booleans(), st.booleans())
def test_what_an_answer_says_is_read_as_what_it_was(
    drawn: tuple[str, Array], by_row: bool, two: bool
) -> None:
    """To the bit, whatever the datatype; NaN as any of its kind."""
    name, array = drawn
    dims = array.shape[1:] or (-1,)
    names = ("x", "x_bytes") if two else ("x",)
    model = signature(
        *((each, name, array.shape if not array.shape[1:] else (-1, *dims)) for each in names), batch=0
    )
    text = encoded(dict.fromkeys(names, array), by_row=by_row)
    asked = text.replace("predictions", "instances", 1) if by_row else text.replace("outputs", "inputs", 1)
    request, again = decode(asked, model)
    assert again is by_row
    for each in names:
        got = request.inputs[each]
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        if name == "BYTES":
            assert got.tolist() == array.tolist()
        else:
            number = ~np.isnan(array) if array.dtype.kind not in "iub" else np.ones(array.shape, np.bool_)
            assert (got == array)[number].all()
            assert np.isnan(got[~number]).all()
            assert got[number].tobytes() == array[number].tobytes()


def test_tensorflow_has_a_name_for_each_datatype() -> None:
    assert TF_DATATYPES.keys() == BY_NAME.keys()


def test_base64_is_what_python_says() -> None:
    data = bytes(range(256))
    body = {"instances": [{"b64": base64.b64encode(data).decode()}]}
    assert decode(body, TEXT).request.inputs["t"].tolist() == [[data]]
