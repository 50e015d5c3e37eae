"""How a server process starts: what it loads, and what makes it give up."""

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings
from tests.conftest import RunningServer, WriteModel
from tests.integration.conftest import Start
from tests.integration.handlers import slow_to_load, versioned
from tests.integration.support import Gate, json_tensor, wait_until

pytestmark = pytest.mark.slow

ASK = {"inputs": [json_tensor("IN", "INT32", [1], [0])]}


def run_to_the_end(repository: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Start a server that should give up."""
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    command = [
        sys.executable,
        "-m",
        "kserve_v2",
        "serve",
        "--model-repository",
        str(repository),
        *ports,
        *flags,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def states(server: RunningServer) -> dict[str, str]:
    """State by model; "" for one that was never loaded."""
    return {entry["name"]: entry.get("state", "") for entry in server.post("/v2/repository/index").json()}


# --- start ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _three_models(tmp_path: Path, write_model: WriteModel) -> None:
    for name in ("a", "b"):
        write_model(tmp_path, name, versioned(1))
    write_model(tmp_path, "broken", "raise RuntimeError('broken on purpose')")


@pytest.mark.usefixtures("_three_models")
@pytest.mark.parametrize(
    ("flags", "expected", "ready"),
    [
        ([], {"a": "READY", "b": "READY", "broken": "UNAVAILABLE"}, 400),
        (["--exit-on-error=false"], {"a": "READY", "b": "READY", "broken": "UNAVAILABLE"}, 400),
        (
            ["--exit-on-error=false", "--strict-readiness=false"],
            {"a": "READY", "b": "READY", "broken": "UNAVAILABLE"},
            200,
        ),
        (["--model-control-mode=explicit"], {"a": "", "b": "", "broken": ""}, 200),
        (["--model-control-mode=explicit", "--load-model=b"], {"a": "", "b": "READY", "broken": ""}, 200),
        (
            ["--model-control-mode=explicit", "--load-model=a", "--load-model=b"],
            {"a": "READY", "b": "READY", "broken": ""},
            200,
        ),
        (
            ["--model-control-mode=explicit", "--load-model=*", "--exit-on-error=false"],
            {"a": "READY", "b": "READY", "broken": "UNAVAILABLE"},
            400,
        ),
    ],
)
def test_what_is_loaded_at_start(
    start: Start, flags: list[str], expected: dict[str, str], ready: int
) -> None:
    server = start(*flags)
    assert states(server) == expected
    told = "".join(server.output)
    assert ("Not loaded:\n  broken version 1\n" in told) == (expected["broken"] == "UNAVAILABLE")
    assert server.get("/v2/health/ready").status_code == ready
    assert server.get("/v2/health/live").status_code == 200
    assert server.stop() == 0


WARM_UP = """
model_warmup { name: "zeros" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } } }
"""


def test_after_a_failed_warm_up_no_look_at_the_files_is_recommended(
    tmp_path: Path, write_model: WriteModel, start: Start
) -> None:
    code = versioned(1).replace("return", "raise RuntimeError('broken on purpose')\n        return")
    write_model(tmp_path, "broken", code, WARM_UP)
    server = start()
    assert states(server) == {"broken": "UNAVAILABLE"}
    told = "".join(server.output)
    assert "failed to run warmup sample 'zeros'" in told
    assert "kserve-v2 check" not in told
    assert server.stop() == 0


@pytest.mark.usefixtures("_three_models")
@pytest.mark.parametrize(
    "flags",
    [["--exit-on-error"], ["--exit-on-error", "--model-control-mode=explicit", "--load-model=broken"]],
)
def test_a_model_that_fails_at_start_ends_the_server(tmp_path: Path, flags: list[str]) -> None:
    ended = run_to_the_end(tmp_path, *flags)
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: failed to load broken; ")
    assert "without --exit-on-error" in line
    assert re.search(r"^\| broken +\| 1 +\| UNAVAILABLE \|", ended.stdout, re.MULTILINE)
    assert re.search(r"^  broken version 1\n    .*broken on purpose$", ended.stdout, re.MULTILINE)
    assert "The other models are served" not in ended.stdout
    assert "Traceback" not in ended.stderr


def test_an_unknown_model_to_load_ends_the_server(tmp_path: Path) -> None:
    ended = run_to_the_end(tmp_path, "--model-control-mode=explicit", "--load-model=nosuch")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: failed to load nosuch; ")


@pytest.mark.parametrize("port", ["http", "grpc", "metrics"])
def test_a_port_in_use(tmp_path: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ended = run_to_the_end(tmp_path, f"--{port}-port={number}")
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert f"127.0.0.1:{number}" in line
    assert "Traceback" not in ended.stderr


def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    files = (f"--http-server-cert={tmp_path}/server.pem", f"--http-server-key={tmp_path}/server.key")
    ended = run_to_the_end(tmp_path, "--http-use-ssl", *files)
    assert ended.returncode == 1
    assert ended.stderr == f"error: cannot read '{tmp_path}/server.pem': No such file or directory\n"


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_repository_that_is_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "models"
    if kind == "file":
        path.write_text("")
    ended = run_to_the_end(path)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(path) in line


def test_an_empty_repository_is_served(start: Start) -> None:
    server = start()
    assert states(server) == {}
    assert server.get("/v2/health/ready").status_code == 200
    assert server.stop() == 0


def test_a_model_in_two_repositories(start: Start, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
                                     write_model: WriteModel) -> None:  # fmt: skip
    other = tmp_path_factory.mktemp("other")
    write_model(tmp_path, "both", versioned(1))
    write_model(other, "both", versioned(2))
    write_model(other, "lone", versioned(3))
    server = start("--model-repository", str(other), "--exit-on-error=false")
    index = {entry["name"]: entry for entry in server.post("/v2/repository/index").json()}
    assert index["both"]["state"] == "UNAVAILABLE"
    # Where they lie is not for clients.
    assert index["both"]["reason"].endswith("model appears in two or more repositories")
    assert f"model appears in two or more repositories: {tmp_path}/both and {other}/both" in server.log
    assert index["lone"]["state"] == "READY"


@pytest.mark.parametrize(
    ("flag", "name"),
    [("--allow-http=false", "REST"), ("--allow-grpc=false", "gRPC"), ("--allow-metrics=false", "Metrics")],
)
def test_a_front_end_that_is_not_wanted(start: Start, flag: str, name: str) -> None:
    server = start(flag)
    assert set(server.urls) == {"REST", "gRPC", "Metrics"} - {name}
    assert server.stop() == 0


def test_connections_are_refused_until_the_models_are_loaded(tmp_path: Path, write_model: WriteModel) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    with Gate() as gate:
        write_model(tmp_path, "slow", slow_to_load(gate.port))
        command = [
            sys.executable, "-m", "kserve_v2", "serve", "--model-repository", str(tmp_path),
            f"--http-port={number}", "--grpc-port=0", "--metrics-port=0",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            gate.await_start()
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://127.0.0.1:{number}/v2/health/live")
            gate.open()
            assert process.stdout is not None
            assert any("READY" in line for line in process.stdout)
            wait_until(lambda: httpx.get(f"http://127.0.0.1:{number}/v2/health/ready").status_code == 200)
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
    assert process.returncode == 0


def test_what_is_said_at_the_start_needs_no_repository(tmp_path: Path, write_model: WriteModel) -> None:
    """It may be gone by then: what is loaded is served, and shown."""
    root = tmp_path / "models"
    write_model(root, "a", versioned(1))

    async def banner() -> str:
        server = Server(Settings(model_repository=(root,), http_port=0, grpc_port=0, metrics_port=0))
        await server.start()
        try:
            shutil.rmtree(root)
            return await server.banner()
        finally:
            await server.stop()

    said = asyncio.run(banner())
    assert re.search(r"a +\| 1 +\| READY", said)
    assert "/v2/models/a/infer" in said


def test_a_signal_while_models_are_loading(tmp_path: Path, write_model: WriteModel) -> None:
    with Gate() as gate:
        write_model(tmp_path, "slow", slow_to_load(gate.port))
        command = [
            sys.executable, "-m", "kserve_v2", "serve", "--model-repository", str(tmp_path),
            "--http-port=0", "--grpc-port=0", "--metrics-port=0",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            gate.await_start()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped while models were loading" in errors
    assert "Traceback" not in errors
