"""Values by name: what they become, how the answer is written, and the words for what is wrong."""

import base64
import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest
from kserve_v2.rest.generate_codec import Layout, read_json, request_of
from kserve_v2.scheduling.signature import ModelSignature

TRITON, ROW, ROWS = Layout(), Layout(by_shape=True), Layout(by_shape=True, rows=True)


def signature(dims: tuple[int, ...], datatype: str = "FP32", *, batch: int = 8) -> ModelSignature:
    """A model with one input of that name, `x`."""
    kind = "STRING" if datatype == "BYTES" else datatype
    sizes = f"dims: [ {', '.join(map(str, dims))} ]"
    return ModelSignature(
        parse_config(
            f'name: "m" max_batch_size: {batch} input {{ name: "x" data_type: TYPE_{kind} {sizes} }} '
            'output { name: "y" data_type: TYPE_FP32 dims: 1 }',
            "test",
        )
    )


def decode(value: Any, model: ModelSignature) -> tuple[InferRequest, Layout]:
    """What a body with `x` says."""
    said = read_json(json.dumps({"x": value}).encode(), model)
    return request_of(said, model, "m", ""), said.layout


@pytest.mark.parametrize(
    ("dims", "batch", "value", "shape", "layout"),
    [
        # As Triton has them.
        ((3,), 8, [1, 2, 3], (1, 3), TRITON),
        ((3,), 8, [1, 2, 3, 4, 5, 6], (2, 3), Layout(rows=True)),
        ((1,), 8, 7, (1, 1), TRITON),
        ((1,), 8, [7], (1, 1), TRITON),
        ((-1,), 8, [1, 2, 3], (1, 3), TRITON),
        ((-1, 2), 8, [1, 2, 3, 4], (1, 2, 2), TRITON),
        ((2, 3), 0, [1, 2, 3, 4, 5, 6], (2, 3), TRITON),
        ((-1,), 0, [], (0,), TRITON),
        # With a shape of their own.
        ((3,), 8, [[1, 2, 3]], (1, 3), ROWS),
        ((3,), 8, [[1, 2, 3], [4, 5, 6]], (2, 3), ROWS),
        ((2, 2), 8, [[1, 2], [3, 4]], (1, 2, 2), ROW),
        ((2, 2), 8, [[[1, 2], [3, 4]]], (1, 2, 2), ROWS),
        ((-1, -1), 8, [[1, 2, 3], [4, 5, 6]], (1, 2, 3), ROW),
        ((1, 2, 2), 8, [[[1, 2], [3, 4]]], (1, 1, 2, 2), ROW),
        ((2, 2), 0, [[1, 2], [3, 4]], (2, 2), ROW),
        ((-1,), 8, [[], []], (2, 0), ROWS),
        ((-1, 3), 0, [[1, 2, 3]], (1, 3), ROW),
    ],
)
def test_shapes(
    dims: tuple[int, ...], batch: int, value: Any, shape: tuple[int, ...], layout: Layout
) -> None:
    request, found = decode(value, signature(dims, batch=batch))
    array = request.inputs["x"]
    assert (array.shape, array.dtype, found) == (shape, np.float32, layout)
    assert array.reshape(-1).tolist() == np.array(value, np.float32).reshape(-1).tolist()


@pytest.mark.parametrize(
    ("dims", "batch", "value", "text"),
    [
        ((3,), 8, [1, 2], "its shape is [-1,3], and generate takes it as a flat list of a multiple of 3 elements, or as "
         "lists in lists of that shape, or [3] for one row; got 2 elements"),
        ((3,), 0, 1, "its shape is [3], and generate takes it as a flat list of 3 elements, or as lists in lists of that "
         "shape; got 1 element"),
        ((1, 8, 8), 8, [[0] * 8] * 8, "its shape is [-1,1,8,8], and generate takes it as a flat list of a multiple of 64 "
         "elements, or as lists in lists of that shape, or [1,8,8] for one row; got lists of shape [8,8]"),
        ((2, 2), 8, [[1, 2, 3], [4, 5, 6]], "got lists of shape [2,3]"),
        ((2, 2), 0, [[[1, 2], [3, 4]]], "got lists of shape [1,2,2]"),
        ((2, 2), 8, [[1, 2], [3]], "input 'x': the lists of one level must be equally long: x[0] is a list of 2, x[1] is "
         "a list of 1"),
        ((2, 2), 8, [[1, 2], 3], "x[0] is a list of 2, x[1] is no list"),
        ((2, 2), 8, [[[1, 2], [3, 4]], [[1, 2], 5]], "x[0][0] is a list of 2, x[1][1] is no list"),
        ((3,), 8, [1, {"b64": "eA=="}, 3], "it is FP32, and has an object among its elements"),
        ((3,), 8, [1, None, 3], "non-number as double"),
        ((3,), 8, [[1, 2, True]], "non-number as double"),
        ((1,), 8, [[[[[[[1]]]]]]], "got lists of shape [1,1,1,1,1,1,1]"),
    ],
)  # fmt: skip
def test_what_has_no_shape_of_the_model_s(dims: tuple[int, ...], batch: int, value: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decode(value, signature(dims, batch=batch))
    assert text in caught.value.message
    assert "'x'" in caught.value.message


def test_a_ragged_list_as_deep_as_json_goes() -> None:
    value: Any = [1, [2]]
    for _ in range(95):
        value = [value]
    with pytest.raises(InvalidArgumentError, match=r"x(\[0\]){95}\[1\] is a list of 1"):
        decode(value, signature((1,)))


NOT_UTF8 = b"\xff\x00"


@pytest.mark.parametrize(
    ("value", "elements", "layout"),
    [
        ("hällo", ["hällo".encode()], TRITON),
        (["a", "b"], [b"a", b"b"], Layout(rows=True)),
        ([["a"], ["b"]], [b"a", b"b"], ROWS),
        ({"b64": base64.b64encode(NOT_UTF8).decode()}, [NOT_UTF8], ROW),
        ([{"b64": ""}], [b""], ROW),
        (["a", {"b64": "AP8="}], [b"a", b"\0\xff"], ROWS),
    ],
)
def test_texts_and_base64(value: Any, elements: list[bytes], layout: Layout) -> None:
    request, found = decode(value, signature((1,), "BYTES"))
    assert request.inputs["x"].tolist() == [[each] for each in elements]
    assert found == layout


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b64": "!"}, "input 'x': element 0 is no base64"),
        (["a", {"b64": "data:image/png;base64,AAAA"}], "element 1 is no base64: "),
        ({"b64": 1}, "got the members 'b64'"),
        ({}, "got the members none"),
        ({"b64": "", "a": 1}, "got the members 'b64', 'a'"),
        (["a", 7], "attempt to access JSON non-string as string (input 'x')"),
        ([{"b64": ""}, True], "attempt to access JSON non-string as string (input 'x')"),
    ],
)
def test_what_is_no_text(value: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decode(value, signature((1,), "BYTES"))
    assert text in caught.value.message


@pytest.mark.parametrize(("datatype", "dtype"), [("FP16", np.float16), ("BF16", ml_dtypes.bfloat16)])
def test_halves_are_numbers(datatype: str, dtype: Any) -> None:
    large = 65504 if datatype == "FP16" else 1e30
    request, _ = decode([[0.1, 1, large, math.inf]], signature((4,), datatype))
    expected = np.array([[0.1, 1, large, np.inf]], np.float32).astype(dtype)
    assert request.inputs["x"].dtype == dtype
    assert request.inputs["x"].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("datatype", "value", "text"),
    [
        ("FP16", 70000.0, "70000.0 is out of range for FP16 [-65504, 65504] (input 'x')"),
        ("FP16", -65520, "-65520 is out of range for FP16 [-65504, 65504] (input 'x')"),
        ("BF16", 3.4e38, "3.4e+38 is out of range for BF16 [-3.3895314e+38, 3.3895314e+38] (input 'x')"),
        ("FP32", 1e39, "1e+39 is out of range for FP32 [-3.4028235e+38, 3.4028235e+38] (input 'x')"),
        ("FP32", -3.4028236e38, "-3.4028236e+38 is out of range for FP32"),
    ],
)
def test_a_number_does_not_become_infinite(datatype: str, value: float, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        decode([1, value], signature((2,), datatype))
    assert text in caught.value.message


INTEGERS = st.integers(-(2**31), 2**31 - 1)


@pytest.mark.slow
@given(st.data(), st.lists(st.integers(1, 4), min_size=2, max_size=5), st.booleans())
def test_lists_in_lists_are_what_numpy_makes_of_them(
    data: st.DataObject, sizes: list[int], whole: bool
) -> None:
    """`whole`: the batch dimension is written."""
    count = math.prod(sizes)
    array = np.array(data.draw(st.lists(INTEGERS, min_size=count, max_size=count)), np.int32).reshape(sizes)
    dims = tuple(sizes[1:] if whole else sizes)
    request, layout = decode(array.tolist(), signature(dims, "INT32"))
    expected = array if whole else array[np.newaxis]
    assert request.inputs["x"].shape == expected.shape
    assert request.inputs["x"].tobytes() == expected.tobytes()
    assert layout == (ROWS if whole else ROW)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["b64", "a"]), inner, max_size=2),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.slow
@given(VALUES, st.sampled_from(["FP32", "INT8", "BOOL", "BYTES", "FP16"]), st.sampled_from([0, 8]))
def test_any_value_is_a_tensor_of_the_model_s_or_refused(value: Any, datatype: str, batch: int) -> None:
    model = signature((-1, 2), datatype, batch=batch)
    try:
        request, _ = decode(value, model)
    except InvalidArgumentError:
        return
    for array in request.inputs.values():
        assert array.shape[-1] == 2
        assert array.ndim == 2 + bool(batch)
        assert array.dtype == model.inputs["x"].datatype.dtype
