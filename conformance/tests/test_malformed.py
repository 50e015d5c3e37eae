"""Answers that are not what they must be, and files of the suite that are wrong: what is said about them."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from kserve_v2_conformance import requirements as clauses
from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.exchange import LONGEST, show_body, show_json, show_message
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference import cases, grpc_carrier, rest_carrier
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, InferResponse
from kserve_v2_conformance.models.catalogue import BY_NAME
from kserve_v2_conformance.report.summary import summary
from kserve_v2_conformance.rest import RestAnswer as Seen
from kserve_v2_conformance.results import Results
from kserve_v2_conformance.rpc import parameters
from kserve_v2_conformance.suite import (
    test_classification,
    test_generate,
    test_metadata,
    test_parameters,
    test_stream,
)

_JSON = {"content-type": "application/json"}


def _seen(document: Any, status: int = 200) -> Seen:
    return Seen(status, _JSON, json.dumps(document).encode())


def _output(**members: Any) -> dict[str, Any]:
    valid = {"name": "OUTPUT0", "datatype": "FP32", "shape": [1], "data": [1.0]}
    return {name: value for name, value in (valid | members).items() if value is not ...}


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (_output(data=...), "it has no data"),
        (_output(datatype="F"), "its datatype is 'F' and its shape [1]"),
        (_output(shape=None), "its datatype is 'FP32' and its shape None"),
        (_output(shape=[-1]), "its datatype is 'FP32' and its shape [-1]"),
        (_output(data=["x"]), "an element is 'x', not a number"),
        (
            _output(data=..., datatype="BF16", parameters={"binary_data_size": 3}),
            "3 bytes are no whole number of BF16 elements",
        ),
    ],
)
def test_output_that_is_no_tensor(output: dict[str, Any], problem: str) -> None:
    head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    response = rest_carrier.read(Seen(200, headers, head + bytes(3)), Checks())
    assert isinstance(response, InferResponse)
    (seen,) = response.outputs
    assert (seen.tensor, seen.unreadable) == (None, problem)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"outputs": {}}, "no array of outputs"),
        ({"outputs": ["OUTPUT0"]}, "an output is no object: 'OUTPUT0'"),
        ([], "no JSON object"),
    ],
)
def test_response_that_cannot_be_read(document: Any, reason: str) -> None:
    with pytest.raises(UnreadableAnswer, match=reason):
        rest_carrier.read(_seen(document), Checks())


def test_error_with_status_200() -> None:
    checks = Checks()
    assert rest_carrier.read(_seen({"error": "told to fail"}), checks) == Failure(
        "200", "told to fail", blames_client=False
    )
    assert [(each.clause, each.kept) for each in checks.findings] == [("REST-ERROR-001", False)]


@pytest.mark.parametrize("length", ["12", "-1", "many"])
def test_header_length_that_is_none(length: str) -> None:
    with pytest.raises(UnreadableAnswer, match="for a body of 2 bytes"):
        _ = Seen(200, {"inference-header-content-length": length}, b"{}").header_length


def test_typed_contents_that_are_no_tensor() -> None:
    message = pb.ModelInferResponse(
        outputs=[
            {"name": "A", "datatype": "FP32", "shape": [1], "contents": {"fp64_contents": [1.0]}},
            {"name": "B", "datatype": "F", "shape": [1]},
        ]
    )
    message.parameters["unset"].SetInParent()
    response = grpc_carrier.read_response(message, Checks())
    assert [each.unreadable for each in response.outputs] == [
        "FP32 contents are in fp64_contents, not in fp32_contents",
        "its datatype is 'F'",
    ]
    assert response.parameters == {"unset": None}


def test_what_is_too_long_or_no_text_is_shown_in_short() -> None:
    assert show_body(b"\xff\x00") == "<2 bytes: ff 00>"
    assert show_body(b"{}" + bytes(40), 2) == "{}\n<40 bytes: " + " ".join(["00"] * 32) + " …>"
    assert show_json({1}) == "{1}"
    long = pb.ModelInferRequest(raw_input_contents=[bytes(17 * LONGEST)])
    assert show_message(long) == f"<ModelInferRequest of {long.ByteSize()} bytes>"


def test_helpers_of_cases_refuse_what_they_cannot_read() -> None:
    assert test_classification._classes([b"dog"]) is None
    assert test_classification._classes([b"dog:1"]) is None
    with pytest.raises(UnreadableAnswer, match="an event is no JSON"):
        test_generate._events(Seen(200, {}, b"data: {\n\n"))
    with pytest.raises(UnreadableAnswer, match="an event has no data"):
        test_generate._events(Seen(200, {}, b'{"text_output": "x"}\n\n'))
    with pytest.raises(UnreadableAnswer, match="echoes its parameters answered None"):
        test_parameters._echoed(None)
    for listed in ([{}], [1]):
        with pytest.raises(UnreadableAnswer, match="inputs of add_sub are"):
            test_metadata._check_against(Checks(), "REST-MODEL-013", BY_NAME["add_sub"], {"inputs": listed})


def test_what_a_stream_sent() -> None:
    failed = pb.ModelStreamInferResponse(error_message="told to fail")
    assert test_stream._values(failed, "OUTPUT0") == "error: told to fail"
    assert test_stream._values(pb.ModelStreamInferResponse(), "OUTPUT0") is None


def test_parameter_of_each_type() -> None:
    sent = parameters({"b": True, "i": 3, "d": 0.5, "s": "x"})
    kinds = {name: each.WhichOneof("parameter_choice") for name, each in sent.items()}
    assert kinds == {"b": "bool_param", "i": "int64_param", "d": "double_param", "s": "string_param"}


def test_carrier_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no carrier pigeon"):
        infer(None, None, "pigeon", Checks())  # type: ignore[arg-type]


def test_summary_names_stale_entries() -> None:
    lines = list(summary(Results({"name": "s", "version": ""}, stale=["REST-LIVE-001"])))
    assert lines[-2] == "known failure that fails no more: REST-LIVE-001; take it off the list"


_CASE = '[[case]]\nname = "x"\nabout = "y"\nclauses = ["INFER-001"]\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_CASE + _CASE, "cases with one name: x"),
        (_CASE + "speed = 1\n", "infer_x.toml: case x: unknown speed"),
        (_CASE.replace("INFER-001", "INFER-999"), "infer_x.toml: case x: there is no clause INFER-999"),
    ],
)
def test_wrong_file_of_cases(text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "infer_x.toml").write_text(text)
    monkeypatch.setattr(cases, "DIRECTORY", tmp_path)
    with pytest.raises(ValueError, match=reason):
        cases.infer_cases.__wrapped__()


def test_clause_that_is_there_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path(clauses.__file__).with_name("requirements.toml").read_text(encoding="utf-8")
    first = text[text.index("[[requirement]]") :].split("[[requirement]]")[1]
    (tmp_path / "requirements.toml").write_text(f"{text}\n[[requirement]]{first}", encoding="utf-8")
    monkeypatch.setattr(clauses, "__file__", str(tmp_path / "requirements.py"))
    with pytest.raises(ValueError, match="twice"):
        clauses.requirements.__wrapped__()


def test_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["conformance", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("kserve_v2_conformance", run_name="__main__")
    assert ended.value.code == 0
    assert "compare" in capsys.readouterr().out
