"""A run of `kserve-v2 bench`: from its options to its report."""

import argparse
import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from io import StringIO
from pathlib import Path

from kserve_v2.bench import table
from kserve_v2.bench.arrivals import Arrivals
from kserve_v2.bench.connect import control_of
from kserve_v2.bench.cpu_meter import CpuMeter, meter_of
from kserve_v2.bench.encoding import Form
from kserve_v2.bench.errors import BenchError, BenchUsageError
from kserve_v2.bench.event_loop import run_measurement
from kserve_v2.bench.load import ClosedLoop, Load, OpenLoop
from kserve_v2.bench.made_up import Wishes
from kserve_v2.bench.measure import Plan, Subject, measure
from kserve_v2.bench.page import page_of
from kserve_v2.bench.pictures import charts_of
from kserve_v2.bench.plot import check_plot, draw
from kserve_v2.bench.requests import Source, Vary, described, documents_of, prepare_all
from kserve_v2.bench.results import CSV_COLUMNS, Report, as_json, csv_rows, results_of
from kserve_v2.bench.target import DEFAULT_URLS, Protocol, Target, parse_target

_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]+")

_CONNECTIONS = 128
_STABILITY = 10.0

_NO_CPU = (
    "the server's CPU time is not known: name its --metrics-url, or its --pid if it runs on this machine"
)


def run(arguments: argparse.Namespace, say: Callable[[str], None], tell: Callable[[str], None]) -> int:
    """The command. `say`: prints a report; `tell`: what happens meanwhile. Raises BenchError."""
    plan = plan_of(arguments)
    if arguments.plot:
        check_plot(arguments.plot)
    targets = targets_of(arguments)
    subjects, request = _subjects(arguments, targets)
    tell = silent if arguments.quiet else tell
    timed = max((load.connections for load in plan.loads if isinstance(load, OpenLoop)), default=0)
    points = run_measurement(measure(subjects, plan, tell), timed)
    notes = [] if all(point.cpu_us is not None for row in points for point in row) else [_NO_CPU]
    report = Report(
        arguments.model,
        {subject.name: subject.target.url for subject in subjects},
        request,
        plan,
        results_of(points, plan),
        datetime.now().astimezone().isoformat(" ", "seconds"),
        notes,
    )
    _write(report, arguments, say)
    return 0 if all(result.answers for result in report.results) else 1


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Raises BenchUsageError."""
    if arguments.rate is not None and arguments.concurrency is not None:
        raise BenchUsageError("--concurrency is for a closed loop, --rate for an open one: give one of them")
    if arguments.max_rounds == 1 and arguments.stability is not None:
        raise BenchUsageError(
            "--stability is how close rounds are to each other, and --max-rounds 1 has only one"
        )
    return Plan(
        loads_of(arguments),
        arguments.warm_up,
        arguments.duration,
        arguments.max_rounds,
        tolerance=(arguments.stability or _STABILITY) / 100,
        timeout_s=arguments.timeout,
        vary=Vary(arguments.vary),
    )


def loads_of(arguments: argparse.Namespace) -> list[Load]:
    """Raises BenchUsageError."""
    if arguments.rate is None:
        for flag in ("arrivals", "connections"):
            if getattr(arguments, flag) is not None:
                raise BenchUsageError(f"--{flag} goes with --rate: it is for an open loop")
        numbers = _numbers("--concurrency", arguments.concurrency or "1,4,16")
        if any(number != int(number) for number in numbers):
            raise BenchUsageError(f"--concurrency: expected whole numbers, got {arguments.concurrency!r}")
        return [ClosedLoop(int(number)) for number in numbers]
    arrivals, connections = Arrivals(arguments.arrivals or "poisson"), arguments.connections or _CONNECTIONS
    return [OpenLoop(rate, arrivals, connections) for rate in _numbers("--rate", arguments.rate)]


def _numbers(option: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < 1e7 for number in numbers):
        raise BenchUsageError(f"{option}: expected numbers above 0, separated by commas, got {text!r}")
    return numbers


def targets_of(arguments: argparse.Namespace) -> list[Target]:
    """The servers, the first one first. Raises BenchUsageError."""
    protocol = Protocol(arguments.protocol) if arguments.protocol else None
    first = parse_target(arguments.url or DEFAULT_URLS[protocol or Protocol.REST], protocol)
    headers = tuple(map(_header, arguments.header))
    ca_file = arguments.ca_file or ""
    if ca_file and not Path(ca_file).is_file():
        raise BenchUsageError(f"--ca-file {ca_file}: no such file")
    targets = [first, *map(parse_target, arguments.compare)]
    if ca_file and not any(target.tls for target in targets):
        raise BenchUsageError(f"--ca-file is for a server with TLS, and {first.url} is none")
    if arguments.json_tensors and all(target.protocol is Protocol.GRPC for target in targets):
        raise BenchUsageError("--json-tensors is for REST: over gRPC tensors are no JSON")
    if arguments.pid is not None and arguments.metrics_url is not None:
        raise BenchUsageError(
            "--pid and --metrics-url both say where the server's CPU time is from: give one of them"
        )
    return [replace(target, headers=headers, ca_file=ca_file) for target in targets]


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _HEADER_NAME.fullmatch(name) or not value.isprintable():
        raise BenchUsageError(f"--header: expected NAME=VALUE, got {text!r}")
    return name.lower(), value


def wishes_of(arguments: argparse.Namespace) -> Wishes:
    """Raises BenchUsageError."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in arguments.shape:
        name, colon, sizes = text.rpartition(":")
        try:
            shape = tuple(int(size) for size in sizes.split(",") if size)
        except ValueError:
            colon, shape = "", ()
        if not colon or not name or any(size < 0 for size in shape):
            raise BenchUsageError(f"--shape: expected NAME:N,N as in --shape tokens:128, got {text!r}")
        shapes[name] = shape
    values: dict[str, str] = {}
    for text in arguments.values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BenchUsageError(
                f"value of an input: expected NAME=VALUE as in image=@image.npy, got {text!r}"
            )
        values[name] = value
    return Wishes(arguments.batch, shapes, values)


def _subjects(arguments: argparse.Namespace, targets: Sequence[Target]) -> tuple[list[Subject], str]:
    """What is measured, and what is sent, in words."""
    source = Source(wishes_of(arguments), arguments.request, Vary(arguments.vary))
    model, version = arguments.model, arguments.model_version
    controls = [control_of(target, model, version) for target in targets]
    views = [control.view() for control in controls]
    documents = documents_of(views[0], source)
    names = _names(targets)
    subjects = []
    for number, (target, control, view) in enumerate(zip(targets, controls, views, strict=True)):
        form = Form(
            target,
            model,
            version,
            binary=view.binary and source.file is None and not arguments.json_tensors,
            sequences=view.sequences,
            batches=view.batches,
        )
        # Of the others only what is usual is known.
        options = (arguments.pid, arguments.metrics_url) if number == 0 else (None, None)
        meter: CpuMeter = meter_of(target, *options)
        subjects.append(Subject(names[number], target, control, meter, prepare_all(documents, form)))
    return subjects, described(views[0], documents, source, subjects[0].requests[0].size)


def _names(targets: Sequence[Target]) -> list[str]:
    """Each server's, by what tells them apart."""
    shown = [target.authority for target in targets]
    if len(set(shown)) == len(targets):
        return shown
    return [f"{number} {target.url}" for number, target in enumerate(targets, 1)]


def silent(_: str) -> None:
    """--quiet"""


def _write(report: Report, arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    if arguments.json:
        say(json.dumps(as_json(report), indent=2))
    elif arguments.csv:
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        writer.writerows(csv_rows(report))
        say(text.getvalue().rstrip("\n"))
    else:
        table.show(report, say)
    try:
        if arguments.html:
            arguments.html.write_text(page_of(report), encoding="utf-8")
        if arguments.plot:
            draw(charts_of(report), arguments.plot)
    except OSError as error:
        raise BenchError(f"cannot write the report: {error}") from None
