"""The line to paste: one request to a model, by curl."""

import json
import shlex
from pathlib import Path

import pytest

from kserve_v2.logs.example_request import example_curl
from kserve_v2.messages import ModelMetadata, TensorMetadata

URL = "http://127.0.0.1:8000"


def metadata(*inputs: TensorMetadata, name: str = "m") -> ModelMetadata:
    return ModelMetadata(name, ("1",), "", inputs, ())


def test_a_sample_request_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "my models" / "m"
    directory.mkdir(parents=True)
    (directory / "sample_request.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    relative = example_curl(URL, metadata(), directory)
    assert relative == f"curl -s {URL}/v2/models/m/infer -d '@my models/m/sample_request.json'"
    monkeypatch.chdir(Path("/"))
    monkeypatch.chdir(Path(__file__).parent)
    absolute = example_curl(URL, metadata(), directory)
    assert absolute == f"curl -s {URL}/v2/models/m/infer -d '@{directory}/sample_request.json'"


def test_without_a_sample_the_request_is_zeros(tmp_path: Path) -> None:
    line = example_curl(
        URL,
        metadata(
            TensorMetadata("a", "INT32", (-1, 2)),
            TensorMetadata("b", "BYTES", (1,)),
            TensorMetadata("c", "BOOL", ()),
            TensorMetadata("d", "FP32", (0, 3)),
            name="my model's",
        ),
        tmp_path,
    )
    assert line is not None
    command, silent, url, option, body = shlex.split(line)
    assert (command, silent, url, option) == ("curl", "-s", f"{URL}/v2/models/my%20model%27s/infer", "-d")
    assert json.loads(body) == {
        "inputs": [
            {"name": "a", "datatype": "INT32", "shape": [1, 2], "data": [0, 0]},
            {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["text"]},
            {"name": "c", "datatype": "BOOL", "shape": [], "data": [False]},
            {"name": "d", "datatype": "FP32", "shape": [0, 3], "data": []},
        ]
    }


def test_a_request_to_a_model_with_sequences_is_a_whole_one(tmp_path: Path) -> None:
    line = example_curl(URL, metadata(TensorMetadata("a", "INT32", (1,))), tmp_path, in_sequence=True)
    assert line is not None
    assert json.loads(shlex.split(line)[-1]) == {
        "parameters": {"sequence_id": 1, "sequence_start": True, "sequence_end": True},
        "inputs": [{"name": "a", "datatype": "INT32", "shape": [1], "data": [0]}],
    }


def test_what_a_handler_decodes_is_sent_as_it_has_to_be(tmp_path: Path) -> None:
    tensors = [TensorMetadata(name, "BYTES", (1,)) for name in ("question", "options", "raw")]
    line = example_curl(URL, metadata(*tensors), tmp_path, contents={"question": "text", "options": "json"})
    assert line is not None
    body = json.loads(shlex.split(line)[-1])
    assert [each["data"] for each in body["inputs"]] == [["text"], ["{}"], ["text"]]


def test_no_line_for_an_image(tmp_path: Path) -> None:
    tensor = TensorMetadata("photo", "BYTES", (1,))
    assert example_curl(URL, metadata(tensor), tmp_path, contents={"photo": "image"}) is None


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (TensorMetadata("a", "FP16", (1,)),),
        (TensorMetadata("a", "INT32", (1,)), TensorMetadata("b", "BF16", (1,))),
        (TensorMetadata("a", "FP32", (-1, 65)),),
    ],
    ids=["no inputs", "FP16 has no JSON form", "nor has BF16", "more than 64 elements"],
)
def test_no_line_rather_than_one_that_fails(inputs: tuple[TensorMetadata, ...], tmp_path: Path) -> None:
    assert example_curl(URL, metadata(*inputs), tmp_path) is None
