"""The request of `add_sub`, which is sent to everything that serves the model, and what is known of who serves it."""

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.counters import Counters, read_counters
from benchmarks.load.exchange import (
    Array,
    GrpcExchange,
    LoadError,
    RestExchange,
    check_grpc_raw,
    check_rest_json,
    grpc_raw,
    rest_json,
)
from benchmarks.load.generator import Load
from benchmarks.load.streaming import Streaming
from benchmarks.processes import Child

SERVER = "server"
"""The name of the server under test among the subjects."""

ROW_SHAPE = (1, 16)


@dataclass(frozen=True, slots=True)
class Subject:
    """One process that serves `add_sub` over one protocol.

    `run` loads it over a number of connections for some seconds. `cpu_seconds`: CPU time that it has taken so far, and
    `counters`: its model's statistics; None where there are none.
    """

    exchange: RestExchange | GrpcExchange
    run: Callable[[int, int], Load]
    cpu_seconds: Callable[[], float | None]
    counters: Callable[[], Counters | None]


def rest_subject(bench: Bench, name: str, process: Child) -> Subject:
    """Over REST, when its answer was found right."""
    exchange = rest_add_sub(process.urls["REST"], "add_sub", ROW_SHAPE)
    run = partial(bench.load, bench.rest, exchange)
    return Subject(exchange, run, process.cpu_seconds, _counters(name, process))


def grpc_subject(bench: Bench, name: str, process: Child) -> Subject:
    """Over gRPC, when its answer was found right."""
    exchange = grpc_add_sub(process.urls["gRPC"], "add_sub", ROW_SHAPE)
    run = partial(bench.load, bench.grpc, exchange)
    return Subject(exchange, run, process.cpu_seconds, _counters(name, process))


def stream_subject(bench: Bench, name: str, process: Child) -> Subject:
    """One stream over gRPC, when the answer of ModelInfer was found right. `run` takes a number of requests that are
    under way on it, in the place of connections.
    """
    exchange = grpc_add_sub(process.urls["gRPC"], "add_sub", ROW_SHAPE)
    run = partial(bench.load, Streaming(), exchange)
    return Subject(exchange, run, process.cpu_seconds, _counters(name, process))


def rest_add_sub(url: str, model: str, shape: tuple[int, ...]) -> RestExchange:
    """A request in JSON. Raises LoadError if the answer is wrong."""
    exchange = rest_json(url, model, add_sub_inputs(shape))
    check_rest_json(exchange, add_sub_outputs(shape))
    return exchange


def grpc_add_sub(target: str, model: str, shape: tuple[int, ...]) -> GrpcExchange:
    """A call with raw contents. Raises LoadError if the answer is wrong."""
    exchange = grpc_raw(target, model, add_sub_inputs(shape))
    check_grpc_raw(exchange, add_sub_outputs(shape))
    return exchange


def input_shape(url: str, model: str) -> tuple[int, ...]:
    """The shape of the inputs for 16 numbers, by the metadata that the server at `url` gives of its model.

    Raises LoadError if it is not a model like `add_sub`.
    """
    with urllib.request.urlopen(f"{url}/v2/models/{model}", timeout=30) as response:
        inputs = json.load(response)["inputs"]
    found = sorted((tensor["name"], tensor["datatype"]) for tensor in inputs)
    shape = tuple(max(1, int(size)) for size in inputs[0]["shape"])
    if found != [("INPUT0", "INT32"), ("INPUT1", "INT32")] or prod(shape) != 16:
        raise LoadError(f"{model}: expected inputs INPUT0 and INPUT1, INT32 [16], got {inputs}")
    return shape


def _counters(name: str, process: Child) -> Callable[[], Counters | None]:
    return partial(read_counters, process.urls["REST"], "add_sub") if name == SERVER else lambda: None


def add_sub_inputs(shape: tuple[int, ...]) -> dict[str, Array]:
    """INPUT0 and INPUT1. No two numbers of INPUT0 are equal."""
    return {"INPUT0": _counted(0, shape), "INPUT1": np.full(shape, 3, dtype=np.int32)}


def add_sub_outputs(shape: tuple[int, ...]) -> dict[str, Array]:
    """OUTPUT0 and OUTPUT1."""
    return {"OUTPUT0": _counted(3, shape), "OUTPUT1": _counted(-3, shape)}


def _counted(first: int, shape: tuple[int, ...]) -> Array:
    return np.arange(first, first + prod(shape), dtype=np.int32).reshape(shape)
