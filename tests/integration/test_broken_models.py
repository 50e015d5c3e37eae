"""What models must not be able to do to a server, when they are loaded and when they are executed."""

import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import identity
from tests.integration.support import Wire, error_of, json_tensor, statistics, wait_until

pytestmark = pytest.mark.usefixtures("server_survives")


# --- models ---------------------------------------------------------------------------------------------------


def command(*commands: str) -> dict[str, Any]:
    """A request to the model that does what it is told, one row per command."""
    return {"inputs": [json_tensor("COMMAND", "BYTES", [len(commands), 1], list(commands))]}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("raise", ("ValueError", "boom in", "weights.bin")),
        ("exit", ("SystemExit", "3")),
        ("surrogate", ("ValueError: no text: ?",)),
        ("rows", ("'OUT'", "[2, 1]", "1")),
        ("names", ("'OUT'", "'OTHER'")),
        ("datatype", ("'OUT'", "FP64", "FP32")),
        ("none", ("NoneType",)),
    ],
)
def test_a_handler_that_fails(server: RunningServer, name: str, parts: tuple[str, ...]) -> None:
    before = statistics(server, "failing")["inference_stats"]
    response = server.infer("failing", command(name))
    text = error_of(response)
    assert response.status_code == 500
    assert all(part in text for part in parts), text
    for secret in ("Traceback", "model.py", "/srv", "kserve_v2", str(Path(__file__).parent)):
        assert secret not in text
    after = statistics(server, "failing")["inference_stats"]
    assert after["fail"]["count"] == before["fail"]["count"] + 1
    assert after["success"]["count"] == before["success"]["count"]
    assert server.infer("failing", command("fine")).json()["outputs"][0]["data"] == [1]


@pytest.mark.parametrize("name", ["raise", "exit", "surrogate", "rows", "names", "datatype", "none"])
def test_a_handler_that_fails_over_grpc(server: RunningServer, name: str) -> None:
    request = pb.ModelInferRequest(model_name="failing", id="failed")
    request.inputs.add(
        name="COMMAND", datatype="BYTES", shape=[1, 1], contents={"bytes_contents": [name.encode()]}
    )
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
        )(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == error_of(server.infer("failing", {"id": "failed", **command(name)}))


@pytest.mark.parametrize("identity", [{"id": "find-me-in-the-log"}, {}])
def test_the_answer_s_request_id_finds_the_handler_s_traceback_in_the_log(
    server: RunningServer, identity: dict[str, str]
) -> None:
    text = error_of(server.infer("failing", {**identity, **command("raise")}))
    start = (
        "Failed to process the request(s) for model 'failing_0', message: ValueError: boom in weights.bin ("
    )
    assert text.startswith(start)
    [told] = re.findall(r"\(request_id=(\S+) in the server's log\)$", text)
    assert told == identity.get("id", told)
    wait_until(lambda: f"request_id={told}" in server.log)
    entry = server.log.rpartition(f"request_id={told}")[2]
    assert entry.startswith("\n  | Traceback")
    assert "boom in /srv/models/secret/weights.bin" in entry


def test_an_error_of_the_client_s_is_the_client_s(server: RunningServer) -> None:
    response = server.infer("failing", command("refuse"))
    assert (response.status_code, error_of(response)) == (400, "COMMAND must not be 'refuse'")


def test_one_bad_row_does_not_fail_requests_that_share_its_batch(server: RunningServer) -> None:
    """The handler fails for a whole batch; each request of it is then tried alone."""
    with Wire(server) as bad, Wire(server) as good:
        for _ in range(20):
            bad.send_infer("failing", command("raise"))
            good.send_infer("failing", command("fine"))
        assert {bad.response().status_code for _ in range(20)} == {500}
        assert {good.response().status_code for _ in range(20)} == {200}


# --- configurations -------------------------------------------------------------------------------------------

FIVE_MISTAKES = """
name: "somebody_else"
max_batch_size: -1
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 3 ] format: FORMAT_NCHW } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 0 ] } ]
instance_group [ { kind: KIND_CPU count: -2 } ]
"""


def test_all_mistakes_of_a_configuration_are_reported_at_once(explicit: ExplicitServer) -> None:
    explicit.write("mistaken", identity("FP32", [3]).replace("inputs =", "_in =").replace("outputs =", "_out ="),
                   FIVE_MISTAKES)  # fmt: skip
    explicit.write("sound", identity("FP32", [3]))
    text = error_of(explicit.load("mistaken"))
    [entry] = explicit.index("mistaken")
    assert entry["state"] == "UNAVAILABLE"
    for field in (
        "name",
        "max_batch_size",
        "input[0].format",
        "output[0].dims",
        "instance_group[0].count",
    ):
        assert f"{field}" in entry["reason"]
        assert f"{field}" in text
    assert explicit.load("sound").status_code == 200
    good = {"inputs": [json_tensor("IN", "FP32", [3], [1, 2, 3])]}
    assert explicit.server.infer("sound", good).status_code == 200


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ('name: "x\n', "1:7"),
        ("max_batch_size: many", "1:17"),
        ("\n\ninput [ { name: 3 } ]", "3:17"),
        ("max_batchsize: 4", "1:1"),
        (json.dumps({"max_batch_size": 4}), "1:1"),
    ],
)
def test_a_configuration_that_cannot_be_parsed(explicit: ExplicitServer, config: str, place: str) -> None:
    explicit.write("unparsable", identity("FP32", [3]), config)
    text = error_of(explicit.load("unparsable"))
    [entry] = explicit.index("unparsable")
    assert entry["state"] == "UNAVAILABLE"
    assert f"unparsable/config.pbtxt:{place}: " in entry["reason"]
    assert f"unparsable/config.pbtxt:{place}: " in text
    assert str(explicit.root) not in text + entry["reason"]


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("this is no Python", ("model.py", "line 1", "SyntaxError")),
        ("\nraise RuntimeError('init boom')", ("model.py", "line 2", "RuntimeError", "init boom")),
        ("import nosuchmodule", ("ModuleNotFoundError", "nosuchmodule")),
        ("class TritonPythonModel: ...", ("model.py does not implement `execute` method",)),
        (
            "class TritonPythonModel:\n    def execute(self, requests): ...",
            ("neither model.py nor config.pbtxt says", "auto_complete_config"),
        ),
        ("x = 1", ("model.py", "class named Model")),
        ("raise SystemExit(1)", ("SystemExit",)),
        (identity("FP32", [3]) + "\n    def load(self, context):\n        raise OSError('no weights')\n", ("no weights",)),
        ("class Model:\n    inputs = 3\n    def __call__(self, inputs): ...", ("Model.inputs",)),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_be_loaded(explicit: ExplicitServer, code: str, parts: tuple[str, ...]) -> None:
    explicit.write("unloadable", code)
    text = error_of(explicit.load("unloadable"))
    [entry] = explicit.index("unloadable")
    assert entry["state"] == "UNAVAILABLE"
    for part in parts:
        assert part in entry["reason"]
        assert part in text
    for secret in ("Traceback", str(explicit.root)):
        assert secret not in text + entry["reason"]


def test_a_backend_that_nobody_knows(explicit: ExplicitServer) -> None:
    explicit.write("foreign", identity("FP32", [3]), 'backend: "nosuch"')
    assert "nosuch" in error_of(explicit.load("foreign"))
    assert "nosuch" in explicit.index("foreign")[0]["reason"]


def test_a_model_without_versions(explicit: ExplicitServer) -> None:
    (explicit.root / "versionless").mkdir()
    text = error_of(explicit.load("versionless"))
    assert text == (
        "load failed for model 'versionless': at least one version must be available under the version policy of "
        "model 'versionless': its directory is empty: put model.onnx, model.pt2, model.pt or model.py into versionless/1/\n"
    )


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("%2e%2e", 400, "invalid model name '..', model name must not contain path traversal characters"),
        ("a%5cb", 400, "invalid model name 'a\\b', model name must not contain path traversal characters"),
        ("%20", 400, "Model name cannot be empty. Please enter a valid name to deploy."),
        ("...", 404, "failed to load '...', failed to poll from model repository"),
        (".hidden", 404, "failed to load '.hidden', failed to poll from model repository"),
        (
            "..%2f..%2fetc",
            400,
            "invalid model name '../../etc', model name must not contain path traversal characters",
        ),
    ],
)
def test_a_model_name_is_no_path(explicit: ExplicitServer, path: str, status: int, text: str) -> None:
    before = explicit.server.post("/v2/repository/index").json()
    response = explicit.server.post(f"/v2/repository/models/{path}/load")
    assert response.status_code == status
    assert error_of(response).startswith(text)
    # Whatever clients make up, it is no model of this server, and does not make it unready.
    assert explicit.server.post("/v2/repository/index").json() == before
    assert explicit.server.get("/v2/health/ready").status_code == 200
