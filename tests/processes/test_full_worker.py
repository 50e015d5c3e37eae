"""A worker that may open no more files: others serve its connections."""

import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartServer, WriteModel
from tests.integration.support import wait_until
from tests.soak.workers import workers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process"),
]
CONNECTIONS = 60


def test_all_connections_are_answered(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    write_model(
        tmp_path,
        "echo",
        'class Model:\n    inputs = outputs = {"x": ("INT32", [1])}\n    def __call__(self, inputs):\n        return inputs\n',
    )
    server = start_server(tmp_path, "--processes=2")
    [worker] = workers(server)
    used = max(int(each.name) for each in Path(f"/proc/{worker}/fd").iterdir())
    _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 1, hard))
    body = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "data": [7]}]}
    with ExitStack() as stack:
        # All stay open, and half of them would be the worker's.
        for _ in range(CONNECTIONS):
            client = stack.enter_context(httpx.Client(timeout=60))
            response = client.post(f"{server.urls['REST']}/v2/models/echo/infer", json=body)
            assert response.json()["outputs"][0]["data"] == [7]
        wait_until(lambda: "a connection was handed to another process: too many open files" in server.log)
    assert "a connection was dropped" not in server.log
    assert server.stop() == 0
    assert "Traceback" not in server.log
