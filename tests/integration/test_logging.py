"""The logging extension over both protocols: its answers, its errors, and what the server then writes."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.clients import KINDS, TritonClient
from tests.integration.grpc_requests import STATUS, Channel
from tests.integration.support import error_of, json_tensor

START: dict[str, Any] = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}

# Logs one record of each level, marked by the request.
TALKATIVE = """
import logging

logger = logging.getLogger("kserve_v2.talkative")

class Model:
    inputs = {"MARK": ("BYTES", [1])}
    outputs = {"OUT": ("BYTES", [1])}

    def __call__(self, inputs):
        mark = inputs["MARK"].item().decode()
        for level in ("debug", "info", "warning", "error"):
            getattr(logger, level)("%s %s", mark, level)
        return {"OUT": inputs["MARK"]}
"""


@pytest.fixture(scope="module")
def logging_server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "talkative", TALKATIVE)
    return start_server(root)


@pytest.fixture
def server(logging_server: RunningServer) -> Iterator[RunningServer]:
    yield logging_server
    answer = logging_server.post("/v2/logging", json={k: v for k, v in START.items() if k != "log_file"})
    assert answer.json() == START


@pytest.fixture
def channel(server: RunningServer) -> Iterator[Channel]:
    with Channel(server) as channel:
        yield channel


def change(server: RunningServer, **settings: Any) -> dict[str, Any]:
    """Change settings over REST; all of them, as answered."""
    answer = server.post("/v2/logging", json=settings)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def written(server: RunningServer, mark: str) -> list[str]:
    """The lines about one request that has each level logged."""
    body = {"inputs": [json_tensor("MARK", "BYTES", [1], [mark])]}
    assert server.infer("talkative", body).status_code == 200
    return [line for line in server.log.splitlines() if mark in line]


def levels(server: RunningServer, mark: str) -> list[str]:
    """The levels of the records that were written."""
    return [line.split()[-1] for line in written(server, mark)]


def test_the_settings_at_the_start(server: RunningServer) -> None:
    answer = server.get("/v2/logging")
    assert answer.text == json.dumps(START, separators=(",", ":"))
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["info", "warning", "error"]),
        ({"log_info": False}, ["warning", "error"]),
        ({"log_warning": False}, ["info", "error"]),
        ({"log_error": False}, ["info", "warning"]),
        ({"log_verbose_level": 1}, ["debug", "info", "warning", "error"]),
        ({"log_info": False, "log_warning": False, "log_error": False}, []),
    ],
)
def test_the_levels_that_are_written(
    server: RunningServer, settings: dict[str, Any], expected: list[str]
) -> None:
    assert change(server, **settings) == {**START, **settings}
    assert server.get("/v2/logging").json() == {**START, **settings}
    assert levels(server, f"levels-{'-'.join(settings)}.") == expected


def test_the_format_of_the_lines(server: RunningServer) -> None:
    [line, *_] = written(server, "as-default")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO kserve_v2\.talkative as-default info", line
    )
    change(server, log_format="ISO8601")
    [line, *_] = written(server, "as-iso")
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ I {server.process.pid} model\.py:\d+\] as-iso info", line
    )
    change(server, log_format="json")
    [line, *_] = written(server, "as-json")
    assert json.loads(line)["message"] == "as-json info"


NON_BOOLEAN = "attempt to access JSON non-boolean as boolean"
NON_UNSIGNED = "attempt to access JSON non-unsigned-integer as unsigned-integer"
FILE_FIXED = "log file location can not be updated through network protocol"

REST_ERRORS = [
    ('{"log_file":"x.log"}', 501, FILE_FIXED),
    ('{"log_file":""}', 501, FILE_FIXED),
    ('{"log_info":"true"}', 400, NON_BOOLEAN),
    ('{"log_warning":1}', 400, NON_BOOLEAN),
    ('{"log_error":[]}', 400, NON_BOOLEAN),
    ('{"log_verbose_level":-1}', 400, NON_UNSIGNED),
    ('{"log_verbose_level":"1"}', 400, NON_UNSIGNED),
    ('{"log_verbose_level":1.5}', 400, NON_UNSIGNED),
    ('{"log_verbose_level":true}', 400, NON_UNSIGNED),
    ('{"log_verbose_level":4294967296}', 400, NON_UNSIGNED),
    ('{"log_format":1}', 400, "attempt to access JSON non-string as string"),
    ('{"log_format":"bad"}', 400, "invalid argument for --log_format, got: bad"),
    ("", 400, "failed to parse the request JSON buffer: The document is empty. at 0"),
    ("{", 400, "failed to parse the request JSON buffer: "),
    ("[]", 400, "attempt to get members for non-object"),
    # Nothing is changed where anything is wrong.
    ('{"log_info":false,"log_format":"bad"}', 400, "invalid argument for --log_format, got: bad"),
]


@pytest.mark.parametrize(("body", "status", "text"), REST_ERRORS)
def test_errors_over_rest(server: RunningServer, body: str, status: int, text: str) -> None:
    answer = server.post("/v2/logging", content=body)
    assert answer.status_code == status
    assert error_of(answer).startswith(text)
    assert server.get("/v2/logging").json() == START


@pytest.mark.parametrize(
    "body", ['{"log_file":null}', '{"log_info":null,"log_format":null}', '{"speed":3}', "{}"]
)
def test_null_and_unknown_members_are_ignored(server: RunningServer, body: str) -> None:
    answer = server.post("/v2/logging", content=body)
    assert (answer.status_code, answer.json()) == (200, START)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods(server: RunningServer, method: str) -> None:
    answer = server.client.request(method, server.rest + "/v2/logging")
    assert answer.status_code == 405
    assert error_of(answer) == "Method Not Allowed"


Value = pb.LogSettingsRequest.SettingValue

GRPC_ERRORS = [
    ("log_file", Value(string_param="x"), STATUS.UNIMPLEMENTED, FILE_FIXED),
    ("log_info", Value(string_param="x"), STATUS.INVALID_ARGUMENT, "expect boolean for 'log_info'"),
    ("log_error", Value(), STATUS.INVALID_ARGUMENT, "expect boolean for 'log_error'"),
    (
        "log_verbose_level", Value(bool_param=True), STATUS.INVALID_ARGUMENT,
        "expect int32 for 'log_verbose_level'",
    ),
    ("log_format", Value(uint32_param=1), STATUS.INVALID_ARGUMENT, "expect string for 'log_format'"),
    (
        "log_format", Value(string_param="bad"), STATUS.INVALID_ARGUMENT,
        "invalid argument for log_format, got: bad",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "status", "text"), GRPC_ERRORS)
def test_errors_over_grpc(channel: Channel, name: str, value: Any, status: Any, text: str) -> None:
    request = pb.LogSettingsRequest(settings={name: value})
    assert channel.fails("LogSettings", request, pb.LogSettingsResponse) == (status, text)


def test_unknown_settings_are_ignored_over_grpc(channel: Channel) -> None:
    request = pb.LogSettingsRequest(settings={"speed": Value(uint32_param=3)})
    answer = channel.method("LogSettings", pb.LogSettingsResponse)(request, timeout=60)
    assert len(answer.settings) == len(START)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tritonclient_reads_and_changes_the_settings(server: RunningServer, kind: str) -> None:
    with closing(TritonClient(kind, server)) as client:
        assert flat(client, client.get_log_settings()) == START
        answer = client.update_log_settings({"log_warning": False, "log_verbose_level": 2})
        assert flat(client, answer) == {**START, "log_warning": False, "log_verbose_level": 2}
    assert levels(server, f"by-{kind}.") == ["debug", "info", "error"]


@pytest.fixture
def unread_log(tmp_path: Path) -> Iterator[int]:
    """The log of a server that is launched in `tmp_path`: a pipe of 4 KiB; its end for reading."""
    if sys.platform != "linux":
        pytest.skip("the size of a pipe is set as Linux does")
    import fcntl  # noqa: PLC0415 - Windows has none

    os.mkfifo(tmp_path / "server.log")
    fifo = os.open(tmp_path / "server.log", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(fifo, fcntl.F_SETPIPE_SZ, 4096)
    yield fifo
    os.close(fifo)


@pytest.mark.slow
def test_a_server_whose_log_nobody_reads_goes_on(tmp_path: Path, repository: Path, unread_log: int) -> None:
    """What is read in the end is all that was said."""
    flags = ["--model-control-mode=explicit", "--load-model=id_fp32", "--log-access", "--log-verbose=1"]
    server = launch(tmp_path, repository, *flags)
    try:
        for number in range(300):
            body = {"id": f"n{number}", "inputs": [json_tensor("IN", "FP32", [1], [1.0])]}
            assert server.infer("id_fp32", body).status_code == 200
        assert server.get("/v2/health/ready").status_code == 200
        os.set_blocking(unread_log, True)
        with os.fdopen(os.dup(unread_log)) as log:
            numbers = []
            for line in log:
                if match := re.search(r"request_id=n(\d+) ", line):
                    numbers.append(int(match[1]))
                if numbers and numbers[-1] == 299:
                    break
            assert numbers == list(range(300))
    finally:
        assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.usefixtures("unread_log")
def test_it_ends_all_the_same(tmp_path: Path, repository: Path) -> None:
    server = launch(tmp_path, repository, "--log-verbose=1")
    assert server.get("/v2/health/live").status_code == 200
    assert server.stop() == 0


CHATTY = """
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}
    def __call__(self, inputs):
        print("x" * int(inputs["N"][0]))
        return {"OUT": inputs["N"]}
"""


@pytest.mark.slow
def test_what_handlers_print_holds_up_nobody_else(
    tmp_path: Path, repository: Path, write_model: WriteModel
) -> None:
    """It goes to stdout, and waits there if nobody reads. The server goes on, and ends."""
    root = tmp_path / "models"
    write_model(root, "chatty", CHATTY)
    read, write = os.pipe()
    command = [
        sys.executable, "-m", "kserve_v2", "serve", f"--model-repository={root}", f"--model-repository={repository}",
        "--model-control-mode=explicit", "--load-model=id_fp32", "--load-model=chatty", "--http-port=0",
        "--allow-grpc=false", "--allow-metrics=false", "--exit-timeout-secs=1",
    ]  # fmt: skip
    with os.fdopen(read) as output, subprocess.Popen(command, stdout=write) as process:
        os.close(write)
        line = next(line for line in output if re.match(r"\s*REST\s+http", line))
        url = line.split()[1]
        with httpx.Client(timeout=60) as client:
            asked = threading.Thread(target=_ask_chatty, args=(url,), daemon=True)
            asked.start()
            for number in range(20):
                body = {"inputs": [json_tensor("IN", "FP32", [1], [float(number)])]}
                assert client.post(f"{url}/v2/models/id_fp32/infer", json=body).status_code == 200
        process.terminate()
        # The handler was given its time.
        assert process.wait(60) in (0, 1)
        asked.join(60)


def _ask_chatty(url: str) -> None:
    body = {"inputs": [json_tensor("N", "INT32", [1], [10_000_000])]}
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{url}/v2/models/chatty/infer", json=body, timeout=60)


def flat(client: TritonClient, answer: Any) -> dict[str, Any]:
    """The settings by name; gRPC's answers carry each in a message."""
    if client.is_http:
        return client.as_dict(answer)
    return {
        name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in answer.settings.items()
    }
