"""What others' requests add to the latency of a small one: `python -m benchmarks.beside [--seconds 5] [--processes 1]`.

`add_sub` is asked at a modest constant rate, in turns alone and beside a client that asks, again and again, for
something slow or large: a handler of 50 ms; 10 MiB in binary over REST, there and back; as JSON there, and there and
back; compressed; over gRPC. Latency counts from the time when a request was due. The exit status is 0 if the median
round's p99 grows by no more than 5 ms beside any of them, on a machine where nothing else runs.
"""

import argparse
import gzip
import http.client
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median

import grpc
import numpy as np

from benchmarks.processes import Child, serve
from kserve_v2._generated import grpc_service_pb2 as pb

MOST_MS = 5.0
_MODELS = {
    "add_sub": """
class Model:
    inputs = {"A": ("INT32", [16]), "B": ("INT32", [16])}
    outputs = {"SUM": ("INT32", [16]), "DIFFERENCE": ("INT32", [16])}
    def __call__(self, inputs):
        return {"SUM": inputs["A"] + inputs["B"], "DIFFERENCE": inputs["A"] - inputs["B"]}
""",
    "slow": """
import time
class Model:
    inputs = {"A": ("INT32", [16])}
    outputs = {"B": ("INT32", [16])}
    def __call__(self, inputs):
        time.sleep(0.05)
        return {"B": inputs["A"]}
""",
    "echo": """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"Y": ("FP32", [-1])}
    def __call__(self, inputs):
        return {"Y": inputs["X"]}
""",
    "sink": """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"Y": ("FP32", [-1])}
    def __call__(self, inputs):
        return {"Y": inputs["X"][:4]}
""",
}
_PER_SECOND = 100
_ROUNDS = 5
# 10 MiB of values, and about as much of text.
_VALUES, _TEXTS = 2_621_440, 1_100_000
_IDENTITY = {"Accept-Encoding": "identity"}

Disturbance = tuple[str, str, bytes, dict[str, str]]
"""`rest` or `grpc`, the model, the body and its headers."""


def _disturbances() -> dict[str, Disturbance]:
    small = json.dumps({"inputs": [_announced("A", "INT32", 16, data=[1] * 16)]}).encode()
    values = np.random.default_rng(1).random(_VALUES, np.float32)
    head = json.dumps(
        {
            "inputs": [_announced("X", "FP32", _VALUES, parameters={"binary_data_size": values.nbytes})],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    binary = {**_IDENTITY, "Inference-Header-Content-Length": str(len(head))}
    body = head + values.tobytes()
    text = json.dumps(
        {"inputs": [_announced("X", "FP32", _TEXTS, data=values[:_TEXTS].astype(float).round(7).tolist())]}
    ).encode()
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[_VALUES])
    message = pb.ModelInferRequest(
        model_name="echo", inputs=[tensor], raw_input_contents=[values.tobytes()]
    ).SerializeToString()
    return {
        "a handler of 50 ms": ("rest", "slow", small, _IDENTITY),
        "REST binary, there and back": ("rest", "echo", body, binary),
        "REST JSON": ("rest", "sink", text, _IDENTITY),
        "REST JSON, there and back": ("rest", "echo", text, _IDENTITY),
        "REST binary, gzip": ("rest", "sink", gzip.compress(body, 1), {**binary, "Content-Encoding": "gzip"}),
        "REST binary, gzip back": ("rest", "echo", body, {**binary, "Accept-Encoding": "gzip"}),
        "gRPC, there and back": ("grpc", "echo", message, {}),
    }


def _announced(name: str, datatype: str, count: int, **more: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [count], **more}


def _disturb(urls: dict[str, str], disturbance: Disturbance, stop: Event, begun: Event) -> None:
    """Ask until told to stop."""
    kind, model, body, headers = disturbance
    ask: Callable[[], object]
    if kind == "grpc":
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channel = grpc.insecure_channel(urls["gRPC"], options=options)
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", _as_it_is, _as_it_is)
        ask = lambda: call(body)  # noqa: E731
    else:
        connection = http.client.HTTPConnection(urls["REST"].removeprefix("http://"))
        ask = lambda: _post(connection, model, body, headers)  # noqa: E731
    while not stop.is_set():
        ask()
        begun.set()


def _as_it_is(data: bytes) -> bytes:
    return data


def _post(connection: http.client.HTTPConnection, model: str, body: bytes, headers: dict[str, str]) -> None:
    connection.request("POST", f"/v2/models/{model}/infer", body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(content[:200].decode(errors="replace"))


@contextmanager
def _beside(server: Child, disturbance: Disturbance | None) -> Iterator[None]:
    if disturbance is None:
        yield
        return
    spawn = multiprocessing.get_context("spawn")
    stop, begun = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_disturb, args=(server.urls, disturbance, stop, begun), daemon=True)
    process.start()
    if not begun.wait(60):
        raise RuntimeError("the other client gets no answers")
    yield
    stop.set()
    process.join()


def _p99_ms(server: Child, seconds: float) -> float:
    """Of `add_sub`, from when requests were due."""
    body = json.dumps({"inputs": [_announced(name, "INT32", 16, data=[1] * 16) for name in "AB"]}).encode()
    connection = server.connect()
    took: list[float] = []
    begin = time.perf_counter()
    for number in range(round(seconds * _PER_SECOND)):
        due = begin + number / _PER_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        _post(connection, "add_sub", body, _IDENTITY)
        took.append(time.perf_counter() - due)
    connection.close()
    return float(np.quantile(took, 0.99)) * 1e3


def main() -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--processes", default="1", help="of the server (default: 1)")
    options = parser.parse_args()
    added: list[float] = []
    with tempfile.TemporaryDirectory(prefix="kserve-v2-beside-") as directory:
        repository = Path(directory, "models")
        for name, code in _MODELS.items():
            (repository / name / "1").mkdir(parents=True)
            (repository / name / "1" / "model.py").write_text(code)
        flags = [f"--processes={options.processes}", "--log-info=false"]
        with serve(repository, [*_MODELS], Path(directory, "server.log"), more_flags=flags) as server:
            _p99_ms(server, 1)
            print("beside | p99 alone, ms | p99 beside it, ms | added, ms")
            for name, disturbance in _disturbances().items():
                rounds: list[tuple[float, float]] = []
                for _ in range(_ROUNDS):
                    alone = _p99_ms(server, options.seconds)
                    with _beside(server, disturbance):
                        rounds.append((alone, _p99_ms(server, options.seconds)))
                added.append(median(beside - alone for alone, beside in rounds))
                alone, beside = (median(each) for each in zip(*rounds, strict=True))
                print(f"{name:28} | {alone:7.2f} | {beside:7.2f} | {added[-1]:+.2f}", flush=True)
    return 0 if max(added) <= MOST_MS else 1


if __name__ == "__main__":
    sys.exit(main())
