"""The table, on a terminal and in Markdown, and what it was measured on."""

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.result import Line, Row, Spread

ROW_HEADER = ("Case", "Measure", "Server", "Yardstick", "Result", "Target", "Met")
LINE_HEADER = (
    "Protocol", "Server", "Load", "Requests/s", "p50, us", "p99, us", "p99.9, us", "CPU/request, us", "Mean batch",
)  # fmt: skip

_PACKAGES = (
    "kserve-v2", "uvicorn", "httptools", "uvloop", "orjson", "grpcio", "protobuf", "numpy", "onnxruntime",
    "onnxruntime-gpu",
)  # fmt: skip
_SIGNS = {"at least": "≥", "at most": "≤"}


def text_report(rows: Sequence[Row], lines: Sequence[Line], facts: Mapping[str, str]) -> str:
    """The report for a terminal."""
    parts = [_text_table(table) for table in _tables(rows, lines)]
    parts += ["\n".join(_notes(rows)), "\n".join(f"{name}: {value}" for name, value in facts.items())]
    return "\n\n".join(part for part in parts if part)


def markdown_report(rows: Sequence[Row], lines: Sequence[Line], facts: Mapping[str, str], plot: str) -> str:
    """The report as a document. `plot`: file name of the picture beside it."""
    parts = [
        "# Results",
        "Written by `python -m benchmarks --write`; README.md says how to read it.",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        f"![Throughput by server, and results as multiples of their targets]({plot})",
        _verdict(rows),
        *map(_markdown_table, _tables(rows, lines)),
        "\n".join(f"- {note}" for note in _notes(rows)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(rows: Sequence[Row]) -> str:
    """How many targets were met, and which were not."""
    aimed = [row for row in rows if row.target and row.result]
    missed = [f"{row.case}: {row.measure}" for row in aimed if _cells(row)[-1] == "NO"]
    verdict = f"{len(aimed) - len(missed)} of {len(aimed)} targets are met."
    return verdict if not missed else "\n".join([f"{verdict} Missed:", "", *(f"- {name}" for name in missed)])


Table = Sequence[Sequence[str]]
"""Lines of cells; the first is the header."""


def _tables(rows: Sequence[Row], lines: Sequence[Line]) -> list[Table]:
    """What was loaded, and what is compared; without what is empty."""
    loaded = [LINE_HEADER, *map(_line_cells, lines)]
    compared = [ROW_HEADER, *map(_cells, rows)]
    return [table for table in (loaded, compared) if len(table) > 1]


def _text_table(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def _markdown_table(table: Table) -> str:
    header, *body = table
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ("---",) * len(header), *body))


def machine_facts() -> dict[str, str]:
    """The machine and the versions that were measured."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "Machine": f"{_cpu_model()}, {cpus} CPUs, {platform.system()} {platform.machine()}",
        "Versions": ", ".join([f"Python {platform.python_version()}", *_installed()]),
        "Commit": _commit(),
    }


def run_facts(bench: Bench) -> dict[str, str]:
    """How it was measured, and whether the load generators had time to spare."""
    busy = ", ".join(f"{name} {busy:.0%} of one CPU" for name, busy in bench.busiest.items())
    repeated = {"Measured again, since no answer came": "; ".join(bench.repeated)} if bench.repeated else {}
    return {
        **repeated,
        "Measured": f"{bench.rounds} rounds of {bench.seconds} s; median (lowest to highest)",
        "Load generators": f"{bench.rest.name} for REST, {bench.grpc.name} for gRPC",
        "Busiest that a generator was": busy or "not used",
    }


def _line_cells(line: Line) -> tuple[str, ...]:
    times = (line.p50_us, line.p99_us, line.p999_us, line.cpu_us, line.mean_batch)
    rate = line.per_second
    return (
        line.protocol,
        line.server,
        line.load,
        f"{rate.median:,.0f} ({rate.low:,.0f} to {rate.high:,.0f})",
        *("" if spread is None else _number(spread.median) for spread in times),
    )


def _cells(row: Row) -> tuple[str, ...]:
    target = (
        ""
        if row.target is None
        else f"{_SIGNS[row.target.kind]} {_number(row.target.limit)} {row.result_unit}"
    )
    met = "" if row.target is None or row.result is None else _yes_or_no(row.target.met(row.result.median))
    return (
        row.case,
        row.measure,
        _spread(row.server, row.unit),
        _spread(row.yardstick, row.unit),
        _spread(row.result, row.result_unit),
        target,
        met,
    )


def _yes_or_no(met: bool) -> str:
    return "yes" if met else "NO"


def _spread(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return ""
    if spread.low == spread.high:
        return f"{_number(spread.median)} {unit}"
    return f"{_number(spread.median)} {unit} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _notes(rows: Sequence[Row]) -> list[str]:
    """The notes of the rows; rows of one case with the same note share it. One for a whole case names none of them."""
    by_note: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.note:
            by_note.setdefault((row.case, row.note), []).append(row.measure)
    sizes = Counter(row.case for row in rows)
    return [
        f"{case}: {note}" if len(measures) == sizes[case] else f"{case}: {'; '.join(measures)}: {note}"
        for (case, note), measures in by_note.items()
    ]


def _installed() -> Iterator[str]:
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown CPU")


def _commit() -> str:
    directory = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
