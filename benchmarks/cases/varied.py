"""Requests that differ, as those of real clients do: add_sub over REST, beside the same request again and again, and
beside the bare protocol under the very same traffic.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import SERVER, Subject, rest_add_sub
from benchmarks.cases.transports import (
    CONNECTIONS,
    Rounds,
    connections_text,
    lines,
    measure_rounds,
    throughput,
)
from benchmarks.load.exchange import RestExchange, VariedRest, rest_json
from benchmarks.models import MANY_MODELS, model_file
from benchmarks.processes import Child
from benchmarks.result import Line, Row, Target, ratio_row

IDENTICAL = "identical"
ROWS = range(1, 9)

_OF_BARE_PROTOCOL = Target("at least", 0.75)
# What a header that nobody asks for may cost.
_OVER_IDENTICAL = Target("at most", 1.3)


def varied_rest(bench: Bench) -> list[Row | Line]:
    """JSON over HTTP/1.1."""
    file = str(model_file(bench.repository, "add_sub"))
    protocol = "bare protocol"
    with ExitStack() as stack:
        processes = {
            SERVER: stack.enter_context(bench.server("add_sub", *MANY_MODELS)),
            protocol: stack.enter_context(bench.process("benchmarks.yardsticks.bare_http", file, url="REST")),
        }
        traffic = {name: _traffic(process.urls["REST"]) for name, process in processes.items()}
        rounds = {
            kind: measure_rounds(
                bench,
                f"REST, {kind}",
                {name: _subject(bench, process, traffic[name][kind]) for name, process in processes.items()},
                CONNECTIONS,
            )
            for kind in traffic[SERVER]
        }
    found: list[Row | Line] = []
    for kind, of_kind in rounds.items():
        found += lines("REST", of_kind, partial(_describe, kind))
        targets = dict.fromkeys(CONNECTIONS, _OF_BARE_PROTOCOL)
        found += throughput("varied_rest", of_kind, protocol, targets, partial(_describe, kind))
    return [*found, *_cpu(rounds)]


def _traffic(url: str) -> Mapping[str, RestExchange]:
    """By kind: what is sent, when the answer to each message was found right."""
    one = rest_add_sub(url, "add_sub", (1, 16))
    batches = [rest_json(url, "add_sub", _numbers(rows)) for rows in ROWS]
    models = [rest_add_sub(url, name, (1, 16)) for name in MANY_MODELS]
    return {
        IDENTICAL: one,
        "traced": VariedRest.of([one], "traced"),
        "tokens": VariedRest.of([one], "tokens"),
        f"batch {ROWS[0]}..{ROWS[-1]}": VariedRest.of(batches, IDENTICAL),
        f"{len(models)} models": VariedRest.of(models, IDENTICAL),
    }


def _numbers(rows: int) -> Mapping[str, "np.typing.NDArray[np.generic]"]:
    """Of one digit to four."""
    numbers = np.random.default_rng(rows)
    return {name: numbers.integers(0, 10_000, (rows, 16), np.int32) for name in ("INPUT0", "INPUT1")}


def _subject(bench: Bench, process: Child, exchange: RestExchange) -> Subject:
    return Subject(exchange, partial(bench.load, bench.rest, exchange), process.cpu_seconds, lambda: None)


def _describe(kind: str, connections: int) -> str:
    return f"{kind}, {connections_text(connections)}"


def _cpu(rounds: Mapping[str, Rounds]) -> Iterator[Row]:
    """What it costs the server that requests differ: CPU time per request, over that of identical ones."""
    for connections in CONNECTIONS:
        identical = [by_name[SERVER].cpu_us for by_name in rounds[IDENTICAL][connections]]
        for kind in ("traced", "tokens"):
            found = [by_name[SERVER].cpu_us for by_name in rounds[kind][connections]]
            pairs = [(cpu, one) for cpu, one in zip(found, identical, strict=True) if cpu and one]
            if pairs:
                measure = f"CPU per request, {_describe(kind, connections)}, over identical ones"
                yield ratio_row("varied_rest", measure, "us", pairs, _OVER_IDENTICAL)
