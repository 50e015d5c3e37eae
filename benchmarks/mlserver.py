"""This server beside a real MLServer: the same folder of models, the same requests, in turns.

    python -m benchmarks.mlserver .venv/bin .venv-mlserver/bin [--seconds 5] [--rounds 5]

Needs wrk and Linux; `make compare-mlserver` makes MLServer's environment. The model is a class of `MLModel` with
`decode_args`: an MLP of 256 inputs in NumPy, so that most of what is measured is what the servers do. MLServer is asked
twice: with the models in its own process (`parallel_workers` 0), and with one worker, which is its default; here they
have a process of their own either way. CPU time is that of all processes of a server together, for each request.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load.exchange import RestExchange
from benchmarks.load.wrk import Wrk
from benchmarks.torchserve import Rounds, Seen, cells, cpu_ns
from tests.mlserver.compare import free_ports, start

CONNECTIONS = (1, 16)
WORKERS = (0, 1)
MODEL = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args


class Mlp(MLModel):
    async def load(self) -> bool:
        random = np.random.default_rng(0)
        self.first = random.standard_normal((256, 256), np.float32)
        self.last = random.standard_normal((256, 10), np.float32)
        return True

    @decode_args
    async def predict(self, x: np.ndarray) -> np.ndarray:
        return (np.maximum(x @ self.first, 0) @ self.last).argmax(1)
"""
INPUT = {"name": "x", "shape": [1, 256], "datatype": "FP32", "data": [0.5] * 256}
BODY = json.dumps({"inputs": [INPUT]}).encode()


@contextmanager
def both(ours: Path, theirs: Path, folder: Path, workers: int) -> Iterator[list[tuple[int, int]]]:
    """MLServer and this server, each as its port and its process."""
    models = folder / "models"
    model = models / "mlp"
    shutil.rmtree(models, ignore_errors=True)
    model.mkdir(parents=True)
    (model / "network.py").write_text(MODEL)
    (model / "model-settings.json").write_text(json.dumps({"name": "mlp", "implementation": "network.Mlp"}))
    ports = free_ports(6)
    settings = {
        "host": "127.0.0.1",
        "http_port": ports[0],
        "grpc_port": ports[1],
        "metrics_port": ports[2],
        "parallel_workers": workers,
    }
    (models / "settings.json").write_text(json.dumps(settings))
    names = ("--http-port", "--grpc-port", "--metrics-port")
    flags = [text for pair in zip(names, map(str, ports[3:]), strict=True) for text in pair]
    processes = []
    try:
        processes.append(start([f"{theirs}/mlserver", "start", "models"], folder, ports[0]))
        processes.append(start([f"{ours}/kserve-v2", "serve", "models", *flags], folder, ports[3]))
        yield [(ports[0], processes[0].pid), (ports[3], processes[1].pid)]
    finally:
        for each in processes:
            each.terminate()
            each.wait()


def measure(ours: Path, theirs: Path, workers: int, seconds: int, rounds: int) -> dict[int, Rounds]:
    """MLServer and this server in each round, by connections."""
    found: dict[int, Rounds] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with both(ours, theirs, folder, workers) as sides:
            wrk = Wrk(folder)
            for number in range(rounds + 1):
                for connections in CONNECTIONS:
                    seen: dict[int, Seen] = {}
                    # They take turns at going first, and the first round only warms up.
                    for side in (0, 1) if number % 2 else (1, 0):
                        port, pid = sides[side]
                        before = cpu_ns(pid)
                        url = f"http://127.0.0.1:{port}/v2/models/mlp/infer"
                        exchange = RestExchange(url, BODY, {"Content-Type": "application/json"})
                        load = wrk.run(exchange, connections, seconds if number else 2)
                        cpu_us = (cpu_ns(pid) - before) / load.requests / 1000
                        seen[side] = Seen(load.requests / load.seconds, cpu_us)
                    if number:
                        found.setdefault(connections, []).append((seen[0], seen[1]))
    return found


HEAD = """| MLServer's parallel_workers | connections | MLServer | here | throughput, ratio | CPU, ratio |
|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("ours", type=Path, help="the bin folder of this server's environment")
    parser.add_argument("theirs", type=Path, help="that of MLServer's")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("it takes wrk, which is not there")
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before\n\n{HEAD}")
    for workers in WORKERS:
        ours, theirs = options.ours.absolute(), options.theirs.absolute()
        for connections, rounds in measure(ours, theirs, workers, options.seconds, options.rounds).items():
            print(f"| {workers} | {connections} | {cells(rounds)} |", flush=True)


if __name__ == "__main__":
    main()
