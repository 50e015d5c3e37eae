"""How requests are joined and answers cut."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_v2.errors import InvalidArgumentError

PACKAGES = Path(__file__).resolve().parents[2] / "backends" / "mlserver" / "packages"


@pytest.fixture(scope="module")
def batches() -> Iterator[Any]:
    """The module, which imports `mlserver`: that is for models' processes alone, and so does not stay here."""
    sys.path.insert(0, str(PACKAGES))
    try:
        yield importlib.import_module("kserve_v2_backends.mlserver.hosting.batches")
    finally:
        sys.path.remove(str(PACKAGES))
        for name in [*sys.modules]:
            if name.partition(".")[0] == "mlserver" or name.startswith("kserve_v2_backends.mlserver.hosting"):
                del sys.modules[name]


@pytest.mark.slow
def test_frames_without_pandas_are_refused_and_not_passed_over() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(PACKAGES)!r})
sys.modules["pandas"] = None
from mlserver import codecs, types
request = types.InferenceRequest(inputs=[], parameters=types.Parameters(content_type="pd"))
try:
    codecs.decode_inference_request(request)
except Exception as error:
    print(error.status_code, error)
try:
    codecs.PandasCodec
except ImportError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "501 content type 'pd' needs pandas, which is not installed where the model runs: pip install pandas",
        "mlserver.codecs.PandasCodec needs pandas: pip install pandas",
    ]


def request(batches: Any, shape: list[int], data: list[Any], datatype: str = "FP32", **more: Any) -> Any:
    given = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return batches.InferenceRequest.model_validate({"inputs": [given], **more})


@pytest.mark.parametrize(
    ("shapes", "data", "joined"),
    [
        (([1, 2], [2, 2]), ([1, 2], [3, 4, 5, 6]), ([3, 2], [1, 2, 3, 4, 5, 6])),
        (([1, 2], [1, 2]), ([[1, 2]], [[3, 4]]), ([2, 2], [[1, 2], [3, 4]])),
        (([1], [3]), ([1], [2, 3, 4]), ([4], [1, 2, 3, 4])),
    ],
)
def test_rows_lie_behind_each_other(batches: Any, shapes: Any, data: Any, joined: Any) -> None:
    merged = batches.Batch([request(batches, *each) for each in zip(shapes, data, strict=True)]).merged
    assert (merged.inputs[0].shape, merged.inputs[0].data.root) == joined


@pytest.mark.parametrize(
    "other",
    [
        {"shape": [1, 3], "data": [1, 2, 3]},
        {"shape": [1, 2], "data": [1, 2], "datatype": "FP64"},
        {"shape": [1, 2], "data": [1, 2], "parameters": {"k": 1}},
        {"shape": [1, 2], "data": [1, 2], "outputs": [{"name": "y"}]},
        # Not as many elements as the shape says, nested among flat, and no rows.
        {"shape": [1, 2], "data": [1, 2, 3]},
        {"shape": [1, 2], "data": [[1, 2]]},
        {"shape": [0, 2], "data": []},
    ],
)
def test_what_does_not_fit_is_not_joined(batches: Any, other: Any) -> None:
    with pytest.raises(batches.CannotJoinError):
        batches.Batch([request(batches, [1, 2], [1, 2]), request(batches, **other)])


def test_headers_and_ids_do_not_matter(batches: Any) -> None:
    members = [
        request(batches, [1, 1], [n], id=str(n), parameters={"headers": {"n": str(n)}}) for n in range(3)
    ]
    assert batches.Batch(members).merged.inputs[0].shape == [3, 1]


def test_what_one_client_says_of_itself_is_not_said_of_the_others(batches: Any) -> None:
    """A model that looks at `authorization` would answer all of them as it answers the first."""
    members = [
        request(
            batches, [1, 1], [n], parameters={"k": 1, "headers": {"host": "h", "authorization": f"user {n}"}}
        )
        for n in range(2)
    ]
    merged = batches.Batch(members).merged
    assert merged.parameters.model_dump() == {"k": 1, "headers": {"host": "h"}}
    assert members[0].parameters.headers["authorization"] == "user 0"


@pytest.mark.parametrize(
    ("tensors", "parameters", "text"),
    [
        (
            {"inputs": {"x": {"content_type": 5}}},
            {},
            "input 'x': parameters: content_type: Input should be a valid string",
        ),
        (
            {"outputs": {"y": {"headers": "h"}}},
            {},
            "output 'y': parameters: headers: Input should be a valid dict",
        ),
        ({}, {"content_type": True}, "the request: parameters: content_type: Input should be a valid string"),
    ],
)
def test_parameters_that_mean_something_else_are_the_client_s_fault(
    batches: Any, tensors: Any, parameters: Any, text: str
) -> None:
    payloads = importlib.import_module("kserve_v2_backends.mlserver.hosting.payloads")
    with pytest.raises(InvalidArgumentError) as raised:
        payloads.request_from_tensors({"x": np.zeros(1, np.float32)}, "", parameters, ["y"], tensors)
    assert raised.value.message.startswith(text)


def test_json_without_end_is_the_client_s_fault(batches: Any) -> None:
    payloads = importlib.import_module("kserve_v2_backends.mlserver.hosting.payloads")
    with pytest.raises(InvalidArgumentError, match="failed to parse the request JSON buffer"):
        payloads.request_from_json(b'{"inputs": ' + b"[" * 100_000)


def answer(batches: Any, shape: list[int], data: list[Any]) -> Any:
    output = {"name": "y", "shape": shape, "datatype": "FP32", "data": data}
    return batches.InferenceResponse.model_validate({"model_name": "m", "outputs": [output]})


@pytest.mark.parametrize(
    ("shape", "data", "parts"),
    [
        ([3, 2], [1, 2, 3, 4, 5, 6], [([1, 2], [1, 2]), ([2, 2], [3, 4, 5, 6])]),
        ([3, 2], [[1, 2], [3, 4], [5, 6]], [([1, 2], [[1, 2]]), ([2, 2], [[3, 4], [5, 6]])]),
        ([3], [1, 2, 3], [([1], [1]), ([2], [2, 3])]),
    ],
)
def test_answers_are_cut_as_requests_were_joined(batches: Any, shape: Any, data: Any, parts: Any) -> None:
    batch = batches.Batch([request(batches, [1, 1], [1]), request(batches, [2, 1], [2, 3])])
    found = batch.split(answer(batches, shape, data))
    assert [(each.outputs[0].shape, each.outputs[0].data.root) for each in found] == parts


@pytest.mark.parametrize(("shape", "data"), [([2, 1], [1, 2]), ([3, 2], [1, 2, 3, 4]), ([], [1])])
def test_an_answer_of_other_rows_is_refused(batches: Any, shape: list[int], data: list[Any]) -> None:
    batch = batches.Batch([request(batches, [1, 1], [1]), request(batches, [2, 1], [2, 3])])
    with pytest.raises(batches.InferenceError):
        batch.split(answer(batches, shape, data))
