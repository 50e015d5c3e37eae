"""Results for people: a table, and below it what has to be known of it. With rich on a terminal, plain elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from kserve_v2.bench.load import ClosedLoop
from kserve_v2.bench.results import Report, Result

Rows = list[list[str]]

_SIZES_SHOWN = 5


def columns(report: Report) -> tuple[list[str], Rows]:
    """The table: its head, and its rows. Columns that nothing is known of are left out."""
    cells = [_cells(result, report) for result in report.results]
    head = list(cells[0]) if cells else []
    kept = [name for name in head if any(row[name] for row in cells)]
    return kept, [[row[name] or "-" for name in kept] for row in cells]


def _cells(result: Result, report: Report) -> dict[str, str]:
    latency = result.latency_ms
    closed = isinstance(result.load, ClosedLoop)
    answered = result.answers > 0
    more_rows = result.inferences_per_second > result.requests_per_second
    stages = result.stages_us
    compute = sum(value for stage, value in stages.items() if stage != "queue")
    return {
        "server": result.server if report.compares else "",
        "connections" if closed else "rate": str(
            result.load.concurrency
            if isinstance(result.load, ClosedLoop)
            else f"{result.load.per_second:g}/s"
        ),
        "requests/s": f"{result.requests_per_second:,.0f}",
        "rows/s": f"{result.inferences_per_second:,.0f}" if more_rows else "",
        **{
            f"{name} ms": _milliseconds(latency[name]) if answered else ""
            for name in ("p50", "p90", "p95", "p99", "p99.9")
        },
        "errors": f"{sum(result.errors.values()):,}" if result.errors else "",
        "batch": "" if result.mean_batch is None else f"{result.mean_batch:.1f}",
        "queue ms": _milliseconds(stages["queue"] / 1000) if "queue" in stages else "",
        "compute ms": _milliseconds(compute / 1000) if "compute_infer" in stages else "",
        "server CPU us": "" if result.server_cpu_us is None else f"{result.server_cpu_us:,.0f}",
        "generator CPU": f"{result.generator_busy:.0%}",
        "ratio": "" if result.ratio is None else f"{result.ratio:.2f}",
    }


def _milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def notes(report: Report) -> Iterator[str]:
    """What stands below the table."""
    for result in report.results:
        who = f"{result.server}, {result.load}" if report.compares else str(result.load)
        for text in result.warnings:
            yield f"warning: {who}: {text}"
        for reason, number in result.errors.items():
            yield f"error: {who}: {number} x {reason}"
        if len(result.batches) > 1:
            yield f"{who}: rows of executions: {batch_sizes(result.batches)}"
    yield from report.notes


def batch_sizes(batches: Mapping[int, int]) -> str:
    """The sizes that are most frequent, with their shares."""
    total = sum(batches.values())
    most = sorted(batches, key=lambda size: -batches[size])[:_SIZES_SHOWN]
    shown = [f"{size} ({batches[size] / total:.0%})" for size in sorted(most)]
    return ", ".join([*shown, "..."] if len(batches) > len(most) else shown)


def title(report: Report) -> str:
    """What stands above it."""
    servers = ", ".join(f"{name}: {url}" if report.compares else url for name, url in report.servers.items())
    return f"{report.model} at {servers}\n{report.request}"


def plain(report: Report) -> str:
    """All of it as text."""
    return "\n".join([title(report), "", aligned(*columns(report)), *_spaced(notes(report))])


def _spaced(lines: Iterator[str]) -> list[str]:
    found = list(lines)
    return ["", *found] if found else []


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns that are as wide as they have to be, numbers at the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def show(report: Report, say: Callable[[str], None]) -> None:
    """Print it: on a terminal by rich, elsewhere by `say`."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        say(plain(report))
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - it is large
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        say(plain(report))
        return
    head, rows = columns(report)
    table = Table(*(), title=None, header_style="bold")
    for name in head:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    console.print(Text(title(report)))
    console.print(table)
    for note in notes(report):
        style = {"warning": "yellow", "error": "red"}.get(note.partition(":")[0], "")
        console.print(Text(note, style=style))
