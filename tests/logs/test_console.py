"""What is printed at start: tables and the line to paste."""

import json
import shlex
from pathlib import Path

import pytest

from kserve_v2.logs.console import example_curl, models_table, ready_banner, settings_table
from kserve_v2.messages import IndexEntry, ModelMetadata, TensorMetadata
from kserve_v2.settings.settings import OPTIONS, Settings

ENTRIES = (
    IndexEntry("digits_onnx", "1", "READY"),
    IndexEntry("broken", "3", "UNAVAILABLE", "line 2: no such field"),
    IndexEntry("idle"),
)
TABLE = """\
+-------------+---------+-------------+-----------------------+
| Model       | Version | State       | Reason                |
+-------------+---------+-------------+-----------------------+
| digits_onnx | 1       | READY       |                       |
| broken      | 3       | UNAVAILABLE | line 2: no such field |
| idle        | -       | -           |                       |
+-------------+---------+-------------+-----------------------+"""
URL = "http://127.0.0.1:8000"


def metadata(*inputs: TensorMetadata, name: str = "m") -> ModelMetadata:
    return ModelMetadata(name, ("1",), "", inputs, ())


def test_the_models_table_is_aligned() -> None:
    assert models_table(ENTRIES) == TABLE


def test_a_long_reason_is_wrapped_to_the_width() -> None:
    table = models_table([IndexEntry("m", "1", "UNAVAILABLE", "word " * 30)], width=80)
    lines = table.splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= 80
    assert table.count("word") == 30
    assert [line.split("|")[1].strip() for line in lines[3:-1]] == ["m"] + [""] * (len(lines) - 5)


def test_a_very_long_reason_is_cut_and_says_where_the_rest_is() -> None:
    lines = models_table([IndexEntry("m", "1", "UNAVAILABLE", "word " * 300)]).splitlines()
    assert len(lines) == 3 + 8 + 1
    assert "… (the repository index has the whole reason)" in lines[-2]


def test_a_reason_of_several_lines_keeps_them() -> None:
    lines = models_table(
        [IndexEntry("m", "1", "UNAVAILABLE", "two problems\ninput[0]: a\ninput[1]: b")]
    ).splitlines()
    assert [line.split("|")[4].strip() for line in lines[3:-1]] == [
        "two problems",
        "input[0]: a",
        "input[1]: b",
    ]


def test_the_settings_table_shows_every_option() -> None:
    settings = Settings(model_repository=(Path("a"), Path("b")), backend_config={"onnxruntime": {"x": "1"}})
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in settings_table(settings).splitlines()
        if line[0] == "|"
    ]
    assert rows[0] == ["Option", "Value"]
    values = dict(rows[1:])
    assert list(values) == [option.name for option in OPTIONS]
    assert values["model_repository"] == "a b"
    assert values["http_port"] == "8000"
    assert values["allow_grpc"] == "true"
    assert values["backend_config"] == "onnxruntime,x=1"


def test_the_banner_has_models_urls_and_a_line_to_paste() -> None:
    urls = {"REST": URL, "gRPC": "127.0.0.1:8001"}
    assert ready_banner(ENTRIES, urls, "curl -s x") == (
        f"{TABLE}\n\nNot loaded, for the reasons above: broken. The others are served; the server says that it is not "
        "ready unless --strict-readiness is false. --exit-on-error ends the start instead."
        "\n\nREST  http://127.0.0.1:8000\ngRPC  127.0.0.1:8001\n\nTry it:\ncurl -s x"
    )


def test_the_banner_of_an_empty_repository_says_so() -> None:
    assert ready_banner((), {"REST": URL}, None) == f"There are no models in the repository.\n\nREST  {URL}"


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


def test_a_reason_does_not_reach_the_terminal_as_colours_and_cursor_movements() -> None:
    table = models_table(
        [IndexEntry("m", "1", "UNAVAILABLE", "you have \x1b[1mtwo\x1b[0m options\x07,\x1b]0;t")]
    )
    assert "you have two options,]0;t" in table
    assert "\x1b" not in table
