"""Requests at a constant rate, whether or not the answers keep up: `python -m benchmarks.load.open_loop`.

A request has its time to be sent, the number of its predecessors over the rate. Its latency counts from then, also if
it was sent later because all connections were still waiting for answers, or because this process was late. So a server
that stops for a while pays for every request that fell into it (no coordinated omission).

It runs on asyncio's own loop with select(2): uvloop and epoll keep time in milliseconds.
"""

import asyncio
import json
import selectors
import sys
import time
from array import array
from collections import deque

from benchmarks.load.builtin import Exchange, from_json, run_job, summary, to_json
from benchmarks.load.connections import Connection, connection_to
from benchmarks.load.generator import Load

_DRAIN_SECONDS = 10


def run_open_loop(exchange: Exchange, connections: int, seconds: int, per_second: float) -> Load:
    """Load a server from a process of its own. Raises LoadError if an answer is wrong or does not come."""
    job = {
        "exchange": to_json(exchange), "connections": connections, "seconds": seconds, "per_second": per_second,
    }  # fmt: skip
    return run_job(__name__, job, seconds + _DRAIN_SECONDS)


class OpenLoop:
    """Sends `requests` requests at their times, each over the first connection that is free."""

    def __init__(self, requests: int, per_second: float) -> None:
        self.latencies_ns = array("q")
        self.over = asyncio.Event()
        self.failure = ""
        self._requests = requests
        self._interval_ns = 1e9 / per_second
        self._free: list[Connection] = []
        self._late: deque[int] = deque()
        self._begun = 0
        self._start_ns = 0

    def start(self, connections: list[Connection]) -> None:
        """From now on."""
        self._free = connections
        self._start_ns = time.perf_counter_ns()
        self._send_due()

    def answered(self, connection: Connection) -> None:
        """See `connections.Loop`."""
        self.latencies_ns.append(time.perf_counter_ns() - connection.started_ns)
        if self._late:
            connection.send(self._late.popleft())
        else:
            self._free.append(connection)
        if len(self.latencies_ns) == self._requests:
            self.over.set()

    def fail(self, text: str) -> None:
        """See `connections.Loop`."""
        if not self.over.is_set():
            self.failure = text
            self.over.set()

    def _send_due(self) -> None:
        """Send what is due, and come back when the next is."""
        now_ns = time.perf_counter_ns()
        while self._begun < self._requests:
            due_ns = self._start_ns + round(self._begun * self._interval_ns)
            if due_ns > now_ns:
                asyncio.get_running_loop().call_later((due_ns - now_ns) / 1e9, self._send_due)
                break
            self._begun += 1
            if self._free:
                self._free.pop().send(due_ns)
            else:
                self._late.append(due_ns)


async def load(exchange: Exchange, connections: int, seconds: float, per_second: float) -> dict[str, object]:
    """Run the open loop; what it saw."""
    opened = OpenLoop(max(1, round(seconds * per_second)), per_second)
    loop = asyncio.get_running_loop()
    made: list[Connection] = [
        (await loop.create_connection(lambda: connection_to(exchange, opened), *exchange.address))[1]
        for _ in range(connections)
    ]
    start = time.perf_counter()
    opened.start(made)
    try:
        await asyncio.wait_for(opened.over.wait(), seconds + _DRAIN_SECONDS)
    except TimeoutError:
        opened.fail(f"the server does not keep up with {per_second:.0f} requests per second")
    return {"seconds": time.perf_counter() - start, **summary(opened.latencies_ns, opened.failure)}


def _select_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    with asyncio.Runner(loop_factory=_select_loop) as runner:
        seen = runner.run(
            load(from_json(job["exchange"]), job["connections"], job["seconds"], job["per_second"])
        )
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
