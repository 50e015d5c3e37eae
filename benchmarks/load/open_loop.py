"""Requests at a constant rate, whether or not the answers keep up: `python -m benchmarks.load.open_loop`.

A request has its time to be sent, the number of its predecessors over the rate. Its latency counts from then, also if
it was sent later because all connections were still waiting for answers, or because this process was late. So a server
that stops for a while pays for every request that fell into it (no coordinated omission).

It has a CPU of its own (see `cpus`), and never sleeps on it: who sleeps is woken up late, by more than a small request
takes. Nor is there an event loop, which would take longer for a request than the server does. If another program takes
the CPU all the same, then the latency of what was due or under way meanwhile, and of what is sent before all of that is
answered, is not the server's, and does not count.
"""

import asyncio
import gc
import json
import os
import selectors
import socket
import sys
import time
from array import array
from collections import deque

from benchmarks.load.builtin import Exchange, from_json, run_job, summary, to_json
from benchmarks.load.connections import Connection, connection_to
from benchmarks.load.cpus import generators_cpu
from benchmarks.load.generator import Load

_DRAIN_SECONDS = 10
_READ_BYTES = 256 * 1024
_PAUSE_NS = 100_000


def run_open_loop(exchange: Exchange, connections: int, seconds: int, per_second: float) -> Load:
    """Load a server from a process of its own, on the generator's CPU. Raises LoadError if an answer is wrong or does
    not come.
    """
    job = {
        "exchange": to_json(exchange), "connections": connections, "seconds": seconds, "per_second": per_second,
        "cpu": generators_cpu(),
    }  # fmt: skip
    return run_job(__name__, job, seconds + _DRAIN_SECONDS)


class Wire(asyncio.Transport):
    """Sends at once. What is sent is small, and fits into the socket's buffer."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__()
        self._socket = connected

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        self._socket.sendall(data)


class Latencies:
    """Those that are the server's."""

    def __init__(self) -> None:
        self.counted_ns = array("q")
        self.left_out_ns = array("q")
        self._of_turn: list[int] = []
        self._catching_up = False

    def add(self, latency_ns: int) -> None:
        """One of this turn."""
        self._of_turn.append(latency_ns)

    def end_turn(self, held_up: bool, all_answered: bool) -> None:
        """`held_up`: the generator was, in this turn. `all_answered`: nothing that was sent is under way."""
        self._catching_up |= held_up
        (self.left_out_ns if self._catching_up else self.counted_ns).extend(self._of_turn)
        self._of_turn.clear()
        self._catching_up &= not all_answered


class OpenLoop:
    """Sends `requests` requests at their times, each over the first connection that is free."""

    def __init__(self, requests: int, per_second: float) -> None:
        self.latencies = Latencies()
        self.failure = ""
        self._requests = requests
        self._interval_ns = 1e9 / per_second
        self._free: list[Connection] = []
        self._late: deque[int] = deque()
        self._begun = 0
        self._answered = 0
        self._start_ns = 0
        self._catching_up = False

    def run(self, connections: dict[socket.socket, Connection], seconds: float) -> None:
        """Until all answers are there; for so many seconds at the most."""
        self._free = list(connections.values())
        selector = selectors.DefaultSelector()
        for connected, connection in connections.items():
            selector.register(connected, selectors.EVENT_READ, (connected.recv, connection))
        self._start_ns = time.perf_counter_ns()
        end_ns = self._start_ns + round(seconds * 1e9)
        off_ns = _off_cpu_ns()
        while self._answered < self._requests and not self.failure:
            for key, _ in selector.select(0):
                receive, connection = key.data
                if data := receive(_READ_BYTES):
                    connection.data_received(data)
                else:
                    connection.connection_lost(None)
            if self._send_due() > end_ns:
                self.fail(
                    f"the server does not keep up with {1e9 / self._interval_ns:.0f} requests per second"
                )
            before_ns, off_ns = off_ns, _off_cpu_ns()
            self.latencies.end_turn(
                held_up=off_ns - before_ns > _PAUSE_NS, all_answered=self._answered == self._begun
            )

    def answered(self, connection: Connection) -> None:
        """See `connections.Loop`."""
        self._answered += 1
        self.latencies.add(time.perf_counter_ns() - connection.started_ns)
        if self._late:
            connection.send(self._late.popleft())
        else:
            self._free.append(connection)

    def fail(self, text: str) -> None:
        """See `connections.Loop`."""
        self.failure = self.failure or text

    def _send_due(self) -> int:
        """Send what is due. Returns the time."""
        now_ns = time.perf_counter_ns()
        while self._begun < self._requests:
            due_ns = self._start_ns + round(self._begun * self._interval_ns)
            if due_ns > now_ns:
                break
            self._begun += 1
            if self._free:
                self._free.pop().send(due_ns)
            else:
                self._late.append(due_ns)
        return now_ns


def _off_cpu_ns() -> int:
    """Grows by the time that this thread does not run. It has no other reason to stop: it polls."""
    return time.perf_counter_ns() - time.thread_time_ns()


def load(exchange: Exchange, connections: int, seconds: float, per_second: float) -> dict[str, object]:
    """Run the open loop; what it saw."""
    requests = max(1, round(seconds * per_second))
    opened = OpenLoop(requests, per_second)
    made = {}
    for _ in range(connections):
        connected = socket.create_connection(exchange.address)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = made[connected] = connection_to(exchange, opened)
        connection.connection_made(Wire(connected))
    # There is nothing to be collected, and to look for it would take longer than many answers.
    gc.disable()
    start = time.perf_counter()
    opened.run(made, seconds + _DRAIN_SECONDS)
    seconds = time.perf_counter() - start
    counted, left_out = opened.latencies.counted_ns, opened.latencies.left_out_ns
    # Where none counts, those that there are say at least that.
    seen = summary(counted or left_out, opened.failure)
    return {"seconds": seconds, **seen, "requests": requests, "uncounted": len(left_out)}


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    if job["cpu"] is not None:
        os.sched_setaffinity(0, {job["cpu"]})
    seen = load(from_json(job["exchange"]), job["connections"], job["seconds"], job["per_second"])
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
