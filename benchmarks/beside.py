"""What others' requests add to the latency of a small one: `python -m benchmarks.beside [--seconds 5] [--processes 1]`.

`add_sub` is asked at a modest constant rate, in turns alone, beside a client that has a process elsewhere on the
machine move bytes, and beside the same client when it asks the server, again and again, for something slow or large: a
handler of 50 ms; 10 MiB in binary over REST, there and back; as JSON; compressed; in chunks; over `generate`, v1, gRPC.
Latency counts from the time when a request was due.

Where there are few cores, all that run wait for each other, and large copies wait for memory, whoever makes them. That
is what `elsewhere` shows: the same requests, answered by `yardsticks.mover`. The exit status is 0 if the median round's
p99 grows by no more than 5 ms more than that beside any of them, on a machine where nothing else runs.
"""

import argparse
import gzip
import http.client
import json
import multiprocessing
import queue
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import grpc
import numpy as np

from benchmarks.processes import Child, child, serve
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

_SERVICE = "/inference.GRPCInferenceService/"
_UNLIMITED: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class _Disturbance(NamedTuple):
    """Over REST, or by way of a gRPC method: what is asked for. `chunk_bytes`: if the body is sent in chunks."""

    path: str
    body: bytes
    headers: Mapping[str, str] | None = None
    chunk_bytes: int = 0
    compression: grpc.Compression = grpc.Compression.NoCompression


def _disturbances() -> dict[str, _Disturbance]:
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
    numbers = values[:_TEXTS].astype(float).round(7).tolist()
    text = json.dumps({"inputs": [_announced("X", "FP32", _TEXTS, data=numbers)]}).encode()
    generate, v1 = json.dumps({"X": numbers}).encode(), json.dumps({"inputs": numbers}).encode()
    message = _message("echo", values)
    with_parameter = _message("echo", values)
    with_parameter.parameters["seed"].int64_param = 1
    unary, stream = f"{_SERVICE}ModelInfer", f"{_SERVICE}ModelStreamInfer"
    grpc_body = message.SerializeToString()
    return {
        "a handler of 50 ms": _Disturbance(_infer("slow"), small, _IDENTITY),
        "REST binary, there and back": _Disturbance(_infer("echo"), body, binary),
        "REST binary, in chunks": _Disturbance(_infer("echo"), body, binary, chunk_bytes=1024 * 1024),
        "REST binary, gzip": _Disturbance(
            _infer("sink"), gzip.compress(body, 1), {**binary, "Content-Encoding": "gzip"}
        ),
        "REST binary, gzip back": _Disturbance(_infer("echo"), body, {**binary, "Accept-Encoding": "gzip"}),
        "REST JSON": _Disturbance(_infer("sink"), text, _IDENTITY),
        "REST JSON, there and back": _Disturbance(_infer("echo"), text, _IDENTITY),
        "generate": _Disturbance("/v2/models/sink/generate", generate, _IDENTITY),
        "generate, there and back": _Disturbance("/v2/models/echo/generate", generate, _IDENTITY),
        "v1": _Disturbance("/v1/models/sink:predict", v1, _IDENTITY),
        "v1, there and back": _Disturbance("/v1/models/echo:predict", v1, _IDENTITY),
        "gRPC, there and back": _Disturbance(unary, grpc_body),
        "gRPC with a parameter": _Disturbance(unary, with_parameter.SerializeToString()),
        "gRPC, a stream": _Disturbance(stream, grpc_body),
        "gRPC, gzip": _Disturbance(
            unary, _message("sink", values).SerializeToString(), compression=grpc.Compression.Gzip
        ),
    }


def _infer(model: str) -> str:
    return f"/v2/models/{model}/infer"


def _message(model: str, values: "np.ndarray[Any, Any]") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[values.size])
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[values.tobytes()])


def _announced(name: str, datatype: str, count: int, **more: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [count], **more}


def _disturb(urls: dict[str, str], disturbance: _Disturbance, stop: Event, begun: Event) -> None:
    """Ask until told to stop."""
    ask = (_by_grpc if disturbance.path.startswith(_SERVICE) else _by_rest)(urls, disturbance)
    while not stop.is_set():
        ask()
        begun.set()


def _by_grpc(urls: dict[str, str], disturbance: _Disturbance) -> Callable[[], object]:
    path, body, *_, compression = disturbance
    channel = grpc.insecure_channel(urls["gRPC"], options=_UNLIMITED, compression=compression)
    if not path.endswith("ModelStreamInfer"):
        call = channel.unary_unary(path, _as_it_is, _as_it_is)
        return lambda: call(body)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    answers = iter(channel.stream_stream(path, _as_it_is, _as_it_is)(iter(requests.get, b"")))

    def ask() -> object:
        requests.put(body)
        return next(answers)

    return ask


def _as_it_is(data: bytes) -> bytes:
    return data


def _by_rest(urls: dict[str, str], disturbance: _Disturbance) -> Callable[[], object]:
    path, body, headers, chunk_bytes, _ = disturbance
    connection = http.client.HTTPConnection(urls["REST"].removeprefix("http://"))
    if not chunk_bytes:
        return lambda: _post(connection, path, body, headers)
    view = memoryview(body)
    chunks = [view[start : start + chunk_bytes] for start in range(0, len(body), chunk_bytes)]
    return lambda: _post(connection, path, iter(chunks), headers)


def _post(
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes | Iterator[memoryview],
    headers: Mapping[str, str] | None,
) -> None:
    connection.request("POST", path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(content[:200].decode(errors="replace"))


@contextmanager
def _beside(urls: dict[str, str], disturbance: _Disturbance) -> Iterator[None]:
    spawn = multiprocessing.get_context("spawn")
    stop, begun = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_disturb, args=(urls, disturbance, stop, begun), daemon=True)
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
        _post(connection, _infer("add_sub"), body, _IDENTITY)
        took.append(time.perf_counter() - due)
    connection.close()
    return float(np.quantile(took, 0.99)) * 1e3


def _round(
    server: Child, mover: Child, disturbance: _Disturbance, seconds: float
) -> tuple[float, float, float]:
    """The p99 alone, beside the bytes elsewhere, and beside the disturbance."""
    alone = _p99_ms(server, seconds)
    with _beside(mover.urls, disturbance):
        elsewhere = _p99_ms(server, seconds)
    with _beside(server.urls, disturbance):
        return alone, elsewhere, _p99_ms(server, seconds)


def _report(name: str, rounds: list[tuple[float, float, float]]) -> float:
    """Print a line. Returns what the server adds to what the machine does."""
    alone, elsewhere, beside = (median(each) for each in zip(*rounds, strict=True))
    added = median(each[2] - each[0] for each in rounds)
    more = median(each[2] - each[1] for each in rounds)
    print(
        f"{name:29} | {alone:5.2f} | {elsewhere:9.2f} | {beside:6.2f} | {added:+5.2f} | {more:+5.2f}",
        flush=True,
    )
    return more


def main() -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--processes", default="1", help="of the server (default: 1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="what is asked for has this in its name")
    options = parser.parse_args()
    added: list[float] = []
    with tempfile.TemporaryDirectory(prefix="kserve-v2-beside-") as directory:
        repository = Path(directory, "models")
        for name, code in _MODELS.items():
            (repository / name / "1").mkdir(parents=True)
            (repository / name / "1" / "model.py").write_text(code)
        flags = [f"--processes={options.processes}", "--log-info=false"]
        log = Path(directory, "server.log")
        with (
            serve(repository, [*_MODELS], log, more_flags=flags) as server,
            child(["benchmarks.yardsticks.mover"], {"REST", "gRPC"}, Path(directory, "mover.log")) as mover,
        ):
            _p99_ms(server, 1)
            print("p99 of add_sub in ms, beside  | alone | elsewhere | beside | added | more than elsewhere")
            for name, disturbance in _disturbances().items():
                if options.only in name:
                    rounds = [_round(server, mover, disturbance, options.seconds) for _ in range(_ROUNDS)]
                    added.append(_report(name, rounds))
    return 0 if max(added) <= MOST_MS else 1


if __name__ == "__main__":
    sys.exit(main())
