"""Loads and unloads of a server of two processes, over its sockets: they are in force in both, or in none."""

import signal
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningServer, WriteModel, launch

NUMBER = """
import sys
{check}
class Model:
    inputs = {{"IN": ("INT32", [1])}}
    outputs = {{"OUT": ("INT32", [1])}}

    def __call__(self, inputs):
        return {{"OUT": inputs["IN"] * 0 + {number}}}
"""
# Only that of a worker says whose it is.
ONLY_AT_HOME = """
if "--parent" in sys.argv:
    raise RuntimeError("not in this process")
"""
REPLICATED = 'parameters { key: "home" value { string_value: "replicated" } }'
BODY = {"inputs": [{"name": "IN", "datatype": "INT32", "shape": [1], "data": [3]}]}


def number(client: httpx.Client) -> int:
    """The answer; a status if that is an error."""
    answer = client.post("/v2/models/m/infer", json=BODY)
    return int(answer.json()["outputs"][0]["data"][0]) if answer.status_code == 200 else -answer.status_code


def load(server: RunningServer, what: str = "load") -> httpx.Response:
    return server.client.post(f"{server.rest}/v2/repository/models/m/{what}")


@pytest.mark.slow
def test_loads(tmp_path: Path, write_model: WriteModel) -> None:
    models = tmp_path / "models"
    write_model(models, "m", NUMBER.format(check="", number=1), REPLICATED)
    flags = ("--processes=2", "--model-control-mode=explicit", "--load-model=m")
    server = launch(tmp_path, models, *flags)
    file = models / "m" / "1" / "model.py"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=server.rest, timeout=60, trust_env=False))
            for _ in range(2)
        ]
        assert [number(each) for each in clients] == [1, 1]
        file.write_text(NUMBER.format(check=ONLY_AT_HOME, number=2))
        refused = load(server)
        assert refused.status_code == 400
        assert "process 1: " in refused.json()["error"]
        assert "not in this process" in refused.json()["error"]
        assert [number(each) for each in clients] == [1, 1]
        for new in range(3, 8):
            file.write_text(NUMBER.format(check="", number=new) + "#" * new)
            assert load(server).status_code == 200
            assert [number(each) for each in clients] == [new, new]
        assert load(server, "unload").status_code == 200
        # As one process answers.
        assert [number(each) for each in clients] == [-404, -404]
        [entry] = server.client.post(f"{server.rest}/v2/repository/index").json()
        assert entry["state"] in ("UNAVAILABLE", "UNLOADING")
    assert server.stop(signal.SIGINT) == 0, server.log
