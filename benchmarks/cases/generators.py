"""What the load generators can do: one that is slower than the server would measure itself."""

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import ROW_SHAPE, add_sub_inputs
from benchmarks.load.exchange import ExchangeT, grpc_raw, rest_json
from benchmarks.load.generator import Generator
from benchmarks.result import Row, Spread

CONNECTIONS = 16

_ANSWER_BYTES = "200"  # about as long as the answers of add_sub
_NOTE = "a lower bound: the process that answers may be the slower of the two"


def generators(bench: Bench) -> list[Row]:
    """Throughput against a process that does nothing but answer."""
    with bench.process("benchmarks.load.trivial", "rest", _ANSWER_BYTES, url="REST") as trivial:
        rest = _row(
            bench, "REST", bench.rest, rest_json(trivial.urls["REST"], "add_sub", add_sub_inputs(ROW_SHAPE))
        )
    with bench.process("benchmarks.load.trivial", "grpc", _ANSWER_BYTES, url="gRPC") as trivial:
        grpc = _row(
            bench, "gRPC", bench.grpc, grpc_raw(trivial.urls["gRPC"], "add_sub", add_sub_inputs(ROW_SHAPE))
        )
    return [rest, grpc]


def _row(bench: Bench, protocol: str, generator: Generator[ExchangeT], exchange: ExchangeT) -> Row:
    what = f"{generator.name} over {protocol}, {CONNECTIONS} connections"
    rates = [
        generator.run(exchange, CONNECTIONS, bench.seconds).per_second
        for _ in bench.each_round(f"generators, {what}")
    ]
    return Row("generators", f"throughput, {what}", "req/s", yardstick=Spread.of(rates), note=_NOTE)
