"""One measurement of a process under load, and a line of the table from several."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cases.add_sub import Subject
from benchmarks.load.generator import Load
from benchmarks.result import Line, Spread


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu_us`: CPU time of the process per request. `mean_batch`: rows of the mean execution. None if not known."""

    load: Load
    cpu_us: float | None
    mean_batch: float | None

    @property
    def tail(self) -> float:
        """The 99th percentile over the median."""
        return self.load.latency.p99_us / self.load.latency.p50_us


def measure(subject: Subject, connections: int, seconds: int) -> Measured:
    """Load it in a closed loop."""
    return measure_run(subject, lambda: subject.run(connections, seconds))


def measure_run(subject: Subject, run: Callable[[], Load]) -> Measured:
    """Load it by `run`, with its account of CPU time and its statistics read before and after."""
    counters, cpu_seconds = subject.counters(), subject.cpu_seconds()
    load = run()
    cpu_seconds_after, counters_after = subject.cpu_seconds(), subject.counters()
    cpu_us, mean_batch = None, None
    if cpu_seconds is not None and cpu_seconds_after is not None:
        cpu_us = (cpu_seconds_after - cpu_seconds) * 1e6 / load.requests
    if counters is not None and counters_after is not None:
        mean_batch = (counters_after - counters).mean_batch
    return Measured(load, cpu_us, mean_batch)


def line(protocol: str, server: str, load: str, found: Sequence[Measured]) -> Line:
    """The line of the table for one process, one measurement a round."""
    loads = [measured.load for measured in found]
    return Line(
        protocol,
        server,
        load,
        per_second=Spread.of(load.per_second for load in loads),
        p50_us=Spread.of(load.latency.p50_us for load in loads),
        p99_us=Spread.of(load.latency.p99_us for load in loads),
        p999_us=_known(load.latency.p999_us for load in loads),
        cpu_us=_known(measured.cpu_us for measured in found),
        mean_batch=_known(measured.mean_batch for measured in found),
    )


def _known(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else None
