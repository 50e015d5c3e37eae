"""As the built-in load generator, but with a request for every connection: `python -m benchmarks.load.several`."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import uvloop

from benchmarks.load.builtin import ClosedLoop, Exchange, from_json, summary, to_json
from benchmarks.load.connections import connection_to
from benchmarks.load.exchange import LoadError
from benchmarks.load.generator import Latency, Load, timed_run


def run_several(exchanges: Sequence[Exchange], seconds: int) -> Load:
    """Load with one connection for each exchange, from a process of its own. Raises LoadError if an answer is wrong."""
    job = {"exchanges": [to_json(exchange) for exchange in exchanges], "seconds": seconds}
    output, busy = timed_run([sys.executable, "-m", __name__], seconds, json.dumps(job))
    seen = json.loads(output)
    if seen["failure"]:
        raise LoadError(seen["failure"])
    return Load(seen["requests"], seen["seconds"], Latency(**seen["latency"]), busy)


async def load(exchanges: Sequence[Exchange], seconds: float) -> dict[str, object]:
    """Run the closed loop; what it saw."""
    closed = ClosedLoop()
    loop = asyncio.get_running_loop()
    made = []
    for exchange in exchanges:
        connection = connection_to(exchange, closed)
        await loop.create_connection(lambda made=connection: made, *exchange.address)  # type: ignore[misc]
        made.append(connection)
    start_ns = time.perf_counter_ns()
    loop.call_later(seconds, closed.over.set)
    for connection in made:
        connection.send(start_ns)
    await closed.over.wait()
    elapsed = (time.perf_counter_ns() - start_ns) / 1e9
    return {"seconds": elapsed, **summary(closed.latencies_ns, closed.failure)}


def main() -> None:
    """The process."""
    job = json.load(sys.stdin)
    print(json.dumps(uvloop.run(load([from_json(each) for each in job["exchanges"]], job["seconds"]))))


if __name__ == "__main__":
    main()
