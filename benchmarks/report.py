"""The table, on a terminal and in Markdown, and what it was measured on."""

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.result import Row, Spread

HEADER = ("Case", "Measure", "Server", "Yardstick", "Result", "Target", "Met")

_PACKAGES = (
    "kserve-v2", "uvicorn", "httptools", "uvloop", "orjson", "grpcio", "protobuf", "numpy", "onnxruntime",
    "onnxruntime-gpu",
)  # fmt: skip
_SIGNS = {"at least": "≥", "at most": "≤"}


def text_report(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """The report for a terminal."""
    lines = [HEADER, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    described = [f"{name}: {value}" for name, value in facts.items()]
    return "\n".join([*table, "", *_notes(rows), "", *described])


def markdown_report(rows: Sequence[Row], facts: Mapping[str, str], plot: str) -> str:
    """The report as a document. `plot`: file name of the picture beside it."""
    lines = [HEADER, ("---",) * len(HEADER), *map(_cells, rows)]
    parts = [
        "# Results",
        "Written by `python -m benchmarks --write`; README.md says how to read it.",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        f"![Results as multiples of their targets]({plot})",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        "\n".join(f"- {note}" for note in _notes(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def machine_facts() -> dict[str, str]:
    """The machine and the versions that were measured."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "Machine": f"{_cpu_model()}, {cpus} CPUs, {platform.system()} {platform.machine()}",
        "Versions": ", ".join([f"Python {platform.python_version()}", *_installed()]),
        "Commit": _commit(),
    }


def _cells(row: Row) -> tuple[str, ...]:
    target = "" if row.target is None else f"{_SIGNS[row.target.kind]} {row.target.limit:g} {row.result_unit}"
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
    """The notes of the rows; rows of one case with the same note share it."""
    by_note: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.note:
            by_note.setdefault((row.case, row.note), []).append(row.measure)
    return [f"{case}: {'; '.join(measures)}: {note}" for (case, note), measures in by_note.items()]


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
