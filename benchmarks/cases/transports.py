"""REST and gRPC: add_sub through the server, and through bare front ends that call the model in place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import SERVER, Subject, grpc_subject, rest_subject, stream_subject
from benchmarks.cases.measure import Measured, line, measure
from benchmarks.models import model_file
from benchmarks.result import Line, Row, Spread, Target, ratio_row

CONNECTIONS = (1, 16, 64)
UNDER_WAY = (1, 16)
WARM_UP_SECONDS = 1

# Of the bare protocol's throughput; level with, or above, a server in C++.
_OF_BARE_PROTOCOL = Target("at least", 0.75)
_TAIL = Target("at most", 3.0)

Rounds = Mapping[int, Sequence[Mapping[str, Measured]]]
"""By number of connections, what each round found out about each subject."""


def rest(bench: Bench) -> list[Row | Line]:
    """JSON over HTTP/1.1."""
    file = str(model_file(bench.repository, "add_sub"))
    protocol, asgi = "bare protocol", "bare ASGI"
    with ExitStack() as stack:
        processes = {
            SERVER: stack.enter_context(bench.server("add_sub")),
            protocol: stack.enter_context(bench.process("benchmarks.yardsticks.bare_http", file, url="REST")),
            asgi: stack.enter_context(
                bench.process("benchmarks.yardsticks.asgi", "add_sub", file, url="REST")
            ),
        }
        subjects = {name: rest_subject(bench, name, process) for name, process in processes.items()}
        rounds = measure_rounds(bench, "REST", subjects, CONNECTIONS)
    busy = dict.fromkeys((16, 64), Target("at least", 0.70))
    least_cpu = dict.fromkeys((16, 64), Target("at most", 70 / 85))
    return [
        *lines("REST", rounds),
        *throughput("rest", rounds, protocol, dict.fromkeys(CONNECTIONS, _OF_BARE_PROTOCOL)),
        *throughput("rest", rounds, asgi, busy),
        *_latency_alone("rest", rounds, asgi, Target("at most", 1.6)),
        *cpu("rest", rounds, asgi, least_cpu),
        *_tail("rest", rounds, protocol),
    ]


def grpc(bench: Bench) -> list[Row | Line]:
    """Raw contents over gRPC."""
    file = str(model_file(bench.repository, "add_sub"))
    protocol, library = "bare protocol", "grpc.aio"
    with ExitStack() as stack:
        processes = {
            SERVER: stack.enter_context(bench.server("add_sub")),
            protocol: stack.enter_context(bench.process("benchmarks.yardsticks.bare_grpc", file, url="gRPC")),
            library: stack.enter_context(
                bench.process("benchmarks.yardsticks.servicer", "add_sub", file, url="gRPC")
            ),
        }
        subjects = {name: grpc_subject(bench, name, process) for name, process in processes.items()}
        rounds = measure_rounds(bench, "gRPC", subjects, CONNECTIONS)
    return [
        *lines("gRPC", rounds),
        *throughput("grpc", rounds, protocol, dict.fromkeys(CONNECTIONS, _OF_BARE_PROTOCOL)),
        *throughput("grpc", rounds, library, dict.fromkeys(CONNECTIONS, Target("at least", 3.5))),
        *_latency_alone("grpc", rounds, library, None),
        *cpu("grpc", rounds, library, {}),
        *_tail("grpc", rounds, protocol),
    ]


def stream(bench: Bench) -> list[Row | Line]:
    """Raw contents on one ModelStreamInfer, with so many requests under way on it."""
    file = str(model_file(bench.repository, "add_sub"))
    library = "grpc.aio"
    with ExitStack() as stack:
        processes = {
            SERVER: stack.enter_context(bench.server("add_sub")),
            library: stack.enter_context(
                bench.process("benchmarks.yardsticks.servicer", "add_sub", file, url="gRPC")
            ),
        }
        subjects = {name: stream_subject(bench, name, process) for name, process in processes.items()}
        rounds = measure_rounds(bench, "gRPC", subjects, UNDER_WAY, under_way_text)
    return [
        *lines("gRPC", rounds, under_way_text),
        *throughput("stream", rounds, library, {}, under_way_text),
        *cpu("stream", rounds, library, {}, under_way_text),
    ]


Describe = Callable[[int], str]
"""The load in words, for its number of connections or of requests under way."""


def connections_text(connections: int) -> str:
    """A load of so many connections."""
    return f"{connections} connection{'s' if connections > 1 else ''}"


def under_way_text(requests: int) -> str:
    """A load of so many requests on one stream."""
    return f"1 stream, {requests} under way"


def measure_rounds(
    bench: Bench,
    what: str,
    subjects: Mapping[str, Subject],
    all_connections: Sequence[int],
    describe: Describe = connections_text,
) -> Rounds:
    """Load all subjects in turn, over each number of connections."""
    for subject in subjects.values():
        subject.run(max(all_connections), WARM_UP_SECONDS)
    return {
        connections: [
            dict(zip(subjects, found, strict=True))
            for found in bench.in_turn(
                f"{what}, {describe(connections)}",
                [partial(measure, subject, connections, bench.seconds) for subject in subjects.values()],
            )
        ]
        for connections in all_connections
    }


def lines(protocol: str, rounds: Rounds, describe: Describe = connections_text) -> Iterator[Line]:
    """What was found out about each subject, for the table of all that were measured.

    `describe`: the load in words.
    """
    for connections, found in rounds.items():
        for name in found[0]:
            yield line(protocol, name, describe(connections), [by_name[name] for by_name in found])


def throughput(
    case: str,
    rounds: Rounds,
    yardstick: str,
    targets: Mapping[int, Target],
    describe: Describe = connections_text,
) -> Iterator[Row]:
    """Requests per second, of the yardstick's."""
    for connections in rounds:
        pairs = _pairs(rounds[connections], yardstick, lambda found: found.load.per_second)
        measure = f"throughput, {describe(connections)}, of {yardstick}"
        yield ratio_row(case, measure, "req/s", pairs, targets.get(connections))


def _latency_alone(case: str, rounds: Rounds, yardstick: str, target: Target | None) -> Iterator[Row]:
    """With one connection only: with more, a closed loop's latency is connections over throughput."""
    pairs = _pairs(rounds[1], yardstick, lambda found: found.load.latency.p50_us)
    yield ratio_row(case, f"p50 latency, 1 connection, over {yardstick}", "us", pairs, target)


def cpu(
    case: str,
    rounds: Rounds,
    yardstick: str,
    targets: Mapping[int, Target],
    describe: Describe = connections_text,
) -> Iterator[Row]:
    """CPU time per request, over the yardstick's, where the kernel tells it."""
    for connections, found in rounds.items():
        if any(measured.cpu_us is None for by_name in found for measured in by_name.values()):
            continue
        pairs = _pairs(found, yardstick, lambda measured: measured.cpu_us or 0.0)
        measure = f"CPU per request, {describe(connections)}, over {yardstick}"
        yield ratio_row(case, measure, "us", pairs, targets.get(connections))


def _tail(case: str, rounds: Rounds, yardstick: str) -> Iterator[Row]:
    """How much longer than usual the slow ones take."""
    connections = max(rounds)
    pairs = _pairs(rounds[connections], yardstick, lambda found: found.tail)
    server = Spread.of(ours for ours, _ in pairs)
    yield Row(
        case,
        f"p99 over p50 latency, {connections_text(connections)}",
        "x",
        server=server,
        yardstick=Spread.of(bare for _, bare in pairs),
        result=server,
        target=_TAIL,
        note=f"the yardstick is the {yardstick}; the result is the server's own",
    )


def _pairs(
    found: Sequence[Mapping[str, Measured]], yardstick: str, value: Callable[[Measured], float]
) -> list[tuple[float, float]]:
    return [(value(by_name[SERVER]), value(by_name[yardstick])) for by_name in found]
