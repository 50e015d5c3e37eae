"""The server's scheduler without a front end.

`python -m benchmarks.yardsticks.in_process REPOSITORY MODEL CLIENTS SECONDS`. The closed-loop clients are
tasks on the server's own event loop that call its inference service. Prints JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np
import uvloop

from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings

_WARM_UP_SECONDS = 0.2


async def measure(repository: Path, model: str, clients: int, seconds: float) -> dict[str, float]:
    """Requests per second of `clients` clients, and the rows of the mean batch."""
    server = Server(Settings(model_repository=(repository,)))
    await server.manager.load(model)
    await _load(server.service, model, clients, _WARM_UP_SECONDS)
    statistics = server.service.statistics(model)[0].statistics
    rows, batches = statistics.inference_count, statistics.execution_count
    start = time.perf_counter()
    await _load(server.service, model, clients, seconds)
    elapsed = time.perf_counter() - start
    rows, batches = statistics.inference_count - rows, statistics.execution_count - batches
    await server.stop()
    return {"rows_per_second": rows / elapsed, "mean_batch": rows / batches}


async def _load(service: InferenceService, model: str, clients: int, seconds: float) -> None:
    end = time.perf_counter() + seconds
    inputs = {"INPUT": np.ones((1, 1), dtype=np.float32)}

    async def client() -> None:
        while time.perf_counter() < end:
            await service.infer(InferRequest(model, inputs))

    await asyncio.gather(*(client() for _ in range(clients)))


if __name__ == "__main__":
    print(
        json.dumps(uvloop.run(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
    )
