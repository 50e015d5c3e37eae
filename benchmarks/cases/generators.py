"""What the load generators can do: one that is slower than the server would measure itself."""

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import ROW_SHAPE, add_sub_inputs
from benchmarks.load.builtin import Builtin
from benchmarks.load.exchange import ExchangeT, VariedGrpc, VariedRest, grpc_raw, rest_json
from benchmarks.load.generator import Generator
from benchmarks.result import Row, Spread

CONNECTIONS = 16

_ANSWER_BYTES = "200"  # about as long as the answers of add_sub
_NOTE = "a lower bound: the process that answers may be the slower of the two"


def generators(bench: Bench) -> list[Row]:
    """Throughput against a process that does nothing but answer."""
    with bench.process("benchmarks.load.trivial", "rest", _ANSWER_BYTES, url="REST") as trivial:
        exchange = rest_json(trivial.urls["REST"], "add_sub", add_sub_inputs(ROW_SHAPE))
        rest = _row(bench, "REST", bench.rest, exchange)
        traced_rest = _row(bench, "REST, traced", bench.rest, VariedRest.of([exchange], "traced"))
    with bench.process("benchmarks.load.trivial", "grpc", _ANSWER_BYTES, url="gRPC") as trivial:
        call = grpc_raw(trivial.urls["gRPC"], "add_sub", add_sub_inputs(ROW_SHAPE))
        grpc = _row(bench, "gRPC", bench.grpc, call)
        traced_grpc = _row(
            bench, "gRPC, traced", Builtin(), VariedGrpc(call.target, call.message, call.answer, "traced")
        )
    return [rest, traced_rest, grpc, traced_grpc]


def _row(bench: Bench, protocol: str, generator: Generator[ExchangeT], exchange: ExchangeT) -> Row:
    what = f"{generator.name} over {protocol}, {CONNECTIONS} connections"
    rates = [
        generator.run(exchange, CONNECTIONS, bench.seconds).per_second
        for _ in bench.each_round(f"generators, {what}")
    ]
    return Row("generators", f"throughput, {what}", "req/s", yardstick=Spread.of(rates), note=_NOTE)
