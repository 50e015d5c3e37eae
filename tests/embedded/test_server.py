"""A server inside of a program: its start and end, its calls, and the program's own event loop and signals."""

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

import kserve_v2
from tests.integration.support import wait_until

pytestmark = pytest.mark.slow

X = np.array([1, 2], np.float32)


@kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])}, max_batch_size=64)
def double(x: Any) -> Any:
    return x * 2


@kserve_v2.model(inputs={"x": ("FP32", [-1])}, outputs={"rows": ("INT64", [1])})
def failing(x: Any) -> Any:
    raise kserve_v2.ResourceExhaustedError("on purpose")


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_nothing_is_left_of_a_server_that_was_stopped() -> None:
    before = threads()
    server = kserve_v2.serve(double, port=0, block=False)
    port = int(server.url.rpartition(":")[2])
    assert server.running
    assert server.infer("double", x=[[1, 2]])["y"].tolist() == [[2, 4]]
    assert server.stop()
    assert not server.running
    assert server.stop()
    # Threads of pools end by themselves, when they have heard of it.
    wait_until(lambda: threads() <= before)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    with pytest.raises(kserve_v2.UnavailableError, match="the server is stopped"):
        server.infer("double", x=X)
    with pytest.raises(kserve_v2.StartupError, match="of a server that was stopped"):
        kserve_v2.serve(f"again={server.settings.model[0].partition('=')[2]}", port=0, block=False)


def test_two_servers_in_one_process() -> None:
    with (
        kserve_v2.serve({"m": double}, port=0, block=False) as one,
        kserve_v2.serve(
            {"m": lambda x: {"y": x}}, port=0, block=False, model_control_mode="explicit"
        ) as other,
        kserve_v2.serve({"n": double}, port=0, block=False) as third,
    ):
        assert one.url != third.url
        assert one.infer("m", x=[[1, 2]])["y"].tolist() == [[2, 4]]
        # What was not asked to be loaded is not there.
        with pytest.raises(kserve_v2.NotFoundError):
            other.infer("m", x=X)
        assert third.infer("n", x=[[1, 2]])["y"].tolist() == [[2, 4]]
        one.stop()
        assert third.infer("n", x=[[1, 2]])["y"].tolist() == [[2, 4]]


def test_calls_of_many_threads_share_batches() -> None:
    barrier = threading.Barrier(16)
    with kserve_v2.serve({"double": double, "failing": failing}, port=0, block=False) as server:

        def ask(number: int) -> list[float]:
            barrier.wait(60)
            return [
                server.infer("double", x=np.full((1, 2), number * 100 + step, np.float32))["y"][0, 0]
                for step in range(20)
            ]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(16)))
        assert answers == [[2 * (number * 100 + step) for step in range(20)] for number in range(16)]
        with pytest.raises(kserve_v2.ResourceExhaustedError, match="on purpose"):
            server.infer("failing", x=X)
        with pytest.raises(kserve_v2.InvalidArgumentError, match="'x' takes FP32, got 'a'"):
            server.infer("double", x=[["a", "b"]])
        with pytest.raises(
            kserve_v2.InvalidArgumentError, match="data-type is 'FP64', but model 'double' expects"
        ):
            server.infer("double", x=np.zeros((1, 2)))
        with pytest.raises(kserve_v2.InvalidArgumentError, match="no datatype for values of complex128"):
            server.infer("double", x=np.zeros((1, 2), complex))
        with pytest.raises(kserve_v2.InvalidArgumentError):
            server.infer("double")
        # By the dict, too, and with everything that a request may have.
        answer = server.infer("double", {"x": X[None]}, version=1, outputs="y", parameters={"priority": 0})
        assert (answer["y"].tolist(), answer.version) == ([[2, 4]], "1")


@kserve_v2.model(inputs={"x": ("UINT8", [-1])}, outputs={"y": ("UINT8", [-1])})
def small(x: Any) -> Any:
    return x


@kserve_v2.model(inputs={"x": ("FP16", [-1])}, outputs={"y": ("FP16", [-1])})
def half(x: Any) -> Any:
    return x


def test_numbers_become_the_model_s_datatype_exactly_or_not_at_all() -> None:
    with kserve_v2.serve({"small": small, "half": half}, port=0, block=False) as server:
        assert server.infer("small", x=[1, True, np.int64(255)])["y"].tolist() == [1, 1, 255]
        assert server.infer("half", x=[1, 0.5])["y"].tolist() == [1, 0.5]
        wrong: list[tuple[str, Any]] = [
            ("small", [1.5]),
            ("small", [256]),
            ("small", [-1]),
            ("small", ["1"]),
            ("small", [np.array([300])]),
            ("small", [torch.tensor([2.5])]),
            ("half", [70000]),
        ]
        for model, value in wrong:
            with pytest.raises(kserve_v2.InvalidArgumentError, match="input 'x' takes "):
                server.infer(model, x=value)


def test_what_is_given_and_got_is_the_program_s_alone() -> None:
    kept = np.zeros((1, 2), np.float32)

    @kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])}, max_batch_size=4)
    def keeping(inputs: Any) -> Any:
        inputs["x"] += 1
        return {"y": kept}

    with kserve_v2.serve(keeping, port=0, block=False) as server:
        given = np.ones((1, 2), np.float32)
        answer = server.infer("keeping", x=given)
        answer["y"] += 5
        assert (given.tolist(), kept.tolist()) == ([[1, 1]], [[0, 0]])


def test_a_call_that_takes_too_long_is_given_up() -> None:
    begun, end = threading.Event(), threading.Event()

    @kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"x": ("FP32", [2])})
    def slow(x: Any) -> Any:
        begun.set()
        end.wait(60)
        return x

    with kserve_v2.serve(slow, port=0, block=False) as server:
        with pytest.raises(TimeoutError, match=r"no answer within 0.05 s"):
            server.infer("slow", x=X, timeout=0.05)
        begun.wait(60)
        end.set()
        assert server.infer("slow", x=X)["x"].tolist() == [1, 2]


def test_who_waits_when_a_server_is_stopped_is_told_so() -> None:
    begun, end = threading.Event(), threading.Event()

    @kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"x": ("FP32", [2])})
    def hanging(x: Any) -> Any:
        begun.set()
        end.wait(60)
        return x

    with ThreadPoolExecutor(2) as pool:
        server = kserve_v2.serve(hanging, port=0, block=False, exit_timeout_secs=0)
        waiting = pool.submit(server.infer, "hanging", x=X)
        also = pool.submit(asyncio.run, server.infer_async("hanging", x=X))
        begun.wait(60)
        # Its model does not end.
        assert not server.stop()
        for each in (waiting, also):
            with pytest.raises(kserve_v2.UnavailableError):
                each.result(60)
        end.set()


def test_a_notebook_s_loop_goes_on() -> None:
    async def cells() -> None:
        # Blocks by default, but here it cannot.
        server = kserve_v2.serve(double, port=0)
        try:
            assert server.infer("double", x=[[1, 2]])["y"].tolist() == [[2, 4]]
            both = await asyncio.gather(*(server.infer_async("double", x=[[n, n]]) for n in (1, 2)))
            assert [each["y"].tolist() for each in both] == [[[2, 2]], [[4, 4]]]
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{server.url}/v2/health/ready")).status_code == 200
        finally:
            server.stop()

    asyncio.run(cells())


def test_signals_are_left_alone_by_a_server_on_a_thread() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with kserve_v2.serve(double, port=0, block=False):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_server_that_is_lost_keeps_nothing_of_the_program() -> None:
    class Big:
        inputs = outputs = {"x": ("FP32", [2])}  # noqa: RUF012 - as people write them

        def __call__(self, inputs: Any) -> Any:
            return inputs

    server = kserve_v2.serve(Big(), port=0, block=False)
    server.stop()
    del server
    gc.collect()
    wait_until(lambda: not any(type(each) is Big for each in gc.get_objects()))


def test_a_model_that_fails_is_raised_with_its_reason() -> None:
    class Broken:
        inputs = outputs = {"x": ("FP32", [2])}  # noqa: RUF012 - as people write them

        def load(self, context: kserve_v2.Context) -> None:
            raise ValueError("no weights")

        def __call__(self, inputs: Any) -> Any:
            return inputs

    before = threads()
    with pytest.raises(
        kserve_v2.StartupError,
        match=r"model 'Broken' cannot be loaded: .*test_server.py, line \d+: ValueError: no weights",
    ):
        kserve_v2.serve({"good": double, "Broken": Broken}, port=0, block=False)
    wait_until(lambda: threads() <= before)
    with kserve_v2.serve(double, port=0, block=False) as server:
        taken = int(server.url.rpartition(":")[2])
        with pytest.raises(kserve_v2.StartupError, match=f"{taken}"):
            kserve_v2.serve(double, http_port=taken, grpc_port=0, metrics_port=0, block=False)


SCRIPT = """
import kserve_v2

def double(x): return x * 2

kserve_v2.serve(double, inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])}, port=0)
print("the script goes on", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_script_serves_until_it_is_interrupted(tmp_path: Path, number: int) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout is not None
        url = next(line.split()[1] for line in script.stdout if line.startswith("REST"))
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
        answer = httpx.post(f"{url}/v2/models/double/infer", json=body).json()
        assert answer["outputs"][0]["data"] == [2, 4]
        script.send_signal(number)
        output, errors = script.communicate(timeout=60)
        assert (script.returncode, output.splitlines()[-1]) == (0, "the script goes on"), errors
        assert "Traceback" not in errors


def test_the_end_of_a_program_stops_what_still_runs(tmp_path: Path) -> None:
    code = SCRIPT.replace("port=0)", "port=0, block=False)")
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (found.stdout.splitlines()[-1], found.stderr) == ("the script goes on", "")


def test_a_file_is_reloaded_in_a_program_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    code = """
import kserve_v2
@kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])})
def mine(x):
    return x + %d
"""
    path.write_text(code % 1)
    with kserve_v2.serve(path, port=0, block=False, reload=True) as server:
        assert server.infer("mine", x=X)["y"].tolist() == [2, 3]
        path.write_text(code % 100)
        wait_until(lambda: server.infer("mine", x=X)["y"].tolist() == [101, 102])


@pytest.mark.parametrize("options", [{"isolate": "python"}, {"model_control_mode": "on-demand"}])
def test_a_file_in_a_process_of_its_own_and_on_demand(tmp_path: Path, options: dict[str, str]) -> None:
    (tmp_path / "helper.py").write_text("FACTOR = 3\n")
    (tmp_path / "mine.py").write_text(
        """
import helper
class Mine:
    inputs = outputs = {"x": ("FP32", [2])}
    def __call__(self, inputs):
        return {"x": inputs["x"] * helper.FACTOR}
"""
    )
    with kserve_v2.serve(tmp_path / "mine.py", port=0, block=False, **options) as server:
        assert server.infer("mine", x=X)["x"].tolist() == [3, 6]
        assert server.infer("mine", {"x": [3, 4]}, outputs=["x"])["x"].tolist() == [9, 12]


def test_a_script_that_serves_itself_is_a_model_s_file_too(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    with pytest.raises(kserve_v2.StartupError, match="was called by a file that a server loads as a model"):
        kserve_v2.serve(path, port=0, block=False)
    mark = '@kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"y": ("FP32", [2])})'
    code = SCRIPT.replace("def double", f"{mark}\ndef double")
    path.write_text(code.replace("kserve_v2.serve(", 'if __name__ == "__main__": kserve_v2.serve('))
    with kserve_v2.serve(path, port=0, block=False) as server:
        assert server.infer("script", x=X)["y"].tolist() == [2, 4]


def test_live_objects_are_of_this_process_alone(tmp_path: Path) -> None:
    with pytest.raises(kserve_v2.StartupError, match="is served by that program alone"):
        kserve_v2.serve(double, port=0, block=False, isolate="python")
