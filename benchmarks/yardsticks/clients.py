"""Clients in the server's own process: what they see, and what they cost."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.load.generator import Latency
from kserve_v2.inference import InferenceService
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings

Clients = Callable[[InferenceService, float], Awaitable[list[float]]]
"""Ask for so many seconds; the latencies, in microseconds."""


async def measure_clients(
    repository: Path, model: str, clients: Clients, warm_up_seconds: float, seconds: float
) -> dict[str, float]:
    """What the clients saw, and what they cost: the CPU time of the whole process, clients included."""
    server = Server(Settings(model_repository=(repository,)))
    await server.manager.load(model)
    await clients(server.service, warm_up_seconds)
    statistics = server.service.statistics(model)[0].statistics
    rows, batches, cpu = statistics.inference_count, statistics.execution_count, time.process_time()
    latencies_us = await clients(server.service, seconds)
    cpu = time.process_time() - cpu
    rows, batches = statistics.inference_count - rows, statistics.execution_count - batches
    await server.stop()
    latency = Latency.of(latencies_us)
    return {
        "per_second": len(latencies_us) / seconds,
        "p50_us": latency.p50_us,
        "p99_us": latency.p99_us,
        "cpu_us": cpu * 1e6 / len(latencies_us),
        "mean_batch": rows / batches,
    }
