"""What an ensemble costs beside its models, in one process without a front end.

`python -m benchmarks.yardsticks.ensemble_steps REPOSITORY ENSEMBLE SECONDS MODEL...`. One caller on the server's
own event loop asks the ensemble, or each of its steps' models one after the other, in turn. Prints JSON: CPU time in
microseconds of a request to the ensemble, and of one to each of the models together.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop

from benchmarks.cases.add_sub import ROW_SHAPE, add_sub_inputs
from benchmarks.load.exchange import Array
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings

_WARM_UP_REQUESTS = 2000
_REQUESTS_AT_A_TIME = 500


async def measure(repository: Path, ensemble: str, seconds: float, models: Sequence[str]) -> dict[str, float]:
    """`ensemble_us` and `models_us`."""
    server = Server(Settings(model_repository=(repository,)))
    await server.manager.load(ensemble)
    service, inputs = server.service, add_sub_inputs(ROW_SHAPE)
    for names in ([ensemble], models):
        await _ask(service, names, inputs, _WARM_UP_REQUESTS)
    spent, asked = {"ensemble_us": 0.0, "models_us": 0.0}, 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        asked += _REQUESTS_AT_A_TIME
        for key, names in (("ensemble_us", [ensemble]), ("models_us", models)):
            spent[key] += await _ask(service, names, inputs, _REQUESTS_AT_A_TIME)
    await server.stop()
    return {key: cpu / asked * 1e6 for key, cpu in spent.items()}


async def _ask(
    service: InferenceService, names: Sequence[str], inputs: Mapping[str, Array], requests: int
) -> float:
    """Returns the CPU seconds that it has taken."""
    began = time.process_time()
    for _ in range(requests):
        for name in names:
            await service.infer(InferRequest(name, dict(inputs)))
    return time.process_time() - began


if __name__ == "__main__":
    _repository, _ensemble, _seconds, *_models = sys.argv[1:]
    print(json.dumps(uvloop.run(measure(Path(_repository), _ensemble, float(_seconds), _models))))
