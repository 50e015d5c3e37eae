"""What it costs to hand a request to another process: CPU time above that of the same request at the process itself.

    python -m benchmarks.forwarding [--requests 20000] [--connections 1 16 64]

A server in two processes is started (`tests/processes/front.py`): a home, and a worker without models that hands
everything to it. The same requests are sent to the home's ports, and to the worker's, in turns; the CPU time is that of
both processes together.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import uvloop

from kserve_v2.bench.connect import sender_to
from kserve_v2.bench.document import Document, Tensor
from kserve_v2.bench.encoding import ID_LENGTH, Form, prepare
from kserve_v2.bench.target import Target, parse_target

ROOT = Path(__file__).resolve().parent.parent

_HANDLER = """
class Model:
    inputs = {"A": ("INT32", [16]), "B": ("INT32", [16])}
    outputs = {"SUM": ("INT32", [16]), "DIFFERENCE": ("INT32", [16])}
    def __call__(self, inputs):
        return {"SUM": inputs["A"] + inputs["B"], "DIFFERENCE": inputs["A"] - inputs["B"]}
"""

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Server:
    """Ids of both processes, and for each protocol where the home and the worker listen."""

    pids: tuple[int, int]
    places: dict[str, tuple[Target, Target]]


@contextmanager
def _server(root: Path) -> Iterator[_Server]:
    version = root / "add_sub" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(_HANDLER)
    command = [
        sys.executable, "-m", "tests.processes.front", f"--model-repository={root}",
        "--http-port=0", "--grpc-port=0", "--metrics-port=0", "--log-info=false",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        said: dict[str, str] = {}
        for line in process.stdout:
            name, _, rest = line.partition(" ")
            said[name] = rest.strip()
            if name == "gRPC":
                break
        home_rest, home_grpc = said["Home"].split()
        places = {
            "REST": (parse_target(home_rest), parse_target(said["REST"])),
            "gRPC": (parse_target(f"grpc://{home_grpc}"), parse_target(f"grpc://{said['gRPC']}")),
        }
        yield _Server((process.pid, int(said["Worker"])), places)
        process.terminate()


def _request(target: Target) -> bytes:
    tensors = [Tensor(name, np.arange(16, dtype=np.int32)) for name in "AB"]
    return prepare(Document(tuple(tensors)), Form(target, "add_sub", binary=False)).bytes(b"1" * ID_LENGTH)


async def _load(target: Target, connections: int, count: int) -> None:
    request = _request(target)

    async def client() -> None:
        sender = sender_to(target, timeout_s=60)
        for _ in range(count // connections):
            problem = await sender.ask(request)
            if problem is not None:
                raise RuntimeError(problem)
        await sender.close()

    await asyncio.gather(*(client() for _ in range(connections)))


def _cpu_ns(pids: tuple[int, ...]) -> int:
    """CPU time of the processes' threads, by the scheduler's own account."""
    paths = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in paths)


def _measure(server: _Server, target: Target, connections: int, count: int) -> float:
    """CPU microseconds of a request."""
    before = _cpu_ns(server.pids)
    uvloop.run(_load(target, connections, count))
    return (_cpu_ns(server.pids) - before) / count / 1000


def main() -> None:
    """Print a line for each protocol and number of connections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="in a round")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, _server(Path(root)) as server:
        for protocol, targets in server.places.items():
            for target in targets:
                _measure(server, target, 4, 2000)
            for connections in arguments.connections:
                rounds = [
                    [_measure(server, target, connections, arguments.requests) for target in targets]
                    for _ in range(_ROUNDS)
                ]
                direct, forwarded = (median(column) for column in zip(*rounds, strict=True))
                print(
                    f"{protocol}, {connections:3} connections: {direct:6.1f} us at the home, "
                    f"{forwarded:6.1f} us forwarded: {forwarded - direct:6.1f} us more",
                    flush=True,
                )


if __name__ == "__main__":
    main()
