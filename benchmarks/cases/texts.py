"""Texts of different lengths: padded to the longest of the batch, joined without padding, and one by one."""

import json
import sys
from functools import partial

from benchmarks.bench import Bench
from benchmarks.models import TEXT_LENGTHS, TEXT_MODELS
from benchmarks.processes import run
from benchmarks.result import Line, Row, Spread, Target, ratio_row

CLIENTS = 32

_TARGET = Target("at least", 1.2)
_LIMIT_SECONDS = 60


def texts(bench: Bench) -> list[Row | Line]:
    """The yardstick is the same model without batches."""
    measures = [partial(_measure, bench, model) for model in TEXT_MODELS.values()]
    rounds = [*bench.in_turn("texts", measures)]
    load = f"{CLIENTS} clients, {TEXT_LENGTHS[0]} to {TEXT_LENGTHS[1]} words"
    found: list[Row | Line] = [
        _line(name, load, [each[index] for each in rounds]) for index, name in enumerate(TEXT_MODELS)
    ]
    *batched, _ = TEXT_MODELS
    for index, name in enumerate(batched):
        pairs = [(each[index]["per_second"], each[-1]["per_second"]) for each in rounds]
        found.append(ratio_row("texts", f"throughput, {name}, {load}", "req/s", pairs, _TARGET))
        pairs = [(each[index]["cpu_us"], each[-1]["cpu_us"]) for each in rounds]
        found.append(ratio_row("texts", f"CPU per request, {name}, {load}", "us", pairs))
    return found


def _measure(bench: Bench, model: str) -> dict[str, float]:
    module = [sys.executable, "-m", "benchmarks.yardsticks.text_clients"]
    arguments = [str(bench.repository), model, str(CLIENTS), str(bench.seconds)]
    seen: dict[str, float] = json.loads(run([*module, *arguments], bench.seconds + _LIMIT_SECONDS))
    return seen


def _line(name: str, load: str, rounds: list[dict[str, float]]) -> Line:
    def of(number: str) -> Spread:
        return Spread.of(each[number] for each in rounds)

    return Line(
        "in process", name, load, of("per_second"), of("p50_us"), of("p99_us"), None, of("cpu_us"),
        of("mean_batch"),
    )  # fmt: skip
