"""Requests that differ, as those of real clients do: add_sub beside the same request again and again, and beside the
bare protocol under the very same traffic.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import orjson

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import (
    SERVER,
    Subject,
    add_sub_inputs,
    add_sub_outputs,
    grpc_add_sub,
    rest_add_sub,
)
from benchmarks.cases.transports import (
    CONNECTIONS,
    Rounds,
    connections_text,
    lines,
    measure_rounds,
    throughput,
)
from benchmarks.load.builtin import Builtin
from benchmarks.load.exchange import (
    ExchangeT,
    GrpcExchange,
    LoadError,
    RestExchange,
    VariedGrpc,
    VariedRest,
    check_grpc_raw,
    check_rest_json,
    grpc_raw,
    grpc_typed,
    rest_json,
)
from benchmarks.load.generator import Generator
from benchmarks.models import FLOATS_MODEL, FLOATS_WIDTH, MANY_MODELS, model_file
from benchmarks.processes import Child
from benchmarks.result import Line, Row, Target, ratio_row

IDENTICAL = "identical"
_OF_HEADERS = ("traced", "tokens", "deadlines")
ROWS = range(1, 9)
OWN = 512
"""How many requests there are, each with an id and numbers of its own."""

_OF_BARE_PROTOCOL = Target("at least", 0.75)
# What a header that nobody asks for may cost.
_OVER_IDENTICAL = Target("at most", 1.3)


def varied_rest(bench: Bench) -> list[Row | Line]:
    """JSON over HTTP/1.1."""
    models = ("add_sub", *MANY_MODELS)
    return _varied(bench, "varied_rest", "REST", bench.rest, models, _rest_traffic)


def varied_grpc(bench: Bench) -> list[Row | Line]:
    """Raw contents over gRPC, and typed ones. h2load's calls are all alike, so the built-in generator makes them."""
    generator: Generator[GrpcExchange] = Builtin()
    return _varied(bench, "varied_grpc", "gRPC", generator, ("add_sub",), _grpc_traffic)


def floats_rest(bench: Bench) -> list[Row | Line]:
    """256 floats in each tensor, in JSON."""
    return _varied(bench, "floats_rest", "REST", bench.rest, (FLOATS_MODEL,), _floats_in_json)


def floats_grpc(bench: Bench) -> list[Row | Line]:
    """The same, in raw contents and typed ones."""
    generator: Generator[GrpcExchange] = Builtin()
    return _varied(bench, "floats_grpc", "gRPC", generator, (FLOATS_MODEL,), _floats_in_messages)


def _varied(
    bench: Bench,
    case: str,
    protocol: str,
    generator: Generator[ExchangeT],
    models: Sequence[str],
    traffic_to: Callable[[str], Mapping[str, ExchangeT]],
) -> list[Row | Line]:
    """Each kind of traffic, to the server with these models and to the bare protocol with the first of them."""
    file = str(model_file(bench.repository, models[0]))
    bare, yardstick = (
        "bare protocol",
        f"benchmarks.yardsticks.bare_{'http' if protocol == 'REST' else 'grpc'}",
    )
    with ExitStack() as stack:
        processes = {
            SERVER: stack.enter_context(bench.server(*models)),
            bare: stack.enter_context(bench.process(yardstick, file, url=protocol)),
        }
        traffic = {name: traffic_to(process.urls[protocol]) for name, process in processes.items()}
        kinds = tuple(traffic[SERVER])
        # All kinds in each round: what the machine does otherwise from minute to minute is the same for all of them.
        together = measure_rounds(
            bench,
            f"{protocol}, requests that differ",
            {
                f"{kind}, {name}": _subject(bench, generator, process, traffic[name][kind])
                for kind in kinds
                for name, process in processes.items()
            },
            CONNECTIONS,
        )
        rounds: dict[str, Rounds] = {
            kind: {
                connections: [{name: by_both[f"{kind}, {name}"] for name in processes} for by_both in found]
                for connections, found in together.items()
            }
            for kind in kinds
        }
    rows: list[Row | Line] = []
    for kind, of_kind in rounds.items():
        rows += lines(protocol, of_kind, partial(_describe, kind))
        targets = dict.fromkeys(CONNECTIONS, _OF_BARE_PROTOCOL)
        rows += throughput(case, of_kind, bare, targets, partial(_describe, kind))
    return [*rows, *_cpu(case, rounds)]


def _rest_traffic(url: str) -> Mapping[str, RestExchange]:
    """By kind: what is sent, when the answer to each message was found right."""
    one = rest_add_sub(url, "add_sub", (1, 16))
    own = [_batch(url, 1, seed, str(UUID(int=seed))) for seed in range(OWN)]
    batches = [_batch(url, rows, rows) for rows in ROWS]
    models = [rest_add_sub(url, name, (1, 16)) for name in MANY_MODELS]
    return {
        IDENTICAL: one,
        **{kind: VariedRest.of([one], kind) for kind in ("traced", "tokens")},
        "own ids and numbers": VariedRest.of(own, IDENTICAL),
        f"batch {ROWS[0]}..{ROWS[-1]}": VariedRest.of(batches, IDENTICAL),
        f"{len(models)} models": VariedRest.of(models, IDENTICAL),
    }


def _grpc_traffic(target: str) -> Mapping[str, GrpcExchange]:
    """As `_rest_traffic`."""
    one = grpc_add_sub(target, "add_sub", (1, 16))
    typed = grpc_typed(target, "add_sub", add_sub_inputs((1, 16)))
    check_grpc_raw(typed, add_sub_outputs((1, 16)))

    def varied(kind: str, call: GrpcExchange = one, *, never: bool = False) -> VariedGrpc:
        return VariedGrpc(call.target, call.message, call.answer, kind, never)

    return {
        IDENTICAL: varied(IDENTICAL),
        **{kind: varied(kind) for kind in _OF_HEADERS},
        "traced, never indexed": varied("traced", never=True),
        "typed": varied(IDENTICAL, typed),
    }


def _batch(url: str, rows: int, seed: int, request_id: str = "") -> RestExchange:
    """So many rows of numbers of one digit to four."""
    numbers = np.random.default_rng(seed)
    left, right = (numbers.integers(0, 10_000, (rows, 16), np.int32) for _ in range(2))
    exchange = rest_json(url, "add_sub", {"INPUT0": left, "INPUT1": right}, request_id)
    check_rest_json(exchange, {"OUTPUT0": left + right, "OUTPUT1": left - right})
    return exchange


def _floats(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    numbers = np.random.default_rng(seed)
    shape = (1, FLOATS_WIDTH)
    return {f"INPUT{number}": numbers.normal(size=shape).astype(np.float32) for number in range(2)}


def _floats_in_json(url: str) -> Mapping[str, RestExchange]:
    own = []
    for seed in range(OWN):
        inputs = _floats(seed)
        exchange = rest_json(url, FLOATS_MODEL, inputs, str(UUID(int=seed)))
        answer = {each["name"]: each["data"] for each in orjson.loads(exchange.answer)["outputs"]}
        left, right = (each.ravel() for each in inputs.values())
        for name, expected in (("OUTPUT0", left + right), ("OUTPUT1", left - right)):
            if np.array(answer[name], np.float32).tolist() != expected.tolist():
                raise LoadError(f"{FLOATS_MODEL}: {name} is wrong")
        own.append(exchange)
    return {"the same floats": own[0], "own ids and floats": VariedRest.of(own, IDENTICAL)}


def _floats_in_messages(target: str) -> Mapping[str, GrpcExchange]:
    inputs = _floats(0)
    typed = grpc_typed(target, FLOATS_MODEL, inputs)
    left, right = inputs.values()
    check_grpc_raw(typed, {"OUTPUT0": left + right, "OUTPUT1": left - right})
    return {
        "raw": grpc_raw(target, FLOATS_MODEL, inputs),
        "typed": VariedGrpc(typed.target, typed.message, typed.answer, IDENTICAL, never=False),
    }


def _subject(bench: Bench, generator: Generator[ExchangeT], process: Child, exchange: ExchangeT) -> Subject:
    return Subject(exchange, partial(bench.load, generator, exchange), process.cpu_seconds, lambda: None)


def _describe(kind: str, connections: int) -> str:
    return f"{kind}, {connections_text(connections)}"


def _cpu(case: str, rounds: Mapping[str, Rounds]) -> Iterator[Row]:
    """What it costs the server that requests differ: CPU time per request, over that of identical ones."""
    for connections in CONNECTIONS if IDENTICAL in rounds else ():
        identical = [by_name[SERVER].cpu_us for by_name in rounds[IDENTICAL][connections]]
        for kind in (kind for kind in rounds if kind.startswith(_OF_HEADERS)):
            found = [by_name[SERVER].cpu_us for by_name in rounds[kind][connections]]
            pairs = [(cpu, one) for cpu, one in zip(found, identical, strict=True) if cpu and one]
            if pairs:
                measure = f"CPU per request, {_describe(kind, connections)}, over identical ones"
                yield ratio_row(case, measure, "us", pairs, _OVER_IDENTICAL)
