"""A delay that the server chooses for a latency budget, against fixed delays: 2 ms for a batch of up to 32 rows."""

import json
import sys
from functools import partial

from benchmarks.bench import Bench
from benchmarks.models import BUDGET_MS, fixed_delays, fixed_time_budget
from benchmarks.processes import run
from benchmarks.result import Line, Row, Spread, Target
from benchmarks.yardsticks.paced_clients import LOADS

PER_SECOND = 2000
"""Of the mean: four times what the model could do without batches."""

_LIMIT_SECONDS = 60
_NOTE = "tasks that call the inference service, each at a random time: no sockets, no codec"


def latency_budget(bench: Bench) -> list[Row | Line]:
    """Each load with each delay, in turn."""
    models = {f"budget of {BUDGET_MS} ms": fixed_time_budget(), **fixed_delays()}
    found: list[Row | Line] = []
    for load in LOADS:
        measures = [partial(_measure, bench, model, load) for model in models.values()]
        rounds = [*bench.in_turn(f"latency budget, {load} load", measures)]
        for index, name in enumerate(models):
            found.append(_line(name, load, [each[index] for each in rounds]))
        p99_ms = Spread.of(each[0]["p99_us"] / 1000 for each in rounds)
        found.append(
            Row(
                "latency_budget", f"p99 latency, {load} load", "ms", p99_ms, result=p99_ms, result_unit="ms",
                target=Target("at most", BUDGET_MS), note=_NOTE,
            )
        )  # fmt: skip
    return found


def _measure(bench: Bench, model: str, load: str) -> dict[str, float]:
    module = [sys.executable, "-m", "benchmarks.yardsticks.paced_clients"]
    # As long as a period of each load.
    seconds = bench.seconds if load == "steady" else max(bench.seconds, 10 if load == "rising" else 2)
    arguments = [str(bench.repository), model, load, str(PER_SECOND), str(seconds)]
    seen: dict[str, float] = json.loads(run([*module, *arguments], seconds + _LIMIT_SECONDS))
    return seen


def _line(name: str, load: str, rounds: list[dict[str, float]]) -> Line:
    def of(number: str) -> Spread:
        return Spread.of(each[number] for each in rounds)

    return Line(
        "in process", name, f"{load}, {PER_SECOND:,} req/s", of("per_second"), of("p50_us"), of("p99_us"), None,
        of("cpu_us"), of("mean_batch"),
    )  # fmt: skip
