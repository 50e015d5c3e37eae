"""What a running server writes to its log, line by line."""

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import StartServer, WriteModel, launch
from tests.integration.handlers import FAILING, identity
from tests.integration.support import Wire, infer_bytes, json_tensor

pytestmark = pytest.mark.slow

GOOD = {"id": "good", "inputs": [json_tensor("IN", "FP32", [2, 3], [0] * 6)]}


def infer_over_grpc(address: str, model: str, request_id: str) -> None:
    """One request, whatever comes of it."""
    request = pb.ModelInferRequest(model_name=model, id=request_id, raw_input_contents=[bytes(12)])
    request.inputs.add(name="IN", datatype="FP32", shape=[1, 3])
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
        ).with_call
        with suppress(grpc.RpcError):
            call(request, timeout=60)


STREAMS = ("generate", "generate_stream", "infer_stream")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> list[dict[str, Any]]:
    """The log of a server that has been asked all kinds of things."""
    root = tmp_path_factory.mktemp("logged")
    write_model(root, "bat", identity("FP32", [3], max_batch_size=4))
    write_model(root, "failing", FAILING)
    write_model(root, "broken", "raise RuntimeError('broken on purpose')")
    flags = ("--log-format=json", "--log-access", "--exit-on-error=false")
    server = launch(tmp_path_factory.mktemp("log"), root, *flags)
    server.infer("bat", GOOD)
    for operation in STREAMS:
        asked = GOOD if operation == "infer_stream" else {"IN": GOOD["inputs"][0]["data"]}
        server.post(f"/v2/models/bat/{operation}", json={**asked, "id": operation})
    server.infer("nosuch", {"id": "nosuch", **GOOD})
    server.infer("bat", {"id": "wrong\nline", "inputs": []})
    server.infer("failing", {"id": "raises", "inputs": [json_tensor("COMMAND", "BYTES", [1, 1], ["raise"])]})
    server.get("/v2/health/ready")
    infer_over_grpc(server.grpc, "bat", "over-grpc")
    infer_over_grpc(server.grpc, "nosuch", "over-grpc-nosuch")
    with Wire(server) as wire:
        wire.send(b"\xff\x00 garbage\r\n\r\n")
        wire.response()
    with Wire(server) as wire:
        wire.send(infer_bytes("bat", GOOD)[:-5])
    assert server.stop() == 0
    return [json.loads(line) for line in server.log.splitlines()]


def test_every_line_is_an_object_with_the_same_members(records: list[dict[str, Any]]) -> None:
    assert records
    for record in records:
        assert {"time", "level", "logger", "message"} <= set(record)
        assert record["level"] in ("INFO", "WARNING", "ERROR")


def access_records(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines about requests."""
    return [record for record in records if record["logger"] == "kserve_v2.access"]


def test_one_access_line_per_inference_request(records: list[dict[str, Any]]) -> None:
    lines = Counter(
        (record["protocol"], record["model"], record.get("request_id"), record["status"])
        for record in access_records(records)
    )
    expected = [
        ("rest", "bat", "good", 200),
        ("rest", "bat", "wrong\nline", 400),
        ("rest", "failing", "raises", 500),
        ("grpc", "bat", "over-grpc", 0),
        ("grpc", "nosuch", "over-grpc-nosuch", 5),
    ]
    assert {line: lines[line] for line in expected} == dict.fromkeys(expected, 1)
    assert (
        sum(count for line, count in lines.items() if line[:2] == ("rest", "nosuch") and line[3] == 404) == 1
    )


@pytest.mark.parametrize("asked", ["good", *STREAMS])
def test_what_an_access_line_says_of_an_execution(records: list[dict[str, Any]], asked: str) -> None:
    [line] = [record for record in access_records(records) if record.get("request_id") == asked]
    assert line["version"] == "1"
    assert line["batch_rows"] == 2
    assert 0 <= line["queue_us"] <= line["duration_us"]
    assert 0 < line["compute_us"] <= line["duration_us"]


def test_a_handler_s_traceback_is_logged_once_with_the_request_s_id(records: list[dict[str, Any]]) -> None:
    [record] = [record for record in records if "boom in" in record.get("exception", "")]
    assert record["level"] == "ERROR"
    assert record["request_id"] == "raises"
    assert "model.py" in record["exception"]


def test_a_model_that_does_not_load_is_logged_with_its_reason(records: list[dict[str, Any]]) -> None:
    [record] = [record for record in records if "broken on purpose" in record["message"]]
    assert record["level"] == "ERROR"
    assert "broken version 1" in record["message"]


def test_clients_mistakes_are_no_errors_of_the_server(records: list[dict[str, Any]]) -> None:
    errors = [record for record in records if record["level"] == "ERROR"]
    assert len(errors) == 2, "the handler that raises and the model that does not load"


def test_without_the_flag_requests_are_not_logged(
    start_server: StartServer, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path, "bat", identity("FP32", [3], max_batch_size=4))
    server = start_server(tmp_path)
    for _ in range(5):
        assert server.infer("bat", GOOD).status_code == 200
    server.infer("nosuch", GOOD)
    before = server.log
    assert server.stop() == 0
    assert "kserve_v2.access" not in server.log
    assert "nosuch" not in before
