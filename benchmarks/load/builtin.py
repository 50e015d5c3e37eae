"""The built-in load generator: one process, one event loop, plain sockets, requests made beforehand.

It needs nothing but Python, and compares every answer byte for byte. `python -m benchmarks.load.builtin` is
the process: it reads its job as JSON from standard input and prints what it saw as JSON.
"""

import asyncio
import base64
import json
import statistics
import sys
import time
from collections.abc import Callable

import uvloop

from benchmarks.load.connections import Connection, GrpcConnection, RestConnection, Tally
from benchmarks.load.exchange import GrpcExchange, LoadError, RestExchange
from benchmarks.load.generator import Load, timed_run

Exchange = RestExchange | GrpcExchange


class Builtin:
    """Runs this module as a process. For REST and for gRPC."""

    name = "built-in"

    def run(self, exchange: Exchange, connections: int, seconds: int) -> Load:
        """See `Generator.run`."""
        job = {"exchange": to_json(exchange), "connections": connections, "seconds": seconds}
        output, busy = timed_run([sys.executable, "-m", __name__], seconds, json.dumps(job))
        seen = json.loads(output)
        if seen["failure"]:
            raise LoadError(seen["failure"])
        return Load(seen["requests"], seen["seconds"], seen["p50_us"], busy)


def to_json(exchange: Exchange) -> dict[str, object]:
    """An exchange as a process gets it."""
    if isinstance(exchange, RestExchange):
        members = {"url": exchange.url, "headers": exchange.headers, "body": _text(exchange.body)}
    else:
        members = {"target": exchange.target, "message": _text(exchange.message)}
    return {**members, "answer": _text(exchange.answer)}


def from_json(members: dict[str, object]) -> Exchange:
    """The reverse of `to_json`."""
    decoded = {
        name: base64.b64decode(str(value)) if name in ("body", "message", "answer") else value
        for name, value in members.items()
    }
    return RestExchange(**decoded) if "url" in decoded else GrpcExchange(**decoded)  # type: ignore[arg-type]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def load(exchange: Exchange, connections: int, seconds: float) -> dict[str, object]:
    """Run the closed loop; what it saw."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(_factory(exchange, tally), *exchange.address))[1]
        for _ in range(connections)
    ]
    start = time.perf_counter()
    loop.call_later(seconds, tally.over.set)
    for connection in made:
        connection.send()
    await tally.over.wait()
    elapsed = time.perf_counter() - start
    requests = len(tally.latencies_ns)
    failure = tally.failure or ("" if requests else "no answer came")
    p50_us = statistics.median(tally.latencies_ns) / 1000 if requests else 0
    return {"requests": requests, "seconds": elapsed, "p50_us": p50_us, "failure": failure}


def _factory(exchange: Exchange, tally: Tally) -> Callable[[], Connection]:
    if isinstance(exchange, RestExchange):
        return lambda: RestConnection(exchange, tally)
    return lambda: GrpcConnection(exchange, tally)


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    print(json.dumps(uvloop.run(load(from_json(job["exchange"]), job["connections"], job["seconds"]))))


if __name__ == "__main__":
    main()
