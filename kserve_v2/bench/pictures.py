"""The charts of a report."""

from collections.abc import Sequence

from kserve_v2.bench.charts import Chart, Series
from kserve_v2.bench.histogram import QUANTILES
from kserve_v2.bench.load import ClosedLoop
from kserve_v2.bench.results import Report, Result


def charts_of(report: Report) -> list[Chart]:
    """Latency by throughput, one line for each server; and, of each server, throughput by load."""
    of_server = {
        name: [each for each in report.results if each.server == name and each.answers]
        for name in report.servers
    }
    charts = [
        Chart(
            f"{report.model}: p99 by throughput",
            "requests per second",
            "p99 latency, ms",
            [
                Series(
                    name,
                    [(each.requests_per_second, each.latency_ms["p99"]) for each in found],
                    [str(each.load) for each in found],
                )
                for name, found in of_server.items()
            ],
        )
    ]
    for name, found in of_server.items():
        if found:
            charts.append(_quantiles(name, found, report))
    return charts


def _quantiles(name: str, found: Sequence[Result], report: Report) -> Chart:
    closed = isinstance(found[0].load, ClosedLoop)
    who = f"{name}: " if report.compares else ""
    return Chart(
        f"{who}latency by {'connections' if closed else 'rate'}",
        "connections" if closed else "requests per second that were sent",
        "latency, ms",
        [
            Series(quantile, [(_amount(each), each.latency_ms[quantile]) for each in found])
            for quantile in QUANTILES
            if quantile != "p90"
        ],
    )


def _amount(result: Result) -> float:
    load = result.load
    return float(load.concurrency) if isinstance(load, ClosedLoop) else load.per_second
