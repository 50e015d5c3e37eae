"""The built-in load generator: one process, one event loop, plain sockets, requests made beforehand.

It needs nothing but Python, and compares every answer byte for byte. `python -m benchmarks.load.builtin` is
the process: it reads its job as JSON from standard input and prints what it saw as JSON.
"""

import asyncio
import base64
import json
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import uvloop

from benchmarks.load.connections import Connection, connection_to
from benchmarks.load.exchange import GrpcExchange, LoadError, RestExchange, VariedGrpc, VariedRest
from benchmarks.load.generator import Latency, Load, timed_run

Exchange = RestExchange | GrpcExchange


class Builtin:
    """Runs this module as a process. For REST and for gRPC."""

    name = "built-in"
    module = __name__
    """What is run: it gets the job, and prints what it saw."""

    def run(self, exchange: Exchange, connections: int, seconds: int) -> Load:
        """See `Generator.run`."""
        job = {"exchange": to_json(exchange), "connections": connections, "seconds": seconds}
        return run_job(self.module, job, seconds)


def run_job(module: str, job: Mapping[str, object], seconds: float) -> Load:
    """Run a module that loads as a process; what it saw. Raises LoadError if an answer was wrong or did not come."""
    output, busy = timed_run([sys.executable, "-m", module], seconds, json.dumps(job))
    seen = json.loads(output)
    if seen["failure"]:
        raise LoadError(seen["failure"])
    return Load(seen["requests"], seen["seconds"], Latency(**seen["latency"]), busy, seen.get("uncounted", 0))


def to_json(exchange: Exchange) -> dict[str, object]:
    """An exchange as a process gets it."""
    members: dict[str, object] = {"answer": _text(exchange.answer)}
    if isinstance(exchange, RestExchange):
        members |= {"url": exchange.url, "headers": exchange.headers, "body": _text(exchange.body)}
    else:
        members |= {"target": exchange.target, "message": _text(exchange.message)}
    if isinstance(exchange, VariedGrpc):
        members |= {"kind": exchange.kind, "never": exchange.never}
    if isinstance(exchange, VariedRest):
        members |= {"kind": exchange.kind, "others": [to_json(other) for other in exchange.others]}
    return members


def from_json(members: dict[str, object]) -> Exchange:
    """The reverse of `to_json`."""
    decoded: dict[str, Any] = {
        name: base64.b64decode(str(value)) if name in ("body", "message", "answer") else value
        for name, value in members.items()
    }
    if "others" in decoded:
        others = [from_json(other) for other in decoded.pop("others")]
        return VariedRest(
            **decoded, others=tuple(other for other in others if isinstance(other, RestExchange))
        )
    if "url" in decoded:
        return RestExchange(**decoded)
    return VariedGrpc(**decoded) if "kind" in decoded else GrpcExchange(**decoded)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class ClosedLoop:
    """Every connection sends its next request when it has the answer to its last one."""

    def __init__(self) -> None:
        self.latencies_ns = array("q")
        self.over = asyncio.Event()
        self.failure = ""

    def answered(self, connection: Connection) -> None:
        """See `connections.Loop`."""
        now_ns = time.perf_counter_ns()
        self.latencies_ns.append(now_ns - connection.started_ns)
        if not self.over.is_set():
            connection.send(now_ns)

    def fail(self, text: str) -> None:
        """See `connections.Loop`."""
        if not self.over.is_set():
            self.failure = text
            self.over.set()


async def load(exchanges: Sequence[Exchange], seconds: float) -> dict[str, object]:
    """Run the closed loop, with one connection for each exchange; what it saw."""
    closed = ClosedLoop()
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(partial(connection_to, exchange, closed), *exchange.address))[1]
        for exchange in exchanges
    ]
    start_ns = time.perf_counter_ns()
    loop.call_later(seconds, closed.over.set)
    for connection in made:
        connection.send(start_ns)
    await closed.over.wait()
    elapsed = (time.perf_counter_ns() - start_ns) / 1e9
    return {"seconds": elapsed, **summary(closed.latencies_ns, closed.failure)}


def summary(latencies_ns: "array[int]", failure: str) -> dict[str, object]:
    """What a process that loads tells of its run."""
    failure = failure or ("" if latencies_ns else "no answer came")
    if failure:
        return {"failure": failure}
    latency = Latency.of(nanoseconds / 1000 for nanoseconds in latencies_ns)
    return {"failure": "", "requests": len(latencies_ns), "latency": asdict(latency)}


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    print(json.dumps(uvloop.run(load([from_json(job["exchange"])] * job["connections"], job["seconds"]))))


if __name__ == "__main__":
    main()
