"""The command `python -m benchmarks.cores`: what several processes of one server bring.

`add_sub` is asked over REST and gRPC with 1, 2, 4, 8 and 16 processes, as many as the machine has CPUs for, in turn
within each round. The model is replicated; with `--single` it is at home in one process, to which the others hand their
requests. Beside them stands what the load generator can do with as many processes that only answer: where the server
comes near to that, the generator is what was measured. `--connections 1 4 64` shows how few connections are spread, and
`--rows 128` asks for many rows in each request: more work for the server, and hardly any for the generator, which
leaves the processes more of the CPUs. It needs wrk and h2load. The exit status is 0 if everything was measured.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases.add_sub import add_sub_inputs, grpc_add_sub, rest_add_sub
from benchmarks.load.exchange import grpc_raw, rest_json
from benchmarks.load.generator import Load
from benchmarks.load.h2load import H2load
from benchmarks.load.least import kernel_us
from benchmarks.load.wrk import Wrk
from benchmarks.processes import Child, child, serve
from benchmarks.result import Spread

_ANSWER_BYTES_PER_ROW = 200  # about as long as the answers of add_sub
_NUMBERS_PER_ROW = 16
_MODEL = Path(__file__).parent.parent / "model_repository" / "add_sub"
_SINGLE = 'parameters { key: "home" value { string_value: "single" } }\n'
# What two processes should bring.
_TIMES = 1.6
_PROTOCOLS = ("REST", "gRPC")

Run = Callable[[int, int], Load]
"""Load something over so many connections, for so many seconds."""


class Case(NamedTuple):
    """What is measured. `who`: the server, or `trivial`, which only answers."""

    protocol: str
    who: str
    connections: int
    processes: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked, by so many threads of the generator."""

    rows: int
    threads: int

    @property
    def shape(self) -> tuple[int, int]:
        """Of both inputs."""
        return (self.rows, _NUMBERS_PER_ROW)

    @property
    def answer_bytes(self) -> str:
        """About as many as the server's answers have, for processes that only answer."""
        return str(self.rows * _ANSWER_BYTES_PER_ROW)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. `cpu_us`: CPU time of all processes that answer, per request; None where nobody can tell."""

    load: Load
    cpu_us: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__)
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[n for n in (1, 2, 4, 8, 16) if n <= max(2, cpus)]
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[64])
    parser.add_argument("--protocols", nargs="+", choices=_PROTOCOLS, default=_PROTOCOLS)
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--threads", type=int, default=max(1, cpus // 4), help="of the load generator")
    parser.add_argument("--single", action="store_true", help="the model is at home in one process")
    parser.add_argument("--rows", type=int, default=1, help="rows of a request (default: 1)")
    options = parser.parse_args(argv)
    traffic = Traffic(options.rows, options.threads)
    print(
        f"{cpus} CPUs; the load generators have {options.threads} thread(s); rows of a request: {options.rows}"
    )
    with tempfile.TemporaryDirectory(prefix="kserve-v2-cores-") as directory:
        found = _measure(Path(directory), options, traffic)
        least_us = _least_us(Path(directory), max(options.connections), options.seconds, traffic)
    for line in (*report(found, cpus), "", *generator_report(found, least_us)):
        print(line)
    return 0


def _measure(directory: Path, options: argparse.Namespace, traffic: Traffic) -> dict[Case, list[Measured]]:
    repository = directory / "models"
    shutil.copytree(_MODEL, repository / "add_sub")
    config = repository / "add_sub" / "config.pbtxt"
    text = config.read_text().replace("max_batch_size: 8 ", f"max_batch_size: {max(8, traffic.rows)} ")
    config.write_text(text + _SINGLE * options.single)
    found: dict[Case, list[Measured]] = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for processes in options.processes:
            for protocol in options.protocols:
                for who, start in (("server", _server), ("trivial", _trivial)):
                    with start(directory, processes, protocol, traffic) as (process, run):
                        for connections in options.connections:
                            case = Case(protocol, who, connections, processes)
                            measured = _run(process, run, connections, options.seconds)
                            found.setdefault(case, []).append(measured)
    return found


def _run(process: Child, run: Run, connections: int, seconds: int) -> Measured:
    run(connections, 1)
    before = process.cpu_seconds()
    load = run(connections, seconds)
    after = process.cpu_seconds()
    if before is None or after is None:
        return Measured(load, None)
    return Measured(load, 1e6 * (after - before) / load.requests)


def _least_us(directory: Path, connections: int, seconds: int, traffic: Traffic) -> float:
    """See `kernel_us`, for a request over REST."""
    module = ["benchmarks.load.trivial", "rest", traffic.answer_bytes, "1"]
    with child(module, {"REST"}, directory / "trivial.log") as trivial:
        exchange = rest_json(trivial.urls["REST"], "add_sub", add_sub_inputs(traffic.shape))
        return kernel_us(exchange, connections, seconds)


@contextmanager
def _server(directory: Path, processes: int, protocol: str, traffic: Traffic) -> Iterator[tuple[Child, Run]]:
    """The server, whose answer is right."""
    flags = ["--processes", str(processes)]
    with serve(directory / "models", ["add_sub"], directory / "server.log", more_flags=flags) as server:
        url = server.urls[protocol]
        if protocol == "REST":
            yield (
                server,
                partial(Wrk(directory, traffic.threads).run, rest_add_sub(url, "add_sub", traffic.shape)),
            )
        else:
            yield (
                server,
                partial(H2load(directory, traffic.threads).run, grpc_add_sub(url, "add_sub", traffic.shape)),
            )


@contextmanager
def _trivial(directory: Path, processes: int, protocol: str, traffic: Traffic) -> Iterator[tuple[Child, Run]]:
    """As many processes that only answer."""
    module = ["benchmarks.load.trivial", protocol.lower(), traffic.answer_bytes, str(processes)]
    inputs = add_sub_inputs(traffic.shape)
    with child(module, {protocol}, directory / "trivial.log") as trivial:
        url = trivial.urls[protocol]
        if protocol == "REST":
            yield trivial, partial(Wrk(directory, traffic.threads).run, rest_json(url, "add_sub", inputs))
        else:
            yield trivial, partial(H2load(directory, traffic.threads).run, grpc_raw(url, "add_sub", inputs))


def most_per_second(one: Sequence[Measured], processes: int, cpus: int) -> float | None:
    """How many requests per second there is room for on so many CPUs that the generator shares, if a request costs what
    it has cost with `one` process. None where nobody can tell.
    """
    cpu = [each.cpu_us for each in one if each.cpu_us is not None]
    if not cpu:
        return None
    server_s = Spread.of(cpu).median / 1e6
    generator_s = Spread.of(each.load.busy / each.load.per_second for each in one).median
    return min(processes / server_s, cpus / (server_s + generator_s))


def report(found: Mapping[Case, Sequence[Measured]], cpus: int) -> Iterator[str]:
    """A table in Markdown, a line for each case: medians of the rounds, and the lowest and highest throughput."""
    yield (
        "| | connections | processes | req/s | × one process | of what fits | p50 | p99 | CPU per request "
        "| generator |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for case, rounds in sorted(found.items()):
        rate = Spread.of(each.load.per_second for each in rounds)
        one = found.get(case._replace(processes=1))
        times = f"{rate.median / Spread.of(each.load.per_second for each in one).median:.2f}" if one else ""
        most = most_per_second(one, case.processes, cpus) if one else None
        fits = f"{rate.median / most:.2f}" if most else ""
        p50, p99 = (
            Spread.of(getattr(each.load.latency, name) for each in rounds).median
            for name in ("p50_us", "p99_us")
        )
        cpu = [each.cpu_us for each in rounds if each.cpu_us is not None]
        busy = Spread.of(each.load.busy for each in rounds).median
        yield (
            f"| {case.protocol}, {case.who} | {case.connections} | {case.processes} "
            f"| {rate.median:,.0f} ({rate.low:,.0f} to {rate.high:,.0f}) | {times} | {fits} | {p50 / 1000:.2f} ms "
            f"| {p99 / 1000:.2f} ms | {f'{Spread.of(cpu).median:.0f} µs' if cpu else ''} | {busy:.2f} CPU |"
        )


def generator_report(found: Mapping[Case, Sequence[Measured]], least_us: float) -> Iterator[str]:
    """What the generators cost, and how busy they are when so many processes are asked for 1.6 times as much as one."""
    yield (
        f"To write a request over REST to a socket and to read the answer costs the kernel {least_us:.1f} µs of CPU "
        "time on the generator's side."
    )
    for case, rounds in sorted(found.items()):
        if case.who != "server" or case.processes != 1:
            continue
        wanted = _TIMES * Spread.of(each.load.per_second for each in rounds).median
        own_us = 1e6 * Spread.of(each.load.busy / each.load.per_second for each in rounds).median
        least = f", {wanted * least_us / 1e6:.2f} CPU at the least" if case.protocol == "REST" else ""
        yield (
            f"{case.protocol}, {case.connections} connections: the generator takes {own_us:.1f} µs per request; for "
            f"{_TIMES} times the throughput of one process it would take {wanted * own_us / 1e6:.2f} CPU{least}."
        )


if __name__ == "__main__":
    sys.exit(main())
