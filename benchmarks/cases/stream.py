"""Requests on one ModelStreamInfer: add_sub through the server, and through a grpc.aio servicer."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import SERVER, Subject, stream_subject
from benchmarks.cases.measure import line, measure
from benchmarks.models import model_file
from benchmarks.result import Line, Row, ratio_row

UNDER_WAY = (1, 16)
_WARM_UP_SECONDS = 1
_LIBRARY = "grpc.aio"


def stream(bench: Bench) -> list[Row | Line]:
    """One stream, with so many requests under way on it."""
    file = str(model_file(bench.repository, "add_sub"))
    with ExitStack() as stack:
        processes = {
            SERVER: stack.enter_context(bench.server("add_sub")),
            _LIBRARY: stack.enter_context(
                bench.process("benchmarks.yardsticks.servicer", "add_sub", file, url="gRPC")
            ),
        }
        subjects = {name: stream_subject(bench, name, process) for name, process in processes.items()}
        for subject in subjects.values():
            subject.run(max(UNDER_WAY), _WARM_UP_SECONDS)
        return [found for count in UNDER_WAY for found in _measured(bench, subjects, count)]


def _measured(bench: Bench, subjects: Mapping[str, Subject], under_way: int) -> Iterator[Row | Line]:
    load = f"1 stream, {under_way} under way"
    measures = [partial(measure, subject, under_way, bench.seconds) for subject in subjects.values()]
    rounds = list(bench.in_turn(f"gRPC, {load}", measures))
    for index, name in enumerate(subjects):
        yield line("gRPC", name, load, [found[index] for found in rounds])
    yield ratio_row(
        "stream",
        f"throughput, {load}, of {_LIBRARY}",
        "req/s",
        [(ours.load.per_second, theirs.load.per_second) for ours, theirs in rounds],
        note="the load generator is grpc.aio, too, and limits the server",
    )
    known = [
        (ours.cpu_us, theirs.cpu_us)
        for ours, theirs in rounds
        if ours.cpu_us is not None and theirs.cpu_us is not None
    ]
    if known:
        yield ratio_row("stream", f"CPU per request, {load}, over {_LIBRARY}", "us", known)
