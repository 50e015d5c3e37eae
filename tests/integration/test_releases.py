"""Labels and splits of versions, over both protocols: what they say is followed by every request that begins after a
change, those included that the server recognises.
"""

import base64
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.cli import main
from kserve_v2.repository.routing.choose import choose
from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.ensemble_models import INT, ONE_INT, add, ensemble, write_ensemble
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.rest_requests import HEADER_LENGTH
from tests.integration.sequence_models import accumulator, batching
from tests.integration.support import Wire, error_of, json_tensor, metric, wait_until

ALL = "version_policy { all { } }"

# Answers with its version, and with the sum of its input, which may have any size.
VERSIONED = """
import numpy as np

class Model:
    inputs = {{"IN": ("FP32", [-1])}}
    outputs = {{"VERSION": ("INT32", [1])}}

    def __call__(self, inputs):
        return {{"VERSION": np.array([{number}], np.int32)}}
"""

JSON_BODY = {"inputs": [json_tensor("IN", "FP32", [2], [1, 2])]}


def versioned(number: int) -> str:
    return VERSIONED.format(number=number)


@pytest.fixture(scope="module")
def explicit(start_explicit: StartExplicit) -> ExplicitServer:
    """A server of its own: releases are kept beside its models."""
    server = start_explicit()
    for version in (1, 2, 3):
        server.write("m", versioned(version), ALL, version)
    return server


@pytest.fixture
def server(explicit: ExplicitServer) -> Iterator[RunningServer]:
    """Has the versions 1, 2 and 3 of `m`, and no release."""
    (explicit.root / "m" / "release.json").unlink(missing_ok=True)
    assert explicit.load("m").status_code == 200
    yield explicit.server
    explicit.unload("m")


def change(server: RunningServer, model: str = "m", **document: Any) -> dict[str, Any]:
    answer = server.post(f"/v2/repository/models/{model}/release", json=document)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(server: RunningServer, status: int, model: str = "m", **document: Any) -> str:
    answer = server.post(f"/v2/repository/models/{model}/release", json=document)
    assert answer.status_code == status, answer.text
    return error_of(answer)


def path(version: str = "", model: str = "m") -> str:
    return f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"


def answered_by(server: RunningServer, version: str = "", model: str = "m", **options: Any) -> int:
    answer = server.post(f"{path(version, model)}/infer", json=JSON_BODY, **options)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model_version"] == str(body["outputs"][0]["data"][0])
    return int(body["model_version"])


def grpc_request(version: str = "", model: str = "m", **fields: Any) -> pb.ModelInferRequest:
    raw = [np.array([1, 2], np.float32).tobytes()]
    return request_of(model, tensor("IN", "FP32", [2]), raw=raw, model_version=version, **fields)


# --- labels ---------------------------------------------------------------------------------------------------------


def test_a_label_stands_for_a_version_in_every_path(server: RunningServer) -> None:
    change(server, labels={"PROD": 2})
    assert answered_by(server, "PROD") == 2
    assert answered_by(server) == 3
    assert server.get(f"{path('PROD')}/ready").json() == {"name": "m", "ready": True}
    metadata = server.get(path("PROD")).json()
    assert (metadata["versions"], metadata["labels"]) == (["2"], {"PROD": "2"})
    assert server.get(f"{path('PROD')}/config").json() == server.get(f"{path('2')}/config").json()
    (entry,) = server.get(f"{path('PROD')}/stats").json()["model_stats"]
    assert (entry["version"], entry["inference_count"]) == ("2", 1)
    for operation in ("generate", "generate_stream"):
        answer = server.post(f"{path('PROD')}/{operation}", json={"IN": [1, 2]})
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.text.removeprefix("data: "))["VERSION"] == 2


def test_a_label_stands_for_a_version_in_every_rpc(server: RunningServer) -> None:
    change(server, labels={"PROD": 2})
    with Channel(server) as channel:
        answer = channel.infer(grpc_request("PROD"))
        assert (answer.model_version, answer.raw_output_contents[0]) == ("2", np.int32(2).tobytes())
        ready = channel.method("ModelReady", pb.ModelReadyResponse)
        assert ready(pb.ModelReadyRequest(name="m", version="PROD")).ready
        metadata = channel.method("ModelMetadata", pb.ModelMetadataResponse)
        found = metadata(pb.ModelMetadataRequest(name="m", version="PROD"))
        assert (list(found.versions), dict(found.properties)) == (["2"], {"label:PROD": "2"})
        config = channel.method("ModelConfig", pb.ModelConfigResponse)
        assert config(pb.ModelConfigRequest(name="m", version="PROD")).config.name == "m"
        statistics = channel.method("ModelStatistics", pb.ModelStatisticsResponse)
        (entry,) = statistics(pb.ModelStatisticsRequest(name="m", version="PROD")).model_stats
        assert entry.version == "2"


def test_tritons_clients_take_a_label_for_a_version(server: RunningServer) -> None:
    change(server, labels={"PROD": 2, "STG": 1})
    for module, address in (
        (tritonclient.http, server.rest.removeprefix("http://")),
        (tritonclient.grpc, server.grpc),
    ):
        with module.InferenceServerClient(address) as client:
            for label, version in (("PROD", 2), ("STG", 1)):
                tensor_in = module.InferInput("IN", [2], "FP32")
                tensor_in.set_data_from_numpy(np.array([1, 2], np.float32))
                answer = client.infer("m", [tensor_in], model_version=label)
                assert answer.as_numpy("VERSION").tolist() == [version]
                assert client.is_model_ready("m", label)


def test_labels_are_shown(server: RunningServer) -> None:
    change(server, labels={"PROD": 2, "STG": 3, "OLD": 2})
    assert server.get("/v2/models/m").json()["labels"] == {"OLD": "2", "PROD": "2", "STG": "3"}
    entries = server.post("/v2/repository/index").json()
    assert [entry.get("labels") for entry in entries] == [None, ["OLD", "PROD"], ["STG"]]
    assert metric(server, "kserve_v2_version_label", model="m", version="2", label="PROD") == 1
    shown = server.get("/v2/repository/models/m/release").json()
    assert shown == {
        "name": "m", "source": "release.json", "ready_versions": ["1", "2", "3"],
        "labels": {"OLD": 2, "PROD": 2, "STG": 3},
    }  # fmt: skip


def test_a_label_that_there_is_not(server: RunningServer) -> None:
    change(server, labels={"PROD": 2, "STG": 3})
    answer = server.post(f"{path('PRDO')}/infer", json=JSON_BODY)
    assert answer.status_code == 404
    text = (
        "Request for unknown model: 'm' has no version 'PRDO', which is neither a number nor a label of this model: its "
        "labels are PROD, STG, and the versions that are loaded are 1, 2, 3"
    )
    assert error_of(answer) == text
    with Channel(server) as channel:
        assert channel.infer_fails(grpc_request("PRDO")) == (STATUS.NOT_FOUND, text)
        ready_call = channel.method("ModelReady", pb.ModelReadyResponse)
        assert not ready_call(pb.ModelReadyRequest(name="m", version="PRDO")).ready
    ready = server.get(f"{path('PRDO')}/ready")
    assert (ready.status_code, ready.json()["error"]) == (400, f"Model version not ready: {text}")
    for place in ("", "/config", "/stats"):
        shown = server.get(f"{path('PRDO')}{place}")
        assert (shown.status_code, error_of(shown)) == (404, text)
    for operation in ("generate", "generate_stream", "infer_stream"):
        asked = server.post(f"{path('PRDO')}/{operation}", json=JSON_BODY)
        assert (asked.status_code, error_of(asked)) == (404, text)
    for v1 in (
        server.post("/v1/models/m/labels/PRDO:predict", json={"instances": [1]}),
        server.get("/v1/models/m/labels/PRDO"),
        server.get("/v1/models/m/labels/PRDO/metadata"),
    ):
        assert (v1.status_code, error_of(v1)) == (404, text)
    # Versions are numbers, and labels begin with a letter.
    assert server.post(f"{path('2a')}/infer", json=JSON_BODY).status_code == 400


def test_a_label_whose_version_has_gone(explicit: ExplicitServer, server: RunningServer) -> None:
    change(server, labels={"PROD": 2})
    moved = explicit.root / "m" / "2"
    moved.rename(explicit.root / "away")
    try:
        assert explicit.load("m").status_code == 200
        answer = server.post(f"{path('PROD')}/infer", json=JSON_BODY)
        assert answer.status_code in (404, 503)
        assert error_of(answer).endswith("; label 'PROD' of model 'm' stands for version 2")
        wait_until(lambda: "label 'PROD' stands for version 2, which is not ready" in server.log)
        # The others are not touched by it, and may be changed.
        change(server, labels={"STG": 3})
        assert answered_by(server, "STG") == 3
    finally:
        (explicit.root / "away").rename(moved)
    assert explicit.load("m").status_code == 200
    assert answered_by(server, "PROD") == 2


def test_who_names_a_version_that_nothing_will_bring_back_is_not_asked_to_try_again(
    explicit: ExplicitServer, server: RunningServer
) -> None:
    change(server, labels={"PROD": 2})
    explicit.write("m", versioned(2), "version_policy { specific { versions: [ 3 ] } }", 2)
    try:
        assert explicit.load("m").status_code == 200
        for version in ("PROD", "2"):
            wait_until(lambda each=version: server.get(f"{path(each)}/ready").status_code == 400)  # type: ignore[misc]
            answer = server.post(f"{path(version)}/infer", json=JSON_BODY)
            assert (answer.status_code, "retry-after" in answer.headers) == (503, False), answer.text
        with Channel(server) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.infer(grpc_request("PROD"))
        assert caught.value.code() is STATUS.UNAVAILABLE
        assert "grpc-retry-pushback-ms" not in dict(caught.value.trailing_metadata())
    finally:
        explicit.write("m", versioned(2), ALL, 2)
    assert explicit.load("m").status_code == 200
    assert answered_by(server, "PROD") == 2


def told(capsys: pytest.CaptureFixture[str], server: RunningServer, *arguments: str) -> str:
    """What a command says, which has to succeed."""
    assert main([*arguments, f"--url={server.rest}"], {}) == 0
    said, errors = capsys.readouterr()
    assert errors == ""
    return said


def test_commands_tell_of_versions_that_have_gone(
    explicit: ExplicitServer, server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, server, "release", "m", "--label", "PROD", "--version", "2", "--split", "2=90,3=10")
    label = "label 'PROD' stands for version 2, which is not ready: requests to it are refused"
    share = "version 2 is not ready: the 90 % of requests that are its share go to the other versions of the split"
    assert label not in told(capsys, server, "models")
    moved = explicit.root / "m" / "2"
    moved.rename(explicit.root / "away")
    try:
        assert told(capsys, server, "load", "m") == f"m: ready, version 1, 3; {label}; {share}\n"
        shown = told(capsys, server, "release", "m", "--show")
        assert shown.endswith(f"  kept in release.json\n  warning: {label}\n  warning: {share}\n")
        listed = server.post("/v2/repository/index").json()
        entries = {each["version"]: each for each in listed if each["name"] == "m" and "version" in each}
        assert entries["3"]["release_problems"] == f"{label}; {share}"
        # The reason of a version that is ready is that of an update that has failed, and nothing else.
        assert "reason" not in entries["3"]
        assert "release_problems" not in entries["1"]
        assert f"{label}; {share}" in told(capsys, server, "models").replace("\n", " ")
    finally:
        (explicit.root / "away").rename(moved)
    assert told(capsys, server, "load", "m") == "m: ready, version 1, 2, 3\n"
    assert "warning" not in told(capsys, server, "release", "m", "--show")


def test_a_load_that_fails_for_one_version_says_what_it_has_done(
    explicit: ExplicitServer, server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    explicit.write("m", versioned(1) + "# another\n", ALL, 1)
    explicit.write("m", "raise ValueError('broken')", ALL, 2)
    try:
        assert main(["load", "m", f"--url={server.rest}"], {}) == 1
        said = capsys.readouterr().err
        assert "version 2 is at UNAVAILABLE state: " in said
        # Version 3 stays as it was.
        assert said.endswith("loaded for all that: version 1\n")
        explicit.write("m", "raise ValueError('broken, too')", ALL, 2)
        assert main(["load", "m", f"--url={server.rest}"], {}) == 1
        said = capsys.readouterr().err
        assert "loaded for all that" not in said
        assert said.endswith("broken, too\n")
    finally:
        for version in (1, 2):
            explicit.write("m", versioned(version), ALL, version)


def test_models_ask_by_label(explicit: ExplicitServer, server: RunningServer) -> None:
    explicit.write(
        "asks",
        """
import numpy as np

class Model:
    inputs = {"IN": ("FP32", [-1])}
    outputs = {"VERSION": ("INT32", [1])}

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        return {"VERSION": self.context.call("m", inputs, version="PROD")["VERSION"]}
""",
    )
    assert explicit.load("asks").status_code == 200
    for version in (1, 2, 3):
        change(server, labels={"PROD": version})
        answer = server.post("/v2/models/asks/infer", json=JSON_BODY).json()
        assert answer["outputs"][0]["data"] == [version]
    explicit.unload("asks")


# --- what is refused ------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_refused(server: RunningServer) -> None:
    there = "of model 'm' is not ready, expected one that is (1, 2, 3)"
    assert refused(server, 404, labels={"PROD": 9}) == f"labels['PROD']: version 9 {there}"
    assert (
        refused(server, 404, split={"shares": {"3": 90, "4": 10}}) == f"split.shares['4']: version 4 {there}"
    )
    assert refused(server, 404, shadow={"version": 7}) == f"shadow.version: version 7 {there}"
    assert refused(server, 404, "nosuch", labels={"A": 1}) == (
        "Request for unknown model: 'nosuch' is not in the repository"
    )
    assert server.get("/v2/repository/models/nosuch/release").status_code == 404


def test_what_is_wrong_is_named_and_changes_nothing(explicit: ExplicitServer, server: RunningServer) -> None:
    change(server, labels={"PROD": 2})
    before = (explicit.root / "m" / "release.json").read_bytes()
    assert refused(server, 400, labels={"PROD": 3}, splitt={}) == (
        'unknown member "splitt", expected labels or split or shadow'
    )
    assert refused(server, 400, split={"shares": {"2": 50}}) == (
        "split.shares: expected per cent that are 100 together, got 50"
    )
    assert server.post("/v2/repository/models/m/release", content=b"[1]").status_code == 400
    assert server.post("/v2/repository/models/m/release", content=b"{").status_code == 400
    for content, problem in (
        (b'{"labels": {"PROD": 3, "PROD": 1}}', '"PROD": is there twice'),
        (
            b'{"labels": {"PROD": 3}' + b" " * 300_000 + b"}",
            "the release: expected up to 262144 bytes, got more",
        ),
    ):
        answer = server.post("/v2/repository/models/m/release", content=content)
        assert (answer.status_code, error_of(answer)) == (400, problem)
    assert (explicit.root / "m" / "release.json").read_bytes() == before
    assert answered_by(server, "PROD") == 2


@pytest.mark.slow
def test_clients_change_nothing_where_they_control_nothing(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    write_model(tmp_path, "m", versioned(1))
    (tmp_path / "m" / "release.json").write_text('{"labels": {"PROD": 1}}')
    server = start_server(tmp_path)
    assert "--model-control-mode=explicit" in refused(server, 503, labels={"PROD": 1})
    # What the operator has written holds.
    assert answered_by(server, "PROD") == 1
    assert server.get("/v2/repository/models/m/release").json()["labels"] == {"PROD": 1}


# --- switching ------------------------------------------------------------------------------------------------------


def binary_bytes(version: str, *headers: str) -> bytes:
    """A request of the kind that the server recognises at its third time."""
    raw = np.array([1, 2], np.float32).tobytes()
    described = {"name": "IN", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"inputs": [described]}).encode()
    lines = [
        f"POST {path(version)}/infer HTTP/1.1", "Host: test", f"Content-Length: {len(text) + len(raw)}",
        f"{HEADER_LENGTH}: {len(text)}", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text + raw


class Kept:
    """Kept connections, on which the same requests are sent again and again, over both protocols and in all forms."""

    def __init__(self, server: RunningServer, version: str) -> None:
        self._wire = Wire(server)
        self._channel = Channel(server)
        self._binary = binary_bytes(version)
        self._version = version
        self._unary = self._channel.method("ModelInfer", pb.ModelInferResponse)
        self._sent: list[pb.ModelInferRequest] = []
        self._requests = threading.Semaphore(0)
        stream = self._channel.channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        self._answers = stream(self._stream())
        self._ended = False

    def _stream(self) -> Iterator[pb.ModelInferRequest]:
        while self._requests.acquire() and not self._ended:
            yield grpc_request(self._version)

    def ask(self) -> set[str]:
        """The versions that answer the same request, in each of the ways."""
        self._wire.send(self._binary)
        binary = self._wire.response()
        assert binary.status_code == 200, binary.text
        self._wire.send(json_bytes(self._version))
        plain = self._wire.response()
        self._requests.release()
        return {
            json.loads(binary.content)["model_version"],
            plain.json()["model_version"],
            self._unary(grpc_request(self._version), timeout=60).model_version,
            next(self._answers).infer_response.model_version,
        }

    def close(self) -> None:
        self._ended = True
        self._requests.release()
        self._wire.socket.close()
        self._channel.channel.close()


def json_bytes(version: str) -> bytes:
    body = json.dumps(JSON_BODY).encode()
    head = f"POST {path(version)}/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def kept(server: RunningServer) -> Iterator[Callable[[str], Kept]]:
    made: list[Kept] = []

    def make(version: str) -> Kept:
        made.append(Kept(server, version))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.slow
def test_a_label_is_followed_at_once_by_requests_that_are_recognised(
    server: RunningServer, kept: Callable[[str], Kept]
) -> None:
    change(server, labels={"PROD": 1})
    asked = kept("PROD")
    for turn in range(12):
        version = turn % 3 + 1
        change(server, labels={"PROD": version})
        for _ in range(4):
            assert asked.ask() == {str(version)}


@pytest.mark.slow
def test_a_split_is_followed_at_once_by_requests_that_are_recognised(
    server: RunningServer, kept: Callable[[str], Kept]
) -> None:
    asked = kept("")
    for _ in range(4):
        assert asked.ask() == {"3"}
    for turn in range(12):
        version = turn % 3 + 1
        change(server, split={"shares": {str(version): 100}})
        for _ in range(4):
            assert asked.ask() == {str(version)}
    change(server, split=None)
    assert asked.ask() == {"3"}


@pytest.mark.slow
def test_no_request_that_begins_later_is_answered_by_the_old_rule(server: RunningServer) -> None:
    """Both protocols ask all the time while the rule is changed, by label and without a version."""
    done = threading.Event()
    # What holds at least since a moment: read before a request is sent.
    holds, about_to = [1], [1]
    wrong: list[str] = []
    asked: Counter[str] = Counter()
    change(server, labels={"PROD": 1}, split={"shares": {"1": 100}})

    def ask_rest(version: str) -> None:
        with Wire(server) as wire:
            while not done.is_set():
                since = holds[0]
                wire.send(binary_bytes(version))
                check(since, int(wire.response().json()["model_version"]), f"REST {version!r}")

    def ask_grpc(version: str) -> None:
        with Channel(server) as channel:
            while not done.is_set():
                since = holds[0]
                check(since, int(channel.infer(grpc_request(version)).model_version), f"gRPC {version!r}")

    def check(since: int, answered: int, how: str) -> None:
        asked[how] += 1
        # Of the two that were in force from the sending on, or one that was about to be.
        allowed = {(number - 1) % 3 + 1 for number in range(since, about_to[0] + 1)}
        if answered not in allowed:
            wrong.append(f"{how}: {answered} since {since}, {about_to[0]} about to be")

    threads = [
        threading.Thread(target=ask, args=(version,))
        for ask in (ask_rest, ask_grpc)
        for version in ("", "PROD")
    ]
    for thread in threads:
        thread.start()
    for number in range(2, 60):
        version = (number - 1) % 3 + 1
        about_to[0] = number
        change(server, labels={"PROD": version}, split={"shares": {str(version): 100}})
        holds[0] = number
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(asked) == 4


# --- splits ---------------------------------------------------------------------------------------------------------


def split_counts(server: RunningServer) -> dict[str, float]:
    return {
        version: metric(server, "kserve_v2_split_requests", model="m", version=version) for version in "13"
    }


def test_requests_without_a_version_are_split(server: RunningServer) -> None:
    for version in (1, 3):
        change(server, split={"shares": {str(version): 100}})
        answered_by(server)
    before = split_counts(server)
    change(server, split={"shares": {"1": 50, "3": 50}})
    with Wire(server) as wire:
        rest: Counter[str] = Counter()
        for _ in range(100):
            wire.send(binary_bytes(""))
            rest[wire.response().json()["model_version"]] += 1
    with Channel(server) as channel:
        grpcs = Counter(channel.infer(grpc_request()).model_version for _ in range(100))
    # That one of them is never chosen in a hundred draws happens once in 10^30.
    assert set(rest) == set(grpcs) == {"1", "3"}
    assert answered_by(server, "2") == 2
    assert split_counts(server) == {
        version: before[version] + rest[version] + grpcs[version] for version in "13"
    }
    assert metric(server, "kserve_v2_split_percent", model="m", version="1") == 50


@pytest.mark.slow
def test_shares_are_those_that_were_asked_for(server: RunningServer) -> None:
    change(server, split={"shares": {"2": 90, "3": 10}, "sticky": {"header": "X-User-Id"}})
    by_user = {user: answered_by(server, headers={"x-user-id": f"user {user}"}) for user in range(300)}
    # The same hash for ever: no chance in it.
    assert 15 <= sum(version == 3 for version in by_user.values()) <= 45


@pytest.mark.parametrize("sticky", [{"header": "x-user-id"}, {"parameter": "user"}])
def test_the_same_user_gets_the_same_version_over_both_protocols(
    server: RunningServer, sticky: dict[str, str]
) -> None:
    change(server, split={"shares": {"1": 34, "2": 33, "3": 33}, "sticky": sticky})
    versions = {}
    with Channel(server) as channel:
        for user in ("alice", "bob", "carol", "dave", "erin", "frank"):
            if "header" in sticky:
                rest = {answered_by(server, headers={"X-User-Id": user}) for _ in range(3)}
                answer = channel.infer(grpc_request(), metadata=[("x-user-id", user)])
                raw = binary_bytes("", f"X-USER-ID: {user}")
                with Wire(server) as wire:
                    for _ in range(4):
                        wire.send(raw)
                        rest.add(int(wire.response().json()["model_version"]))
                generated = server.post(
                    "/v2/models/m/generate", json={"IN": [1, 2]}, headers={"x-user-id": user}
                )
            else:
                body = {**JSON_BODY, "parameters": {"user": user}}
                rest = {int(server.infer("m", body).json()["model_version"]) for _ in range(3)}
                request = grpc_request()
                request.parameters["user"].string_param = user
                answer = channel.infer(request)
                generated = server.post("/v2/models/m/generate", json={"IN": [1, 2], "user": user})
            assert rest == {int(answer.model_version)} == {generated.json()["VERSION"]}
            versions[user] = rest.pop()
    assert len(set(versions.values())) > 1
    # Who is in a share that grows stays there.
    if "header" in sticky:
        change(server, split={"shares": {"1": 20, "2": 20, "3": 60}, "sticky": sticky})
        for user, version in versions.items():
            if version == 3:
                assert answered_by(server, headers={"x-user-id": user}) == 3


def test_a_stream_is_split_request_by_request(server: RunningServer) -> None:
    change(server, split={"shares": {"1": 50, "2": 50}, "sticky": {"header": "x-user-id"}})
    with Channel(server) as channel:
        stream = channel.channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        requests = [grpc_request(id=str(number)) for number in range(60)]
        versions = [answer.infer_response.model_version for answer in stream(iter(requests))]
        assert set(versions) == {"1", "2"}
        # One user is one version.
        answers = stream(iter(requests), metadata=[("x-user-id", "alice")])
        assert len({answer.infer_response.model_version for answer in answers}) == 1


def test_a_share_that_is_not_there_goes_to_the_others(
    explicit: ExplicitServer, server: RunningServer
) -> None:
    change(server, split={"shares": {"1": 50, "2": 50}, "sticky": {"header": "x-user-id"}})
    before = {user: answered_by(server, headers={"x-user-id": user}) for user in "abcdefghijklmnop"}
    assert set(before.values()) == {1, 2}
    moved = explicit.root / "m" / "2"
    moved.rename(explicit.root / "away")
    try:
        assert explicit.load("m").status_code == 200
        assert {answered_by(server, headers={"x-user-id": user}) for user in before} == {1}
        wait_until(
            lambda: (
                "version 2 is not ready: the 50 % of requests that are its share go to the other"
                in server.log
            )
        )
        diverted = metric(server, "kserve_v2_split_diverted_requests", model="m", version="2")
        assert diverted >= sum(version == 2 for version in before.values())
    finally:
        (explicit.root / "away").rename(moved)
    assert explicit.load("m").status_code == 200
    assert {user: answered_by(server, headers={"x-user-id": user}) for user in before} == before


def test_a_split_without_any_version_is_refused_with_its_versions(
    explicit: ExplicitServer, server: RunningServer
) -> None:
    change(server, split={"shares": {"2": 100}})
    moved = explicit.root / "m" / "2"
    moved.rename(explicit.root / "away")
    try:
        assert explicit.load("m").status_code == 200
        answer = server.infer("m", JSON_BODY)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, False)
        assert error_of(answer) == (
            "Request for unknown model: 'm' is not at ready state: requests without a version are split over 2, and none "
            "of these is ready"
        )
        assert answered_by(server, "3") == 3
    finally:
        (explicit.root / "away").rename(moved)


@pytest.mark.slow
def test_an_ensemble_keeps_to_the_version_that_gets_most(explicit: ExplicitServer) -> None:
    for version in (1, 2, 3):
        explicit.write("step", add(version), ALL, version)
    config = ensemble(
        "around", [("step", {"x": "X"}, {"y": "Y"})], ONE_INT, {"Y": INT}, more="max_batch_size: 4"
    )
    write_ensemble(explicit.root, config)
    server = explicit.server
    assert explicit.load("around").status_code == 200

    def sums() -> int:
        answer = server.infer("around", {"inputs": [json_tensor("X", "INT32", [1, 1], [10])]})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["outputs"][0]["data"][0])

    assert sums() == 13
    change(server, "step", split={"shares": {"1": 90, "2": 10}})
    assert {sums() for _ in range(20)} == {11}
    change(server, "step", split={"shares": {"1": 50, "2": 50}})
    assert sums() == 12
    change(server, "step", split=None)
    assert sums() == 13
    # By its file as by a call.
    (explicit.root / "step" / "release.json").write_text('{"split": {"shares": {"1": 100}}}')
    assert explicit.load("step").status_code == 200
    assert sums() == 11
    explicit.unload_all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--http-fast-lane=false",),
        ("--trace-config=level=TIMESTAMPS", "--trace-config=rate=1", "--log-info=true"),
    ],
)
def test_every_other_way_is_routed_alike(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    for version in (1, 2):
        write_model(tmp_path, "m", versioned(version), ALL, version)
    release = {
        "labels": {"PROD": 1},
        "split": {"shares": {"1": 50, "2": 50}, "sticky": {"header": "x-user-id"}},
    }
    (tmp_path / "m" / "release.json").write_text(json.dumps(release))
    if "--http-fast-lane=false" not in flags:
        flags = (*flags, f"--trace-config=triton,file={tmp_path / 'traces'}")
    server = start_server(tmp_path, *flags)
    with Channel(server) as channel, Wire(server) as wire:
        for user, version in AS_HASHED.items():
            assert answered_by(server, headers={"X-User-Id": user}) == version
            assert channel.infer(grpc_request(), metadata=[("x-user-id", user)]).model_version == str(version)
            for _ in range(4):
                wire.send(binary_bytes("", f"x-user-id: {user}"))
                assert wire.response().json()["model_version"] == str(version)
        assert channel.infer(grpc_request("PROD")).model_version == "1"
        assert answered_by(server, "PROD") == 1


# Two servers agree without knowing of each other.
AS_HASHED = {user: choose("m", {1: 50, 2: 50}, user.encode()) for user in ("alice", "bob", "carol", "dave")}


@pytest.mark.slow
def test_a_sequence_stays_with_its_version(explicit: ExplicitServer) -> None:
    config = batching("oldest { max_candidate_sequences: 32 }", extra="") + ALL
    for version in (1, 2):
        explicit.write("seq", accumulator(), config, version)
    assert explicit.load("seq").status_code == 200
    server = explicit.server
    change(server, "seq", split={"shares": {"1": 50, "2": 50}})

    def step(sequence: int, start: bool, end: bool) -> str:
        body = {
            "inputs": [json_tensor("IN", "INT32", [1, 1], [1]), json_tensor("PORT", "INT32", [1, 1], [0])],
            "parameters": {"sequence_id": sequence, "sequence_start": start, "sequence_end": end},
        }
        answer = server.infer("seq", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    begun = {sequence: step(sequence, True, False) for sequence in range(1, 21)}
    assert set(begun.values()) == {"1", "2"}
    # Also where the split has turned away from it.
    change(server, "seq", split={"shares": {"2": 100}})
    assert {sequence: step(sequence, False, False) for sequence in begun} == begun
    assert {sequence: step(sequence, False, True) for sequence in begun} == begun
    assert {step(sequence, True, True) for sequence in begun} == {"2"}
    explicit.unload("seq")


# --- kept -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_is_there_after_a_restart_and_keeps_its_versions(write_model: WriteModel, tmp_path: Path) -> None:
    """Under the default policy, which serves the highest version alone."""
    root = tmp_path / "models"
    write_model(root, "m", versioned(2), "", 2)
    flags = ("--model-control-mode=explicit", "--load-model=*")
    (tmp_path / "one").mkdir()
    server = launch(tmp_path / "one", root, *flags)
    change(server, labels={"PROD": 2}, split={"shares": {"2": 100}})
    write_model(root, "m", versioned(3), "", 3)
    assert server.post("/v2/repository/models/m/load").status_code == 200
    # Registered, to be looked at by its number; released is the one before it.
    assert (answered_by(server), answered_by(server, "PROD"), answered_by(server, "3")) == (2, 2, 3)
    assert server.stop() == 0
    (tmp_path / "two").mkdir()
    server = launch(tmp_path / "two", root, *flags)
    assert (answered_by(server), answered_by(server, "PROD"), answered_by(server, "3")) == (2, 2, 3)
    change(server, labels={"PROD": 3}, split=None)
    assert (answered_by(server), answered_by(server, "PROD")) == (3, 3)
    # Back, and here again: the one before is still there.
    change(server, labels={"PROD": 2})
    change(server, labels={"PROD": 3})
    # What nobody names any more goes with the next load.
    assert server.post("/v2/repository/models/m/load").status_code == 200
    wait_until(lambda: server.get("/v2/models/m/versions/2/ready").status_code == 400)
    assert refused(server, 404, labels={"PROD": 2}) == (
        "labels['PROD']: version 2 of model 'm' is not ready, expected one that is (3); it lies in the repository: load the "
        "model, whose version_policy has to name it beside the others"
    )
    assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "there", "flags"),
    [
        ("version_policy { specific { versions: [ 2 ] } }", (1, 2), ()),
        ("version_policy { specific { versions: [ 2 ] } }", (1, 2), ("--model-control-mode=poll",)),
        ("", (2,), ("--model-control-mode=explicit", "--load-model=*")),
        ("", (2,), ("--model-control-mode=on-demand", "--load-model=m")),
        ("", (2,), ("--processes=2",)),
    ],
)
def test_a_server_starts_whatever_has_become_of_the_versions_of_a_split(
    start_server: StartServer,
    write_model: WriteModel,
    tmp_path: Path,
    config: str,
    there: tuple[int, ...],
    flags: tuple[str, ...],
) -> None:
    for version in there:
        write_model(tmp_path, "m", versioned(version), config, version)
    write_model(tmp_path, "other", versioned(1))
    (tmp_path / "m" / "release.json").write_text('{"split": {"shares": {"1": 100}}}')
    server = start_server(tmp_path, *flags)
    answer = server.infer("m", JSON_BODY)
    assert answer.status_code == 503
    assert "requests without a version are split over 1, and none of these is ready" in error_of(answer)
    assert answered_by(server, "2") == 2
    if "--load-model=m" not in flags:
        # The line to paste is for a model that answers.
        wait_until(lambda: any("/v2/models/other/infer" in line for line in server.output))
    assert server.stop() == 0


@pytest.mark.slow
def test_a_directory_of_its_own(start_server: StartServer, write_model: WriteModel, tmp_path: Path) -> None:
    root, kept_in = tmp_path / "models", tmp_path / "releases"
    for version in (1, 2):
        write_model(root, "m", versioned(version), ALL, version)
    server = start_server(
        root, "--model-control-mode=explicit", "--load-model=*", f"--release-directory={kept_in}"
    )
    change(server, labels={"PROD": 1})
    assert not (root / "m" / "release.json").exists()
    assert json.loads((kept_in / "m" / "release.json").read_text()) == {"labels": {"PROD": 1}}
    assert server.post("/v2/repository/models/m/unload").status_code == 200
    assert server.post("/v2/repository/models/m/load").status_code == 200
    assert answered_by(server, "PROD") == 1
    # What cannot be kept is refused, and does not hold either.
    shutil.rmtree(kept_in)
    kept_in.write_text("no directory")
    assert "--release-directory" in refused(server, 503, labels={"PROD": 2})
    assert answered_by(server, "PROD") == 1


@pytest.mark.slow
def test_of_uploaded_files_it_is_kept_in_the_repository(start_explicit: StartExplicit) -> None:
    explicit = start_explicit("--allow-file-override")

    def upload(name: str) -> httpx.Response:
        files = {
            f"file:{version}/model.py": base64.b64encode(versioned(version).encode()).decode()
            for version in (5, 6)
        }
        config = json.dumps({"backend": "python", "version_policy": {"all": {}}})
        return explicit.load(name, json={"parameters": {"config": config, **files}})

    model = explicit.write("m", versioned(5), ALL, 5)
    assert upload("m").status_code == 200
    change(explicit.server, labels={"PROD": 5})
    assert json.loads((model / "release.json").read_text()) == {"labels": {"PROD": 5}}
    # The next load goes back to the directory, and so does the release.
    assert explicit.load("m").status_code == 200
    assert answered_by(explicit.server, "PROD") == 5
    assert upload("sent").status_code == 200
    # What only the upload has is gone sooner than the release.
    assert upload("m").status_code == 200
    assert refused(explicit.server, 400, labels={"NEW": 6}) == (
        "labels['NEW']: version 6 of model 'm' was uploaded and goes with the unload, expected one that lies in the "
        "repository (5)"
    )
    change(explicit.server, labels={"NEW": 5})
    why = refused(explicit.server, 503, "sent", labels={"PROD": 5})
    assert "no model repository has a directory of that name; --release-directory" in why
    explicit.unload_all()


def test_a_configuration_may_say_it(explicit: ExplicitServer) -> None:
    release = {"labels": {"PROD": 1}, "split": {"shares": {"1": 100}}}
    config = f"{ALL}\nparameters {{ key: \"release\" value {{ string_value: '{json.dumps(release)}' }} }}"
    for version in (1, 2):
        explicit.write("configured", versioned(version), config, version)
    assert explicit.load("configured").status_code == 200
    server = explicit.server
    assert (answered_by(server, model="configured"), answered_by(server, "PROD", "configured")) == (1, 1)
    assert server.get("/v2/repository/models/configured/release").json()["source"] == "configuration"
    # A call outweighs it, for good.
    change(server, "configured", labels=None, split=None)
    assert explicit.unload("configured").status_code == 200
    assert explicit.load("configured").status_code == 200
    assert answered_by(server, model="configured") == 2
    assert "PROD" not in server.get("/v2/repository/models/configured/release").text
    explicit.unload("configured")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "release.json: is no JSON"),
        ('{"labels": {"PROD": "2"}}', "release.json: labels['PROD']: expected a version"),
    ],
)
def test_a_file_that_is_wrong_is_no_release(explicit: ExplicitServer, text: str, problem: str) -> None:
    model = explicit.write("broken", versioned(1))
    (model / "release.json").write_text(text)
    answer = explicit.load("broken")
    assert answer.status_code == 400
    assert problem in error_of(answer)
    assert problem in explicit.index("broken")[0]["reason"]
    (model / "release.json").unlink()
    assert explicit.load("broken").status_code == 200
    # One that breaks later leaves what is served as it is, with its release.
    change(explicit.server, "broken", labels={"PROD": 1})
    (model / "release.json").write_text(text)
    assert explicit.load("broken").status_code == 400
    assert answered_by(explicit.server, "PROD", "broken") == 1
    # Who looks at it is told, and who changes it.
    shown = explicit.server.get("/v2/repository/models/broken/release").json()
    assert shown["problems"][0].startswith(problem)
    assert "what it said before is in force until" in shown["problems"][0]
    changed = change(explicit.server, "broken", labels={"STG": 1})
    assert changed["problems"][0].startswith(f"release.json was wrong, and was replaced: {problem}")
    wait_until(lambda: f"release: model 'broken': {changed['problems'][0]}" in explicit.server.log)
    assert "problems" not in explicit.server.get("/v2/repository/models/broken/release").json()
    assert changed["labels"] == {"PROD": 1, "STG": 1}
    explicit.unload("broken")
    shutil.rmtree(model)


def test_a_file_that_is_edited_holds_from_the_next_load_and_loads_nothing(
    explicit: ExplicitServer, server: RunningServer
) -> None:
    change(server, labels={"PROD": 1})
    (explicit.root / "m" / "release.json").write_text('{"labels": {"PROD": 2}}')
    shown = server.get("/v2/repository/models/m/release").json()
    assert shown["labels"] == {"PROD": 1}
    assert shown["problems"] == [
        "release.json says something else by now: a load takes that over, and a change of the release replaces it"
    ]
    loads = server.log.count("ready: m version")
    assert explicit.load("m").status_code == 200
    assert answered_by(server, "PROD") == 2
    assert server.log.count("ready: m version") == loads
    line = 'release: model \'m\' changed by release.json: {"labels": {"PROD": 1}} -> {"labels": {"PROD": 2}}'
    assert line in server.log


@pytest.mark.slow
def test_who_polls_takes_an_edited_file_over(start_explicit: StartExplicit) -> None:
    polling = start_explicit(
        "--model-control-mode=poll", "--repository-poll-secs=1", "--repository-settle-secs=1"
    )
    for version in (1, 2):
        model = polling.write("m", versioned(version), ALL, version)
    server = polling.server
    # Either of them may be there first.
    wait_until(lambda: all(server.get(f"{path(each)}/ready").status_code == 200 for each in ("1", "2")))
    change(server, labels={"PROD": 1})
    assert answered_by(server, "PROD") == 1
    (model / "release.json").write_text('{"labels": {"PROD": 2}, "split": {"shares": {"1": 100}}}')
    wait_until(lambda: server.get("/v2/models/m/versions/PROD").json()["versions"] == ["2"])
    assert answered_by(server) == 1
    (model / "release.json").unlink()
    wait_until(lambda: server.get("/v2/models/m/versions/PROD").status_code == 404)
    assert answered_by(server) == 2
    assert server.log.count("ready: m version") == 2


def test_a_change_says_what_it_replaces(explicit: ExplicitServer, server: RunningServer) -> None:
    file = explicit.root / "m" / "release.json"
    change(server, labels={"PROD": 1})
    file.write_text('{"labels": {"STG": 2}}')
    assert change(server, labels={"PROD": 3})["problems"] == [
        'release.json had been changed since it was read, and was replaced: it said {"labels": {"STG": 2}}'
    ]
    assert json.loads(file.read_text()) == {"labels": {"PROD": 3}}
    file.unlink()
    shown = server.get("/v2/repository/models/m/release").json()
    assert shown["problems"] == [
        "release.json is gone: a load takes that over, and a change of the release replaces it"
    ]
    # Nothing is lost by that.
    assert "problems" not in change(server, labels={"PROD": 2})


def test_each_change_is_in_the_log(server: RunningServer) -> None:
    change(server, labels={"PROD": 1})
    change(server, labels={"PROD": 2})
    line = 'release: model \'m\' changed by 127.0.0.1: {"labels": {"PROD": 1}} -> {"labels": {"PROD": 2}}'
    wait_until(lambda: line in server.log)
    change(server, labels={"PROD": 2})
    same = '{"labels": {"PROD": 2}}'
    wait_until(lambda: f"release: model 'm' unchanged by 127.0.0.1: {same}" in server.log)
    assert f"{same} -> {same}" not in server.log


# --- version policies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "first", "with_four", "without_two"),
    [
        ("", [3], [4], [4]),
        ("version_policy { latest { num_versions: 2 } }", [2, 3], [3, 4], [3, 4]),
        (ALL, [2, 3], [2, 3, 4], [3, 4]),
        ("version_policy { specific { versions: [ 2, 4 ] } }", [2], [2, 4], [4]),
    ],
)
def test_folders_that_come_and_go(
    explicit: ExplicitServer, policy: str, first: list[int], with_four: list[int], without_two: list[int]
) -> None:
    for version in (2, 3):
        model = explicit.write("folders", versioned(version), policy, version)

    def serves(versions: list[int]) -> None:
        assert explicit.load("folders").status_code == 200
        # What is to go does so when it is done.
        wait_until(
            lambda: (
                [entry["version"] for entry in explicit.index("folders") if entry["state"] == "READY"]
                == [str(version) for version in versions]
            )
        )
        assert answered_by(explicit.server, model="folders") == versions[-1]

    try:
        serves(first)
        explicit.write("folders", versioned(4), policy, 4)
        serves(with_four)
        shutil.rmtree(model / "2")
        serves(without_two)
        explicit.write("folders", versioned(2), policy, 2)
        serves(with_four)
    finally:
        explicit.unload("folders")
        shutil.rmtree(model)


# --- the command ----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kserve_v2", "release", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_three_commands(explicit: ExplicitServer, server: RunningServer) -> None:
    url = f"--url={server.rest}"
    done = command(
        "m", "--label", "PROD", "--version", "2", "--split", "2=90,3=10", "--sticky-header", "x-user-id", url
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "m: ready are 1, 2, 3\n  label PROD stands for version 2\n"
        "  requests without a version: version 2 90 %, version 3 10 %, sticky by header x-user-id\n"
        "  kept in release.json\n"
    )
    assert answered_by(server, "PROD") == 2
    assert command("m", "--show", url).stdout == done.stdout
    done = command("m", "--clear", "all", url)
    assert done.stdout.startswith("m: ready are 1, 2, 3\n  requests without a version: the highest\n")
    assert answered_by(server) == 3
    done = command("m", "--label", "PROD", "--version", "9", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: labels['PROD']: version 9 of model 'm' is not ready, expected one that is (1, 2, 3)\n"
    )
