"""Metrics of the server's own processes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kserve_v2.metrics.pauses import Pauses, pause_family
from kserve_v2.metrics.text import Family


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What one process says of itself.

    `number`: 0 for the one that was started first, None where it has no number, being the only one. `cpu_seconds`: with
    that of those before it that had its number. `busy`: the share of the last minute in which its event loop was at
    work. `connections`: how many are open, by protocol. `restarts`: how often it had to be replaced.
    `gc_pauses`: as with `cpu_seconds`.
    """

    number: int | None
    cpu_seconds: float
    busy: float
    inflight_bytes: int = 0
    inflight_limit: int = 0
    inflight_refused: int = 0
    connections: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    gc_pauses: Pauses = ()


def process_families(processes: Sequence[ProcessFigures]) -> Iterator[Family]:
    """The metrics of all processes of a server."""
    # Under the name that exporters of processes give it.
    cpu = Family(
        "process_cpu_seconds_total",
        "counter",
        "CPU time of the server's process, user and system; of models in processes of their own it has none",
    )
    busy = Family(
        "kserve_v2_front_end_busy_ratio",
        "gauge",
        "Share of the last minute in which the event loop was at work: near 1, it is what limits the server",
    )
    for each in processes:
        labels = {} if each.number is None else {"process": str(each.number)}
        cpu.add(labels, each.cpu_seconds)
        busy.add({"process": str(each.number or 0)}, each.busy)
    yield from _inflight(processes)
    yield from (cpu, busy)
    yield pause_family(({"process": str(each.number or 0)}, each.gc_pauses) for each in processes)
    if any(each.number is not None for each in processes):
        yield from _of_several(processes)


def _inflight(processes: Sequence[ProcessFigures]) -> Iterator[Family]:
    for name, kind, text, values in (
        (
            "kserve_v2_inflight_bytes", "gauge", "Memory that requests in flight take",
            [each.inflight_bytes for each in processes],
        ),
        (
            "kserve_v2_inflight_bytes_limit", "gauge", "Memory that they may take",
            [each.inflight_limit for each in processes],
        ),
        (
            "kserve_v2_inflight_refused", "counter", "Requests that were refused for want of such memory",
            [each.inflight_refused for each in processes],
        ),
    ):  # fmt: skip
        family = Family(name, kind, text)
        family.add({}, sum(values))
        yield family


def _of_several(processes: Sequence[ProcessFigures]) -> Iterator[Family]:
    connections = Family("kserve_v2_connections", "gauge", "Open connections of clients")
    restarts = Family(
        "kserve_v2_process_restarts", "counter", "How often a process was replaced after its death"
    )
    for each in processes:
        number = str(each.number)
        for protocol, count in each.connections.items():
            connections.add({"process": number, "protocol": protocol}, count)
        if each.number:
            restarts.add({"process": number}, each.restarts)
    yield from (connections, restarts)
