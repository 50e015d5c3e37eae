"""Servers on Unix sockets: all clients, both transports, and what is left after the end."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.conftest import RunningServer, WriteModel, launch
from tests.integration.handlers import identity
from tests.integration.support import json_tensor, wait_until

BODY = {"inputs": [json_tensor("IN", "FP32", [2], [1.0, 2.0])]}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "m", identity("FP32", [2]))
    return root


def on_sockets(folder: Path, repository: Path, *flags: str) -> RunningServer:
    addresses = [f"--{name}-address=unix:{folder}/{name}.sock" for name in ("http", "grpc", "metrics")]
    return launch(folder, repository, *addresses, *flags)


@pytest.fixture(scope="module")
def served(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, Path]]:
    folder = tmp_path_factory.mktemp("sockets")
    server = on_sockets(folder, repository, "--log-access")
    yield server, folder
    assert server.stop() == 0
    assert list(folder.glob("*.sock*")) == []


def over(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost")


@pytest.mark.slow
def test_rest(served: tuple[RunningServer, Path]) -> None:
    server, folder = served
    with over(folder / "http.sock") as client:
        # From the third on, its head is known.
        for number in range(4):
            answer = client.post("/v2/models/m/infer", json={**BODY, "id": str(number)})
            assert (answer.json()["id"], answer.json()["outputs"][0]["data"]) == (str(number), [1.0, 2.0])
        assert client.post("/v2/models/m/generate", json={"IN": [1, 2]}).json()["OUT"] == [1.0, 2.0]
        assert client.post("/v2/models/nosuch/infer", json=BODY).status_code == 404
    # A thread of its own writes the lines about requests.
    wait_until(lambda: server.log.count("status=200") == 5 and server.log.count("status=404") == 1)
    assert server.log.count(" protocol=rest model=m ") == 5


def test_metrics(served: tuple[RunningServer, Path]) -> None:
    with over(served[1] / "metrics.sock") as client:
        assert "nv_inference_request_success" in client.get("/metrics").text


def test_grpc(served: tuple[RunningServer, Path]) -> None:
    server, folder = served
    assert server.grpc == f"unix:{folder}/grpc.sock"
    with triton.InferenceServerClient(server.grpc) as client:
        given = triton.InferInput("IN", [2], "FP32")
        given.set_data_from_numpy(np.array([1, 2], np.float32))
        assert client.infer("m", [given]).as_numpy("OUT").tolist() == [1.0, 2.0]


@pytest.mark.skipif(shutil.which("curl") is None, reason="apt-get install curl")
def test_the_line_to_paste(served: tuple[RunningServer, Path]) -> None:
    server = served[0]
    wait_until(lambda: any(line.startswith("curl") for line in server.output))
    (line,) = [line for line in server.output if line.startswith("curl")]
    assert f"--unix-socket {served[1]}/http.sock http://localhost/v2/models/m/infer" in line
    done = subprocess.run(shlex.split(line), capture_output=True, timeout=60, check=True)
    assert b'"outputs":[{"name":"OUT"' in done.stdout
    assert not any("docs" in line for line in served[0].output)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["http", "grpc"])
def test_a_path_in_use_is_said(
    served: tuple[RunningServer, Path], repository: Path, tmp_path: Path, name: str
) -> None:
    server, folder = served
    flags = (f"--{name}-address=unix:{folder}/{name}.sock",)
    with pytest.raises(
        AssertionError, match=rf"cannot listen on unix:.*{name}\.sock: Address already in use"
    ):
        launch(tmp_path, repository, *flags)
    with over(folder / "http.sock") as client:
        assert client.get("/v2/health/ready").status_code == 200
    with triton.InferenceServerClient(server.grpc) as grpc_client:
        assert grpc_client.is_server_ready()


@pytest.mark.slow
def test_after_a_server_that_was_killed(repository: Path, tmp_path: Path) -> None:
    killed = on_sockets(tmp_path, repository)
    killed.process.kill()
    killed.stop()
    assert (tmp_path / "http.sock").is_socket()
    server = on_sockets(tmp_path, repository)
    with over(tmp_path / "http.sock") as client, triton.InferenceServerClient(server.grpc) as grpc_client:
        assert client.get("/v2/health/ready").status_code == 200
        assert grpc_client.is_server_ready()
    assert server.stop() == 0
    assert list(tmp_path.glob("*.sock*")) == []
