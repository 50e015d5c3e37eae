"""Clients whose texts are of different lengths, in the server's process.

`python -m benchmarks.yardsticks.text_clients REPOSITORY MODEL CLIENTS SECONDS`. The closed-loop clients are tasks on
the server's own event loop that call its inference service; the first answer of each is compared with what the text
would get alone. Prints JSON.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.models import TEXT_LENGTHS, TEXT_WORDS, text_scores
from benchmarks.yardsticks.clients import measure_clients
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest

_WARM_UP_SECONDS = 1.0


async def measure(repository: Path, model: str, count: int, seconds: float) -> dict[str, float]:
    """See `measure_clients`."""

    async def clients(service: InferenceService, seconds: float) -> list[float]:
        return await _run(service, model, count, seconds)

    return await measure_clients(repository, model, clients, _WARM_UP_SECONDS, seconds)


async def _run(service: InferenceService, model: str, clients: int, seconds: float) -> list[float]:
    """The latencies, in microseconds. Raises RuntimeError for a wrong answer."""
    end = time.perf_counter() + seconds
    latencies_us: list[float] = []

    async def client(number: int) -> None:
        draw = random.Random(number)
        checked = False
        while (start := time.perf_counter()) < end:
            ids = np.array([draw.choices(range(TEXT_WORDS), k=draw.randint(*TEXT_LENGTHS))], dtype=np.int64)
            answer = await service.infer(InferRequest(model, {"IDS": ids}))
            latencies_us.append((time.perf_counter() - start) * 1e6)
            if not checked:
                checked = True
                if not np.allclose(answer.outputs["SCORES"], text_scores(ids), atol=1e-3):
                    raise RuntimeError(f"{model} gave a wrong answer to a text of {ids.size} words")

    await asyncio.gather(*(client(number) for number in range(clients)))
    return latencies_us


if __name__ == "__main__":
    _, place, name, count, length = sys.argv
    print(json.dumps(uvloop.run(measure(Path(place), name, int(count), float(length)))))
