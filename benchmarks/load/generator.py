"""What all load generators have in common."""

import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol, TypeVar

from benchmarks.load.exchange import GrpcExchange, RestExchange
from benchmarks.processes import run

_GRACE_SECONDS = 30

_Sent_contra = TypeVar("_Sent_contra", RestExchange, GrpcExchange, contravariant=True)


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of the time from a request to its answer, in microseconds. `p999_us`: None if not known."""

    p50_us: float
    p99_us: float
    p999_us: float | None

    @classmethod
    def of(cls, latencies_us: Iterable[float]) -> "Latency":
        """The quantiles of at least one latency: each the least that its share of them does not exceed."""
        ordered = sorted(latencies_us)
        last = len(ordered) - 1
        return cls(*(ordered[min(last, ceil(share * len(ordered)) - 1)] for share in (0.5, 0.99, 0.999)))


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a generator saw.

    `requests`: answers, all of them right. `busy`: CPU time of the generator over the time that it ran; near
    1 the generator is the bottleneck. `uncounted`: requests whose latency does not count, as the generator was held up.
    """

    requests: int
    seconds: float
    latency: Latency
    busy: float
    uncounted: int = 0

    @property
    def per_second(self) -> float:
        """Throughput in requests per second."""
        return self.requests / self.seconds


class Generator(Protocol[_Sent_contra]):
    """A closed loop: every connection sends its next request when it has the answer to its last one."""

    name: str

    def run(self, exchange: _Sent_contra, connections: int, seconds: int) -> Load:
        """Load a server. Raises LoadError if an answer is not the exchange's."""
        ...


def timed_run(command: Sequence[str], seconds: float, text_input: str = "") -> tuple[str, float]:
    """Run a generator's process; its standard output, and how busy it was."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    output = run(command, seconds + _GRACE_SECONDS, text_input)
    after, elapsed = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return output, cpu / elapsed
