"""How much CPU time a server has taken: by its own metrics, or by the kernel if it runs on this machine."""

import http.client
from dataclasses import dataclass

from kserve_v2.bench.control import ask
from kserve_v2.bench.errors import BenchError, BenchUsageError
from kserve_v2.bench.process_cpu import family_cpu_seconds
from kserve_v2.bench.server_side import cpu_seconds
from kserve_v2.bench.target import Protocol, Target, parse_target

_USUAL_PORTS = (8000, 8001)
_METRICS_PORT = 8002


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """`pid`: of a process, which counts together with those below it. `metrics`: where metrics are, and the path."""

    pid: int | None = None
    metrics: tuple[Target, str] | None = None

    def read(self) -> float | None:
        """Seconds so far; None if they cannot be told."""
        if self.pid is not None:
            return family_cpu_seconds(self.pid)
        if self.metrics is None:
            return None
        try:
            status, _, content = ask(self.metrics[0], "GET", self.metrics[1], timeout_s=5)
        except BenchError:
            return None
        return cpu_seconds(content.decode(errors="replace")) if status == http.client.OK else None


def meter_of(target: Target, pid: int | None, metrics_url: str | None) -> CpuMeter:
    """What there is for one server. Where nothing is said: the metrics on port 8002 of a server whose ports are the
    usual ones. Raises BenchUsageError for a process or metrics that are not there.
    """
    if pid is not None:
        meter = CpuMeter(pid=pid)
        if meter.read() is None:
            raise BenchUsageError(f"--pid {pid}: there is no such process on this machine")
        return meter
    if metrics_url is not None:
        found = parse_target(metrics_url, Protocol.REST)
        meter = CpuMeter(metrics=(found, found.prefix or "/metrics"))
        if meter.read() is None:
            raise BenchUsageError(f"--metrics-url {metrics_url}: there is no process_cpu_seconds_total")
        return meter
    if target.port in _USUAL_PORTS and not target.tls and not target.prefix:
        url = f"http://{target.authority.rpartition(':')[0]}:{_METRICS_PORT}"
        return CpuMeter(metrics=(parse_target(url), "/metrics"))
    return CpuMeter()
