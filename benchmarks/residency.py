"""The command `python -m benchmarks.residency`: more models than memory, beside a server with memory for all.

1,000 small models lie in the repository, and clients ask for them by a Zipf distribution: the k-th most popular one
with a probability in proportion to 1/k**s. One server loads them on demand and may keep 50 in memory. Another one is
told nothing of memory, and has loaded all that were asked for before. Reported are the rate of hits (requests whose
model was there), and the latencies as the clients see them. `--write` writes residency.svg. The exit status is 0 if
every request was answered.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.lines import Series, svg
from benchmarks.processes import Child, serve

_PICTURE = Path(__file__).with_name("residency.svg")
_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
_LOADED = "ready: "


@dataclass(frozen=True, slots=True)
class Found:
    """Of one server: what of the requests found their model loaded, latencies in ms, ascending, and failures."""

    name: str
    hits: float
    latencies: Sequence[float]
    failures: int

    def quantile(self, part: float) -> float:
        """The latency that this part of the requests has not exceeded."""
        return self.latencies[min(len(self.latencies) - 1, int(part * len(self.latencies)))]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.residency", description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--room", type=int, default=50, help="for so many models (default: 50)")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--exponent", type=float, default=1.1, help="s of the distribution (default: 1.1)")
    parser.add_argument("--kilobytes", type=int, default=256, help="of weights in each model (default: 256)")
    parser.add_argument("--write", action="store_true", help=f"write {_PICTURE.name}")
    options = parser.parse_args(argv)
    asked = zipf(options.models, options.requests, options.exponent)
    with tempfile.TemporaryDirectory(prefix="kserve-v2-residency-") as directory:
        repository = Path(directory, "models")
        size = write_models(repository, options.models, options.kilobytes)
        log_path = Path(directory, "server.log")
        found = []
        for name, flags in (
            (
                f"room for {options.room}",
                [f"--memory-budget=cpu={size * options.room}", "--memory-min-idle-secs=0"],
            ),
            ("unlimited", []),
        ):
            with serve(
                repository, [], log_path, more_flags=["--model-control-mode=on-demand", *flags]
            ) as server:
                if not flags:
                    _ask(server, sorted(set(asked)), options.clients)
                loads = log_path.read_text().count(_LOADED)
                latencies, failures = _ask(server, asked, options.clients)
                loads = log_path.read_text().count(_LOADED) - loads
            found.append(Found(name, 1 - loads / len(asked), sorted(latencies), failures))
    report(found)
    if options.write:
        _PICTURE.write_text(picture(found))
    return 0 if not any(each.failures for each in found) else 1


def report(found: Sequence[Found]) -> None:
    """Print a table."""
    print("server | hits | " + " | ".join(f"p{100 * part:g}, ms" for part in _QUANTILES) + " | failures")
    for each in found:
        quantiles = " | ".join(f"{each.quantile(part):8.2f}" for part in _QUANTILES)
        print(f"{each.name:14} | {each.hits:6.1%} | {quantiles} | {each.failures}")


def picture(found: Sequence[Found]) -> str:
    """Latencies by the part of the requests that they are not exceeded by."""
    series: Series = {
        f"{each.name} ({each.hits:.1%} hits)": [(n, each.quantile(n / 1000)) for n in range(0, 1000, 5)]
        for each in found
    }
    return svg({"Latency that so many of 1,000 requests do not exceed": (series, "requests", "ms")})


def zipf(models: int, requests: int, exponent: float) -> list[int]:
    """Which model each request asks for: the same ones every time."""
    weights = 1 / np.arange(1, models + 1) ** exponent
    random = np.random.default_rng(12)
    # The most popular ones are not those whose names come first.
    order = random.permutation(models)
    drawn = random.choice(models, requests, p=weights / weights.sum())
    return [int(each) for each in order[drawn]]


def write_models(repository: Path, models: int, kilobytes: int) -> int:
    """Models that add a number of their own. Returns the size of a file."""
    size = 0
    for number in range(models):
        weights = np.full(kilobytes * 256, number, np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("ReduceMax", ["w"], ["n"], keepdims=0),
                helper.make_node("Add", ["x", "n"], ["y"]),
            ],
            "add",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
            [numpy_helper.from_array(weights, "w")],
        )
        version = repository / f"m{number:05}" / "1"
        version.mkdir(parents=True)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, version / "model.onnx")
        size = max(size, (version / "model.onnx").stat().st_size)
    return size


def _ask(server: Child, models: Sequence[int], clients: int) -> tuple[list[float], int]:
    """Each client takes the next model. Returns latencies in ms, and how many answers were not what they should be."""
    turns, lock = iter(models), threading.Lock()
    latencies: list[float] = []
    failures = 0

    def run() -> None:
        nonlocal failures
        connection = server.connect(timeout_s=120)
        while True:
            with lock:
                number = next(turns, None)
            if number is None:
                connection.close()
                return
            began_s = time.perf_counter()
            right = _right(connection, number)
            took_ms = 1000 * (time.perf_counter() - began_s)
            with lock:
                latencies.append(took_ms)
                failures += not right

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, failures


def _right(connection: http.client.HTTPConnection, number: int) -> bool:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    connection.request("POST", f"/v2/models/m{number:05}/infer", json.dumps(body))
    response = connection.getresponse()
    text = response.read()
    return response.status == 200 and json.loads(text)["outputs"][0]["data"] == [number + 1]


if __name__ == "__main__":
    sys.exit(main())
