"""Latency at a constant rate of requests, half of what the server can take in."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import SERVER, Subject, grpc_subject, rest_subject
from benchmarks.cases.measure import Measured, line, measure_run
from benchmarks.load.cpus import set_apart
from benchmarks.load.open_loop import run_open_loop
from benchmarks.models import model_file
from benchmarks.result import Line, Row, Target, ratio_row

CONNECTIONS = 64
SHARE_OF_CAPACITY = 0.5

# In so many rounds of those of other cases each: a quantile depends on what else the machine does just then, so it is
# the many rounds that tell, not long ones.
_ROUNDS = 5
_CAPACITY_CONNECTIONS = 16
_NOTE = (
    f"the rate is {SHARE_OF_CAPACITY:.0%} of what the server answered over {_CAPACITY_CONNECTIONS} connections just "
    "before, the same for server and yardstick; latency counts from the time when a request was due; the generator "
    "keeps one CPU busy whatever it sends, and what it loads has the others, before all other programs; of the "
    "requests {uncounted:.1%} have no latency that counts, as the generator was held up; "
    f"{_ROUNDS} times as many rounds as elsewhere"
)
_QUANTILES = (
    ("p50", "p50_us", Target("at most", 1.3)),
    ("p99", "p99_us", Target("at most", 1.5)),
    ("p99.9", "p999_us", None),
)
_PROTOCOLS = {
    "REST": ("benchmarks.yardsticks.bare_http", rest_subject),
    "gRPC": ("benchmarks.yardsticks.bare_grpc", grpc_subject),
}


def open_loop(bench: Bench) -> list[Row | Line]:
    """Both protocols; the yardstick is the bare protocol."""
    return [found for protocol in _PROTOCOLS for found in _protocol(bench, protocol)]


def _protocol(bench: Bench, protocol: str) -> Iterator[Row | Line]:
    module, subject = _PROTOCOLS[protocol]
    file = str(model_file(bench.repository, "add_sub"))
    with ExitStack() as stack:
        served = stack.enter_context(bench.server("add_sub"))
        process = stack.enter_context(bench.process(module, file, url=protocol))
        server, bare = subject(bench, SERVER, served), subject(bench, "bare protocol", process)
        bare.run(_CAPACITY_CONNECTIONS, 1)
        per_second = server.run(_CAPACITY_CONNECTIONS, bench.seconds).per_second * SHARE_OF_CAPACITY
        for each in (served, process):
            set_apart(each.pid)
        many = replace(bench, rounds=bench.rounds * _ROUNDS)
        rounds = [
            *many.in_turn(
                f"open loop, {protocol}, {per_second:,.0f} requests per second",
                [partial(_measure, bench, subject, per_second) for subject in (server, bare)],
            )
        ]
    load = f"open loop, {per_second:,.0f} req/s"
    yield line(protocol, SERVER, load, [ours for ours, _ in rounds])
    yield line(protocol, "bare protocol", load, [yardstick for _, yardstick in rounds])
    loads = [measured.load for pair in rounds for measured in pair]
    uncounted = sum(load.uncounted for load in loads) / sum(load.requests for load in loads)
    note = _NOTE.format(uncounted=uncounted)
    for name, quantile, target in _QUANTILES:
        pairs = [(_quantile(ours, quantile), _quantile(yardstick, quantile)) for ours, yardstick in rounds]
        measure = f"{name} latency, {protocol}, {per_second:,.0f} requests per second"
        yield ratio_row("open_loop", measure, "us", pairs, target, note)


def _quantile(measured: Measured, name: str) -> float:
    return float(getattr(measured.load.latency, name))


def _measure(bench: Bench, subject: Subject, per_second: float) -> Measured:
    return measure_run(
        subject, partial(run_open_loop, subject.exchange, CONNECTIONS, bench.seconds, per_second)
    )
