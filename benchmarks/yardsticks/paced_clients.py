"""The server's scheduler under a load that does not wait for answers, and changes.

`python -m benchmarks.yardsticks.paced_clients REPOSITORY MODEL LOAD PER_SECOND SECONDS`. The requests are tasks on the
server's own event loop that call its inference service, each at a random time; latency counts from when it was due.
PER_SECOND is the mean rate. Prints JSON.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.yardsticks.clients import measure_clients
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest

_WARM_UP_SECONDS = 2.0

LOADS: Mapping[str, Callable[[float], float]] = {
    "steady": lambda _: 1.0,
    # Of each second 0.3 s with three times the mean rate, and next to nothing in between.
    "bursts": lambda at: 3.0 if at % 1 < 0.3 else 0.143,
    "rising": lambda at: 0.1 + 0.18 * (at % 10),
}
"""By name, the rate at a time, in seconds since the start, over the mean rate."""


async def measure(
    repository: Path, model: str, load: str, per_second: float, seconds: float
) -> dict[str, float]:
    """See `measure_clients`."""

    async def clients(service: InferenceService, seconds: float) -> list[float]:
        return await _run(service, model, LOADS[load], per_second, seconds)

    return await measure_clients(repository, model, clients, _WARM_UP_SECONDS, seconds)


async def _run(
    service: InferenceService, model: str, rate: Callable[[float], float], per_second: float, seconds: float
) -> list[float]:
    """The latencies, in microseconds."""
    draw = random.Random(1)
    inputs = {"INPUT": np.ones((1, 1), dtype=np.float32)}
    latencies_us: list[float] = []
    start = due = time.perf_counter()

    async def client(due: float) -> None:
        await service.infer(InferRequest(model, inputs))
        latencies_us.append((time.perf_counter() - due) * 1e6)

    async with asyncio.TaskGroup() as tasks:
        while due - start < seconds:
            due += draw.expovariate(per_second * rate(due - start))
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.create_task(client(due))
    return latencies_us


if __name__ == "__main__":
    _, place, name, shape, mean, length = sys.argv
    print(json.dumps(uvloop.run(measure(Path(place), name, shape, float(mean), float(length)))))
