"""A model whose delay the server chooses: it answers as any other, and says what is chosen."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import json_tensor

_DOUBLE = """
class Model:
    inputs = {"X": ("FP32", [1])}
    outputs = {"Y": ("FP32", [1])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"Y": inputs["X"] * 2}
"""


def _budget(value: str) -> str:
    return f'parameters {{ key: "latency_budget_ms" value {{ string_value: "{value}" }} }} '


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: StartServer, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "double", _DOUBLE, _budget("50"))
    write_model(root, "plain", _DOUBLE)
    conflict = _budget("50") + "dynamic_batching { max_queue_delay_microseconds: 7 }"
    write_model(root, "conflict", _DOUBLE, conflict)
    return start_server(root)


def test_every_client_gets_its_own(server: RunningServer) -> None:
    def client(number: int) -> list[float]:
        found = []
        for turn in range(20):
            tensor = json_tensor("X", "FP32", [1, 1], [100 * number + turn])
            found += server.infer("double", {"inputs": [tensor]}).json()["outputs"][0]["data"]
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client, range(8)))
    assert answers == [[2.0 * (100 * number + turn) for turn in range(20)] for number in range(8)]


def test_the_choice_is_shown(server: RunningServer) -> None:
    lines = server.client.get(server.metrics).text.splitlines()
    [shown] = [line for line in lines if line.startswith("kserve_v2_chosen_queue_delay_us{")]
    assert 'model="double"' in shown
    assert 0 <= float(shown.rpartition(" ")[2]) <= 50_000


def test_a_delay_of_the_operators_and_a_budget_do_not_go_together(server: RunningServer) -> None:
    index = server.post("/v2/repository/index").json()
    [reason] = [entry["reason"] for entry in index if entry["name"] == "conflict"]
    assert "the server chooses the delay itself, but max_queue_delay_microseconds is 7" in reason
