"""What `kserve-v2 stats` does: rates and averages of counters."""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_v2.client import Client
from kserve_v2.commands.asking.tables import console, plain_table, rich_table, show_table
from kserve_v2.commands.client_options import asking
from kserve_v2.commands.command import UsageError
from kserve_v2.commands.output import say
from kserve_v2.logs.terminal import terminal
from kserve_v2.plain_text import in_a_line

Counters = Mapping[tuple[str, str], Mapping[str, Any]]
"""By model and version, as the protocol has them."""

_PHASES = ("compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one version, over some time. Durations in nanoseconds, of all requests together."""

    requests: int
    failed: int
    rows: int
    executions: int
    total_ns: int
    queue_ns: int
    compute_ns: int
    hits: int
    misses: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Numbers":
        """Of one entry of the statistics; what a server does not tell is 0."""
        stats = entry.get("inference_stats") or {}

        def value(name: str, what: str) -> int:
            return int((stats.get(name) or {}).get(what) or 0)

        return cls(
            value("success", "count"),
            value("fail", "count"),
            int(entry.get("inference_count") or 0),
            int(entry.get("execution_count") or 0),
            value("success", "ns"),
            value("queue", "ns"),
            sum(value(name, "ns") for name in _PHASES),
            value("cache_hit", "count"),
            value("cache_miss", "count"),
        )

    def since(self, before: "Numbers | None") -> "Numbers":
        """What has come to what was before. A model that was loaded again has begun anew."""
        if before is None or self.requests < before.requests or self.failed < before.failed:
            return self
        return Numbers(*(getattr(self, name) - getattr(before, name) for name in self.__slots__))


def row_of(model: str, version: str, numbers: Numbers, seconds: float | None) -> list[str]:
    """The cells of one line. `seconds`: how long it took, None for since the load."""
    requests = numbers.requests
    count = str(requests) if seconds is None else f"{requests / seconds:.1f}"

    def mean_ms(total_ns: int) -> str:
        return f"{total_ns / requests / 1e6:.3f}" if requests else "-"

    asked = numbers.hits + numbers.misses
    return [
        model,
        version,
        count,
        str(numbers.failed),
        f"{numbers.rows / numbers.executions:.1f}" if numbers.executions else "-",
        mean_ms(numbers.total_ns),
        mean_ms(numbers.queue_ns),
        mean_ms(numbers.compute_ns),
        f"{100 * numbers.hits / asked:.0f} %" if asked else "-",
    ]


def head(*, rates: bool) -> list[str]:
    """What stands above them."""
    requests = "REQ/S" if rates else "REQUESTS"
    return [
        "MODEL",
        "VERSION",
        requests,
        "FAILED",
        "ROWS/EXEC",
        "LATENCY ms",
        "QUEUE ms",
        "COMPUTE ms",
        "CACHE",
    ]


_NUMBERS = tuple(range(2, 9))


def rows_of(now: Counters, before: Counters | None, seconds: float | None) -> list[list[str]]:
    """All lines: of counters, or of what has come to earlier ones."""
    rows = []
    for (model, version), entry in sorted(now.items()):
        earlier = None if before is None else before.get((model, version))
        numbers = Numbers.of(entry).since(None if earlier is None else Numbers.of(earlier))
        rows.append(row_of(in_a_line(model), in_a_line(version), numbers, seconds))
    return rows


def run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show them. Raises UsageError, CommandError."""
    if namespace.count is not None and namespace.watch is None:
        raise UsageError("--count goes with --watch")
    if namespace.json and namespace.watch is not None:
        raise UsageError("--json is for counters, and --watch for people: give one of them")
    with asking(namespace, environ) as client:
        if namespace.watch is not None:
            _watch(client, namespace, environ)
            return 0
        statistics = client.statistics(namespace.model)
    if namespace.json:
        say(json.dumps(statistics, indent=2, ensure_ascii=False))
    elif statistics:
        show_table(head(rates=False), rows_of(_by_model(statistics), None, None), environ, _NUMBERS)
    else:
        say("no model is loaded")
    return 0


def _by_model(statistics: Sequence[Mapping[str, Any]]) -> Counters:
    return {(str(each.get("name")), str(each.get("version") or "")): each for each in statistics}


def _watch(client: Client, namespace: argparse.Namespace, environ: Mapping[str, str]) -> None:
    tables = _tables(client, namespace.model, namespace.watch, namespace.count)
    if not terminal(sys.stdout, environ).animated:
        for rows in tables:
            say(plain_table(head(rates=True), rows, _NUMBERS) + "\n")
        return
    from rich.live import Live  # noqa: PLC0415 - it is large

    with Live(console=console(), auto_refresh=False) as live:
        for rows in tables:
            live.update(rich_table(head(rates=True), rows, _NUMBERS), refresh=True)


def _tables(client: Client, model: str, interval_s: float, count: int | None) -> Iterator[list[list[str]]]:
    """The lines of one table after the other, each of the time since the one before."""
    waiting = threading.Event()
    before, began = _by_model(client.statistics(model)), time.monotonic()
    while count is None or count > 0:
        waiting.wait(interval_s)
        now, at = _by_model(client.statistics(model)), time.monotonic()
        yield rows_of(now, before, at - began)
        before, began = now, at
        count = None if count is None else count - 1
