"""What a soak says is left: of threads, that pools may start another one, and nothing else; of descriptors, those of all
processes by their kinds.
"""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import launch
from tests.integration.support import json_tensor, wait_until
from tests.isolation.conftest import workers
from tests.soak.named_threads import NAMED_THREADS, ROOT
from tests.soak.outcome import State, new_threads

BEFORE = Counter({"kserve-v2": 3, "m_0": 1, "pool:el-load_0": 3, "pool:asyncio_1": 1})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"pool:el-load_1": 1, "pool:asyncio_0": 1, "pool:asyncio_2": 1}, []),
        ({"m_0": -1, "kserve-v2": -1}, []),
        ({"m_0": 1}, ["2 threads 'm_0', 1 before"]),
        ({"m_0": -1, "m_1": 1}, ["1 threads 'm_1', 0 before"]),
        # What a library has started on a pool's thread goes by that one's name.
        ({"pool:el-load_0": 1}, ["3 threads 'pool:(library)', 2 before"]),
        ({"pool:el-load_0": -2, "pool:el-load_1": 3}, []),
        ({"pool:el-load_0": -2, "pool:el-load_1": 4}, ["3 threads 'pool:(library)', 2 before"]),
    ],
)
def test_which_threads_are_too_many(change: dict[str, int], found: list[str]) -> None:
    now = Counter({name: BEFORE[name] + change.get(name, 0) for name in (*BEFORE, *change)})
    assert new_threads(now, BEFORE) == found


LEAKS = """
import threading

class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}

    def __call__(self, inputs):
        threading.Thread(target=threading.Event().wait, name="left behind", daemon=True).start()
        return {"OUT": inputs["IN"]}
"""


def test_a_thread_that_is_left_behind_is_found(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "leaks" / "1").mkdir(parents=True)
    (models / "leaks" / "1" / "model.py").write_text(LEAKS)
    server = launch(tmp_path, models, cwd=ROOT, program=NAMED_THREADS)
    try:
        before = State(server)
        assert before.threads["leaks_0"]
        assert server.infer("leaks", {"inputs": [json_tensor("IN", "INT32", [1], [1])]}).status_code == 200
        wait_until(lambda: State(server).threads["left behind"] == 1)
        assert "1 threads 'left behind', 0 before" in new_threads(State(server).threads, before.threads)
        # To index the repository is work for a pool.
        assert any(name.startswith("pool:") for name in State(server).threads)
    finally:
        server.stop()


KEEPS = """
import os

class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"PID": ("INT32", [1])}
    kept = -1

    def __call__(self, inputs):
        if self.kept < 0:
            self.kept = os.open("/dev/zero", os.O_RDONLY)
        return {"PID": [os.getpid()]}
"""


def test_a_descriptor_that_a_worker_keeps_is_found_whatever_else_has_gone(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "keeps" / "1").mkdir(parents=True)
    (models / "keeps" / "1" / "model.py").write_text(KEEPS)
    config = 'parameters { key: "home" value { string_value: "replicated" } }'
    (models / "keeps" / "config.pbtxt").write_text(config)
    server = launch(tmp_path, models, "--processes=2", cwd=ROOT)
    try:
        [worker] = workers(server.process.pid)
        idle = State(server, [worker])

        body = {"inputs": [json_tensor("IN", "INT32", [1], [1])]}
        answered = set()
        with ExitStack() as connected:
            # Connections are spread over the processes, those that are open at once.
            for _ in range(4):
                client = connected.enter_context(httpx.Client(timeout=60))
                answer = client.post(f"{server.rest}/v2/models/keeps/infer", json=body)
                answered.add(answer.json()["outputs"][0]["data"][0])
        assert worker in answered
        state = State(server, [worker])
        kept = state.descriptors["/dev/zero"]
        assert f"{kept} descriptors '/dev/zero', 0 before" in state.left_over(idle)
        assert State(server).descriptors["/dev/zero"] == kept - 1
        # As many of another kind have been closed meanwhile.
        idle.descriptors["pipe"] += kept
        assert f"{kept} descriptors '/dev/zero', 0 before" in state.left_over(idle)
    finally:
        server.stop()
