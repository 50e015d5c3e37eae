"""Steps of 64 live sequences, by each strategy, against as many requests to the same model without sequences."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.load.exchange import RestExchange, rest_json
from benchmarks.load.several import run_several
from benchmarks.models import SEQUENCE_MODELS, SEQUENCE_PLAIN, SEQUENCES
from benchmarks.processes import Child
from benchmarks.result import Row, ratio_row

_WARM_UP_SECONDS = 1

_Found = tuple[float, float | None]
"""Requests per second, and CPU time per request in microseconds."""


def sequences(bench: Bench) -> list[Row]:
    """Every connection has a sequence of its own, which is live all the time."""
    rows: list[Row] = []
    with bench.server(SEQUENCE_PLAIN, *SEQUENCE_MODELS) as server:
        for model in SEQUENCE_MODELS:
            measures = [_load_of(bench, server, name) for name in (model, SEQUENCE_PLAIN)]
            found = [*bench.in_turn(f"sequences, {model}", measures)]
            what = f"{model}, {SEQUENCES} live sequences over REST"
            rates = [(steps, plain) for (steps, _), (plain, _) in found]
            rows.append(
                ratio_row("sequences", f"throughput, {what}", "steps/s", rates, note="against no sequences")
            )
            cpu = [(steps, plain) for (_, steps), (_, plain) in found if steps and plain]
            if cpu:
                rows.append(ratio_row("sequences", f"CPU per step, {what}", "us", cpu))
            # Else the server would wait for them at its end.
            for sequence in range(1, SEQUENCES + 1):
                _step(server, model, sequence, sequence_start=True, sequence_end=True)
    return rows


def _load_of(bench: Bench, server: Child, name: str) -> Callable[[], _Found]:
    """The measurement of one model, warmed up."""
    run_several(_live_sequences(server, name), _WARM_UP_SECONDS)
    return partial(_load, bench, server, name)


def _live_sequences(server: Child, name: str) -> list[RestExchange]:
    """Begin sequences; for each, the request that goes on with it for ever."""
    return [
        (_step(server, name, sequence, sequence_start=True), _step(server, name, sequence))[1]
        for sequence in range(1, SEQUENCES + 1)
    ]


def _step(server: Child, name: str, sequence: int, **parameters: bool) -> RestExchange:
    row = {"IN": np.ones((1, 1), np.float32)}
    return rest_json(server.urls["REST"], name, row, "", sequence_id=sequence, **parameters)


def _load(bench: Bench, server: Child, name: str) -> _Found:
    # Anew each time: a run ends with requests that are given up, and those end their sequences.
    exchanges = _live_sequences(server, name)
    before = server.cpu_seconds()
    load = run_several(exchanges, bench.seconds)
    bench.note_busy("built-in", load)
    after = server.cpu_seconds()
    cpu = None if before is None or after is None else (after - before) / load.requests * 1e6
    return load.per_second, cpu
