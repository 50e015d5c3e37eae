"""The trace extension's settings over both protocols: answers and errors."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.clients import KINDS, TritonClient
from tests.integration.grpc_requests import STATUS, Channel
from tests.integration.handlers import identity
from tests.integration.support import error_of

SERVER = "/v2/trace/setting"
MODEL = "/v2/models/bat/trace/setting"
RESET = {"trace_level": None, "trace_rate": None, "trace_count": None, "log_frequency": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "bat", identity("FP32", [3], max_batch_size=4))
    return root


@pytest.fixture(scope="module")
def tracing_server(
    start_server: StartServer, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    path = tmp_path_factory.mktemp("traces") / "trace.json"
    return start_server(folder, f"--trace-config=triton,file={path}")


@pytest.fixture
def server(tracing_server: RunningServer) -> Iterator[RunningServer]:
    yield tracing_server
    for path in (MODEL, SERVER):
        assert tracing_server.post(path, json=RESET).status_code == 200


@pytest.fixture
def channel(server: RunningServer) -> Iterator[Channel]:
    with Channel(server) as channel:
        yield channel


@pytest.fixture(scope="module")
def plain_server(start_server: StartServer, folder: Path) -> RunningServer:
    """A server without any trace option."""
    return start_server(folder)


def test_the_settings_at_the_start(plain_server: RunningServer) -> None:
    for path in (SERVER, MODEL):
        answer = plain_server.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.text == (
            '{"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","log_frequency":"0",'
            '"trace_file":"","trace_mode":"triton"}'
        )


@pytest.mark.parametrize("path", [SERVER, MODEL])
def test_a_level_needs_a_file(plain_server: RunningServer, path: str) -> None:
    answer = plain_server.post(path, json={"trace_level": ["TIMESTAMPS"]})
    assert answer.status_code == 400
    assert error_of(answer) == "Attempting to set invalid trace setting :trace file name is not given"


def shown(server: RunningServer, path: str) -> dict[str, Any]:
    """The settings without those that never change."""
    settings = server.get(path).json()
    return {name: settings[name] for name in RESET}


START = {"trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0"}


def test_members_follow_the_server_one_by_one(server: RunningServer) -> None:
    answer = server.post(MODEL, json={"trace_rate": "7"})
    assert answer.json() == {**server.get(MODEL).json(), "trace_rate": "7"}
    server.post(
        SERVER, json={"trace_rate": "5", "trace_count": "9", "trace_level": ["TENSORS", "TIMESTAMPS"]}
    )
    assert shown(server, SERVER) == {
        **START, "trace_rate": "5", "trace_count": "9", "trace_level": ["TIMESTAMPS", "TENSORS"]
    }  # fmt: skip
    assert shown(server, MODEL) == {**shown(server, SERVER), "trace_rate": "7"}
    server.post(MODEL, json={"trace_rate": None})
    assert shown(server, MODEL) == shown(server, SERVER)
    server.post(SERVER, json=RESET)
    assert shown(server, SERVER) == shown(server, MODEL) == START


ERRORS: list[tuple[str, int, str]] = [
    ('{"trace_level":["OFF","TIMESTAMPS"]}', 400, "Expect only one trace level 'OFF' is specified"),
    ('{"trace_level":"TIMESTAMPS"}', 400, "attempt to access JSON non-array as array"),
    ('{"trace_level":[1]}', 400, "attempt to access JSON non-string as string"),
    ('{"trace_rate":5}', 400, "attempt to access JSON non-string as string"),
    ('{"trace_count":["5"]}', 400, "attempt to access JSON non-string as string"),
    ('{"log_frequency":{}}', 400, "attempt to access JSON non-string as string"),
    ('{"trace_rate":"abc"}', 400, "Unable to parse 'trace_rate', got: abc"),
    (
        '{"trace_rate":"99999999999999"}', 400,
        "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 99999999999999",
    ),
    ('{"trace_count":"-2"}', 400, "Unable to parse 'trace_count'. Expecting value >= -1, got:-2"),
    ('{"trace_file":"other.json"}', 501, "trace file location can not be updated through network protocol"),
    ('{"trace_file":null}', 501, "trace file location can not be updated through network protocol"),
    ("", 400, "failed to parse the request JSON buffer: The document is empty. at 0"),
    ("{", 400, "failed to parse the request JSON buffer: "),
    ("[]", 400, "attempt to get members for non-object"),
]  # fmt: skip


@pytest.mark.parametrize("path", [SERVER, MODEL])
@pytest.mark.parametrize(("body", "status", "text"), ERRORS)
def test_errors_over_rest(server: RunningServer, path: str, body: str, status: int, text: str) -> None:
    answer = server.post(path, content=body)
    assert answer.status_code == status
    assert error_of(answer).startswith(text)
    assert shown(server, path) == START


@pytest.mark.parametrize(
    "body", ['{"trace_level":["LOUD"]}', '{"trace_mode":"opentelemetry"}', '{"speed":["1"]}', "{}"]
)
def test_what_is_ignored(server: RunningServer, body: str) -> None:
    assert server.post(SERVER, content=body).status_code == 200
    assert shown(server, SERVER) == START


def test_minus_one_is_the_largest_rate(server: RunningServer) -> None:
    assert server.post(SERVER, json={"trace_rate": "-1"}).json()["trace_rate"] == "4294967295"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_model(server: RunningServer, method: str) -> None:
    url = server.rest + "/v2/models/nosuch/trace/setting"
    answer = server.client.request(method, url, json={"trace_rate": "5"})
    assert answer.status_code == 400
    assert error_of(answer) == "Request for unknown model : nosuch"


@pytest.mark.parametrize("path", [SERVER, MODEL])
def test_other_methods(server: RunningServer, path: str) -> None:
    answer = server.client.request("DELETE", server.rest + path)
    assert (answer.status_code, error_of(answer)) == (405, "Method Not Allowed")


def test_there_are_no_settings_of_a_version(server: RunningServer) -> None:
    assert server.get("/v2/models/bat/versions/1/trace/setting").status_code == 404


def settings_of(model: str = "", **settings: list[str]) -> pb.TraceSettingRequest:
    """A request over gRPC."""
    values = {name: pb.TraceSettingRequest.SettingValue(value=texts) for name, texts in settings.items()}
    return pb.TraceSettingRequest(model_name=model, settings=values)


def ask(channel: Channel, request: pb.TraceSettingRequest) -> dict[str, list[str]]:
    """The answer to a request, setting name to values."""
    answer = channel.method("TraceSetting", pb.TraceSettingResponse)(request, timeout=60)
    return {name: list(setting.value) for name, setting in answer.settings.items()}


def test_reading_and_changing_over_grpc(server: RunningServer, channel: Channel) -> None:
    start = ask(channel, settings_of())
    assert {name: value if name == "trace_level" else value[0] for name, value in start.items()} == (
        server.get(SERVER).json()
    )
    changed = ask(channel, settings_of("bat", trace_level=["TENSORS"], trace_rate=["3"]))
    assert changed == {**start, "trace_level": ["TENSORS"], "trace_rate": ["3"]}
    assert ask(channel, settings_of()) == start
    # An empty list resets.
    assert ask(channel, settings_of("bat", trace_level=[], trace_rate=[])) == start


INVALID = STATUS.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (settings_of(trace_rate=["1", "2"]), INVALID, "expect only 1 value for 'trace_rate'"),
        (settings_of(trace_rate=["abc"]), INVALID, "Unable to parse 'trace_rate', got: abc"),
        (
            settings_of(trace_count=["-3"]), INVALID,
            "Unable to parse 'trace_count'. Expecting value >= -1, got: -3",
        ),
        (
            settings_of(trace_level=["OFF", "TENSORS"]), INVALID,
            "Expect only one trace level 'OFF' is specified",
        ),
        (settings_of("nosuch"), INVALID, "Request for unknown model : nosuch"),
        (settings_of("nosuch", trace_rate=["1"]), INVALID, "Request for unknown model : nosuch"),
        (
            settings_of(trace_file=["x"]), STATUS.UNIMPLEMENTED,
            "trace file location can not be updated through network protocol",
        ),
    ],
)  # fmt: skip
def test_errors_over_grpc(channel: Channel, request_: Any, status: Any, text: str) -> None:
    assert channel.fails("TraceSetting", request_, pb.TraceSettingResponse) == (status, text)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tritonclient_reads_and_changes_the_settings(server: RunningServer, kind: str) -> None:
    with closing(TritonClient(kind, server)) as client:
        client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "2"})
        client.update_trace_settings(model_name="bat", settings={"trace_count": "8", "trace_rate": None})
        answer = client.as_dict(client.get_trace_settings(model_name="bat"))
    settings = answer.get("settings", answer)
    assert json.loads(json.dumps(settings)) == (
        server.get(MODEL).json()
        if client.is_http
        else {
            name: {"value": value if isinstance(value, list) else [value]}
            for name, value in server.get(MODEL).json().items()
        }
    )
    assert shown(server, MODEL) == {
        **START, "trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "8"
    }  # fmt: skip


@pytest.mark.slow
def test_the_settings_of_opentelemetry(start_server: StartServer, folder: Path) -> None:
    options = (
        "mode=opentelemetry",
        "opentelemetry,url=http://127.0.0.1:9/v1/traces",
        "opentelemetry,resource=a=b",
    )
    server = start_server(folder, *(f"--trace-config={option}" for option in options))
    assert server.get(SERVER).json() == {
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "trace_mode": "opentelemetry",
        "url": "http://127.0.0.1:9/v1/traces",
        "resource": "a=b",
        "bsp_max_queue_size": "2048",
        "bsp_schedule_delay": "5000",
        "bsp_max_export_batch_size": "512",
    }
    assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "text"),
    [
        (
            "level=TIMESTAMPS",
            "--trace-config: level=TIMESTAMPS needs triton,file=PATH, or mode=opentelemetry",
        ),
        ("rate=x", "--trace-config: expected level=OFF|TIMESTAMPS|TENSORS, rate=N, "),
        ("triton,file=/nosuch/t.json", "cannot write traces to /nosuch/t.json: there is no such directory"),
    ],
)
def test_a_server_that_cannot_trace_says_so_and_ends(folder: Path, option: str, text: str) -> None:
    command = [
        sys.executable,
        "-m",
        "kserve_v2",
        "serve",
        "--model-repository",
        folder,
        "--trace-config",
        option,
    ]
    ports = ("--http-port=0", "--grpc-port=0", "--metrics-port=0")
    ended = subprocess.run([*command, *ports], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert text in ended.stderr
