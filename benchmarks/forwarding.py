"""What it costs to hand a request to another process: CPU time above that of the same request at the process itself.

    python -m benchmarks.forwarding [--requests 20000] [--connections 1 16]

A server in two processes is started (`tests/processes/front.py`): a home, and a worker without models that hands
everything to it. The same requests are sent to the home's port, and to the worker's, in turns; the CPU time is that of
both processes together.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

ROOT = Path(__file__).resolve().parent.parent

_HANDLER = """
class Model:
    inputs = {"A": ("INT32", [16]), "B": ("INT32", [16])}
    outputs = {"SUM": ("INT32", [16]), "DIFFERENCE": ("INT32", [16])}
    def __call__(self, inputs):
        return {"SUM": inputs["A"] + inputs["B"], "DIFFERENCE": inputs["A"] - inputs["B"]}
"""

_ROUNDS = 5


@contextmanager
def _server(root: Path) -> Iterator[tuple[list[int], dict[str, tuple[str, int]]]]:
    """Ids of both processes; where the home and the worker listen."""
    version = root / "add_sub" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(_HANDLER)
    command = [
        sys.executable, "-m", "tests.processes.front", f"--model-repository={root}",
        "--http-port=0", "--grpc-port=0", "--metrics-port=0",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        said: dict[str, str] = {}
        while "gRPC" not in said:
            name, _, rest = process.stdout.readline().partition(" ")
            said[name] = rest.strip()
        places = {"home": _place(said["Home"].split()[0]), "worker": _place(said["REST"])}
        yield [process.pid, int(said["Worker"])], places
        process.terminate()


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def _request() -> bytes:
    values = list(range(16))
    inputs = [{"name": name, "datatype": "INT32", "shape": [16], "data": values} for name in "AB"]
    body = json.dumps({"inputs": inputs}).encode()
    head = f"POST /v2/models/add_sub/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Client(asyncio.Protocol):
    """Sends the request again and again."""

    def __init__(self, request: bytes, count: int, done: "asyncio.Future[None]") -> None:
        self._request = request
        self._left = count
        self._done = done
        self._answer_bytes = 0
        self._read_bytes = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        assert self._transport is not None  # noqa: S101 - there is a connection
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._answer_bytes:
            if not data.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"not answered: {data[:200]!r}")
            # All answers are alike, and come in one piece.
            self._answer_bytes = len(data)
        self._read_bytes += len(data)
        if self._read_bytes < self._answer_bytes:
            return
        self._read_bytes = 0
        self._left -= 1
        if self._left:
            self._send()
        elif not self._done.done():
            assert self._transport is not None  # noqa: S101 - as above
            self._transport.close()
            self._done.set_result(None)


async def _load(place: tuple[str, int], connections: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    request = _request()
    done = [loop.create_future() for _ in range(connections)]
    for each in done:
        await loop.create_connection(partial(_Client, request, count // connections, each), *place)
    await asyncio.gather(*done)


def _cpu_ns(pids: list[int]) -> int:
    """CPU time of the processes' threads, by the scheduler's own account."""
    paths = [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in paths)


def _measure(pids: list[int], place: tuple[str, int], connections: int, count: int) -> float:
    """CPU microseconds of a request."""
    before = _cpu_ns(pids)
    uvloop.run(_load(place, connections, count))
    return (_cpu_ns(pids) - before) / count / 1000


def main() -> None:
    """Print a line for each number of connections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="in a round")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, _server(Path(root)) as (pids, places):
        for place in places.values():
            _measure(pids, place, 4, 2000)
        for connections in arguments.connections:
            rounds = [
                [_measure(pids, places[name], connections, arguments.requests) for name in ("home", "worker")]
                for _ in range(_ROUNDS)
            ]
            direct, forwarded = (median(column) for column in zip(*rounds, strict=True))
            print(
                f"{connections:3} connections: {direct:6.1f} us at the home, {forwarded:6.1f} us forwarded: "
                f"{forwarded - direct:6.1f} us more"
            )


if __name__ == "__main__":
    main()
