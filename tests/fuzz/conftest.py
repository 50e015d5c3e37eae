"""The server that is fuzzed, one for each module, and what must hold of it in the end."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.fuzz.target import MAX_INPUT_BYTES, resident_bytes
from tests.integration import handlers
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.rest_requests import IN
from tests.integration.support import DTYPES

# The same examples in each run, and their number fixed: a failure is never a matter of luck.
settings.register_profile(
    "fuzz",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=list(HealthCheck),
)
FUZZ = settings.get_profile("fuzz")

# What the server may grow by: its allocator keeps some of what the largest requests took.
_MAX_GROWTH_BYTES = 16 * MAX_INPUT_BYTES

_MANY = """
class Model:
    inputs = {"COUNT": ("INT32", [1]), "TEXT": ("BYTES", [-1])}
    outputs = {"OUT": ("BYTES", [-1])}
    decoupled = True

    def __call__(self, inputs):
        for _ in range(min(max(int(inputs["COUNT"][0]), 0), 4)):
            yield {"OUT": inputs["TEXT"]}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """Models that never fail, whatever they are given: an answer of 500 is a defect of the server."""
    root = tmp_path_factory.mktemp("fuzzed")
    for datatype in DTYPES:
        write_model(root, f"id_{datatype.lower()}", handlers.identity(datatype, [-1]))
    write_model(root, "bat", handlers.identity("FP32", [3], max_batch_size=4))
    write_model(root, "matrix", handlers.identity("FP32", [-1, -1]))
    write_model(root, "two", handlers.TWO)
    write_model(root, "opt", handlers.OPTIONAL, handlers.OPTIONAL_CONFIG)
    write_model(root, "many", _MANY, "model_transaction_policy { decoupled: true }")
    classes = write_model(root, "classes", handlers.CLASSES, handlers.CLASSES_CONFIG)
    (classes / "labels.txt").write_text("cat\ndog\nbird\n")
    return root


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> Iterator[RunningServer]:
    """The server. In the end it is well, has logged no defect, and is not much larger than before."""
    server = start_server(
        repository,
        "--model-control-mode=explicit",
        "--load-model=*",
        "--allow-client-shm=true",
        f"--http-max-input-size={MAX_INPUT_BYTES}",
        "--http-read-timeout-secs=5",
    )
    assert_well(server)
    before = resident_bytes(server)
    yield server
    assert_well(server)
    assert resident_bytes(server) - before < _MAX_GROWTH_BYTES
    # grpcio and its core write what they think of a client there, too, and some of it is no text.
    log = server.log_path.read_text(errors="replace")
    assert "unexpected error" not in log
    assert re.findall(r'File ".*kserve_v2.*', log) == []


def assert_well(server: RunningServer) -> None:
    """Good requests are answered on every port."""
    assert server.process.poll() is None
    answer = server.infer("bat", {"inputs": [IN]})
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [1, 2, 3])
    with Channel(server) as channel:
        response = channel.infer(request_of("bat", tensor("IN", "FP32", [1, 3], fp32_contents=[1, 2, 3])))
    assert response.outputs[0].shape == [1, 3]
    assert server.client.get(server.metrics).status_code == 200
