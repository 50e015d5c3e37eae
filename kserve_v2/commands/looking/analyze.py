"""`kserve-v2 analyze`: which model it is, and what becomes of the configuration that won."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from kserve_v2.bench.bench import silent, wishes_of
from kserve_v2.bench.errors import BenchError, BenchUsageError
from kserve_v2.bench.made_up import Wishes
from kserve_v2.bench.plot import check_plot, draw
from kserve_v2.bench.requests import Source, Vary
from kserve_v2.commands.looking.models import at_hand, known_model, looking_options
from kserve_v2.commands.output import say, tell
from kserve_v2.config.text_files import read_text
from kserve_v2.errors import ServingError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.preparing.candidate import find_entry
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.repository.reading.layout import CONFIG
from kserve_v2.repository.reading.scan import config_path
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings
from kserve_v2.startup import StartupError
from kserve_v2.tuning import report
from kserve_v2.tuning.analyze import Task, analyze, write
from kserve_v2.tuning.candidate import Dimension
from kserve_v2.tuning.report import Analysis
from kserve_v2.tuning.trials import Terms

_SAMPLE = "sample_request.json"

# Of the server for the trials these are its own.
_NOT_PASSED_ON = {
    "model_control_mode", "load_model", "allow_metrics", "http_address", "http_port", "grpc_address", "grpc_port",
    "allow_http", "allow_grpc", "metrics_port", "metrics_address", "reload", "repository_poll_secs",
}  # fmt: skip


def run(settings: Settings, namespace: argparse.Namespace, model: str) -> int:
    """Analyze, report, and write. Raises BenchError, SettingsError, StartupError."""
    if namespace.plot:
        check_plot(namespace.plot)
    if namespace.json_tensors and namespace.protocol == "grpc":
        raise BenchUsageError("--json-tensors is for REST, and --protocol is grpc: leave one of them out")
    for name in sorted(_NOT_PASSED_ON & flags.given(namespace).keys()):
        tell(f"warning: --{name.replace('_', '-')} is ignored: the server for the trials has its own")
    options = looking_options(settings, BackendRegistry())
    with at_hand(options):
        known_model(model, options)
        directory, path = _places(model, options)
        text = _text(path)
    task = Task(
        model,
        text,
        [*_passed_on(namespace)],
        _source(namespace, directory),
        Terms(
            namespace.latency_budget,
            namespace.minutes,
            namespace.round,
            concurrency=namespace.max_concurrency,
            vary=Vary(namespace.vary),
        ),
        _given(namespace),
        cpu_budget(),
        "gRPC" if namespace.protocol == "grpc" else "REST",
        json_tensors=namespace.json_tensors,
    )
    analysis, chosen = analyze(task, silent if namespace.quiet else tell)
    _show(analysis, chosen, namespace, path)
    return 0


def _places(model: str, options: RepositoryOptions) -> tuple[Path, Path]:
    """A model's directory, and where its configuration stands, or would."""
    try:
        entry = find_entry(model, options)
        if entry is None:
            raise StartupError(f"model '{model}' is not there any more")
        return entry.path, config_path(entry, options.config_name or None) or entry.path / CONFIG
    except ServingError as error:
        raise StartupError(f"model '{model}': {error.message}") from None


def _text(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return read_text(path, path.name, comments=True)
    except ServingError as error:
        raise BenchError(error.message) from None


def _passed_on(namespace: argparse.Namespace) -> Iterator[str]:
    for name, values in flags.given(namespace).items():
        if name not in _NOT_PASSED_ON:
            yield from (f"--{name.replace('_', '-')}={value}" for value in values)


def _source(namespace: argparse.Namespace, directory: Path) -> Source:
    """The request that is named, or else the model's own sample, unless something is said of made up ones."""
    wishes = wishes_of(namespace)
    sample = directory / _SAMPLE
    if namespace.request is None and wishes == Wishes() and sample.is_file():
        return Source(wishes, sample, Vary(namespace.vary))
    return Source(wishes, namespace.request, Vary(namespace.vary))


def _given(namespace: argparse.Namespace) -> dict[Dimension, list[int]]:
    given = {
        Dimension.BATCH: namespace.batch_sizes,
        Dimension.DELAY: namespace.delays_us,
        Dimension.INSTANCES: namespace.instances,
        Dimension.THREADS: namespace.threads,
    }
    for dimension in (Dimension.BATCH, Dimension.INSTANCES):
        if 0 in (given[dimension] or ()):
            raise BenchUsageError(f"values of {dimension}: expected whole numbers from 1")
    return {dimension: values for dimension, values in given.items() if values}


def _show(analysis: Analysis, chosen: str, namespace: argparse.Namespace, path: Path) -> None:
    if namespace.json:
        say(json.dumps(report.as_json(analysis, chosen), indent=2))
    else:
        say(report.text(analysis))
    try:
        if namespace.html:
            namespace.html.write_text(report.page(analysis, chosen), encoding="utf-8")
        if namespace.plot:
            draw([report.chart_of(analysis)], namespace.plot)
    except OSError as error:
        raise BenchError(f"cannot write the report: {error}") from None
    if not analysis.found.decided:
        return
    if namespace.write:
        kept = write(path, chosen)
        tell(f"wrote {path}" + (f"; what was there is {kept.name}" if kept else ""))
    elif not namespace.json:
        say(f"\n{path.name} (--write puts it in its place):\n\n{chosen}")
