"""Traces in Triton's JSON form, and the files that hold them."""

import json
import logging
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kserve_v2.tracing.files import TraceFiles
from kserve_v2.tracing.trace import Trace
from kserve_v2.tracing.triton_json import trace_objects


def finished(trace_id: int, *, log_frequency: int = 0, scope: str = "") -> Trace:
    trace = Trace(trace_id, "m", log_frequency=log_frequency, scope=scope)
    trace.stamp("HTTP_RECV_START", 10)
    return trace


def test_the_objects_of_a_trace() -> None:
    trace = Trace(7, "bat", wants_tensors=True)
    trace.stamp("HTTP_RECV_START", 1)
    trace.stamp("HTTP_RECV_END", 2)
    trace.begin_request("3", "my-id", {"IN": np.array([[1, -2]], np.int32)})
    trace.executed(4, 5, 6, 7, 8)
    trace.record("TENSOR_BACKEND_OUTPUT", {"OUT": np.array([0.5], np.float32)})
    identity, *objects = trace_objects(trace)
    assert identity == {"id": 7, "model_name": "bat", "model_version": 3, "request_id": "my-id"}
    names = {part["timestamps"][0]["name"]: part["timestamps"][0]["ns"] for part in objects[:-2]}
    assert names.pop("REQUEST_START") > 0
    assert names == {
        "HTTP_RECV_START": 1,
        "HTTP_RECV_END": 2,
        "QUEUE_START": 4,
        "COMPUTE_START": 5,
        "COMPUTE_INPUT_END": 6,
        "COMPUTE_OUTPUT_START": 7,
        "COMPUTE_END": 8,
    }
    assert objects[-2:] == [
        {
            "id": 7,
            "activity": "TENSOR_QUEUE_INPUT",
            "tensor": {"name": "IN", "data": "1,-2", "shape": "1,2", "dtype": "INT32"},
        },
        {
            "id": 7,
            "activity": "TENSOR_BACKEND_OUTPUT",
            "tensor": {"name": "OUT", "data": "0.5", "shape": "1", "dtype": "FP32"},
        },
    ]


def test_a_request_that_never_reached_a_model_has_no_version() -> None:
    assert trace_objects(Trace(1, "nosuch")) == [{"id": 1, "model_name": "nosuch"}]


@pytest.mark.parametrize(
    ("array", "data", "datatype"),
    [
        (np.array([True, False]), "1,0", "BOOL"),
        (np.array([200, 7], np.uint8), "200,7", "UINT8"),
        (np.array([2**63], np.uint64), "9223372036854775808", "UINT64"),
        (np.array([np.nan, np.inf], np.float64), "nan,inf", "FP64"),
        (np.array([1.5], np.float16), "1.5", "FP16"),
        (np.array([1.5], ml_dtypes.bfloat16), "1.5", "BF16"),
        (np.array([b"a", b'"\xff'], np.object_), '"a",""\ufffd"', "BYTES"),
        (np.zeros((0,), np.int8), "", "INT8"),
    ],
)
def test_the_data_of_a_tensor(array: np.ndarray[Any, Any], data: str, datatype: str) -> None:
    trace = Trace(1, "m", wants_tensors=True)
    trace.record("TENSOR_QUEUE_INPUT", {"T": array})
    tensor = trace_objects(trace)[1]["tensor"]
    assert (tensor["data"], tensor["dtype"]) == (data, datatype)
    json.loads(json.dumps(tensor))


def test_tensors_that_are_not_wanted_are_not_kept() -> None:
    trace = Trace(1, "m")
    trace.record("TENSOR_QUEUE_INPUT", {"T": np.zeros(1)})
    assert (trace.tensors, trace.nbytes) == ([], 0)


def started(path: Path) -> TraceFiles:
    files = TraceFiles(path)
    files.start()
    return files


def ids(path: Path) -> list[int]:
    """The traces in a file, which must be JSON."""
    return [part["id"] for part in json.loads(path.read_bytes()) if "model_name" in part]


def test_one_file_for_all(tmp_path: Path) -> None:
    files = started(tmp_path / "trace.json")
    for number in (1, 2, 3):
        files.write(finished(number))
    files.close()
    assert ids(tmp_path / "trace.json") == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]


def test_an_earlier_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("left over " * 1000)
    files = started(path)
    files.write(finished(1))
    files.close()
    assert ids(path) == [1]


def test_without_traces_there_is_no_file(tmp_path: Path) -> None:
    started(tmp_path / "trace.json").close()
    assert list(tmp_path.iterdir()) == []


def test_numbered_files(tmp_path: Path) -> None:
    files = started(tmp_path / "trace.json")
    for number in range(1, 6):
        files.write(finished(number, log_frequency=2))
    files.close()
    found = {path.name: ids(path) for path in tmp_path.iterdir()}
    assert found == {"trace.json.0": [1, 2], "trace.json.1": [3, 4], "trace.json.2": [5]}


def test_scopes_are_collected_apart_and_numbered_together(tmp_path: Path) -> None:
    files = started(tmp_path / "trace.json")
    files.write(finished(1, log_frequency=2))
    files.write(finished(2, log_frequency=2, scope="m"))
    files.write(finished(3, log_frequency=2))
    files.flush("m")
    files.flush("m")
    files.write(finished(4))
    files.close()
    found = {path.name: ids(path) for path in tmp_path.iterdir()}
    assert found == {"trace.json.0": [1, 3], "trace.json.1": [2], "trace.json": [4]}


def test_a_missing_directory_is_found_at_the_start(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path / "nosuch" / "trace.json")
    with pytest.raises(NotADirectoryError, match=r"nosuch.trace\.json: there is no such directory"):
        files.start()
    files.close()


def test_what_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "trace.json").mkdir()
    files = started(tmp_path / "trace.json")
    with caplog.at_level(logging.ERROR):
        for number in range(5):
            files.write(finished(number))
        files.close()
    [record] = caplog.records
    assert "Is a directory" in record.getMessage()


def test_more_than_can_be_written_is_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kserve_v2.tracing.files._MAX_WAITING_BYTES", 100)
    files = started(tmp_path / "trace.json")
    trace = Trace(1, "m", wants_tensors=True)
    trace.record("TENSOR_QUEUE_INPUT", {"T": np.zeros(26, np.float32)})
    files.write(trace)
    files.write(finished(2))
    files.close()
    assert ids(tmp_path / "trace.json") == [2]
    assert "1 traces were dropped" in caplog.text
