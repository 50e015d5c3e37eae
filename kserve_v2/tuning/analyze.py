"""A run of `kserve-v2 analyze`: from a model's directory to the configuration that suits it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.bench.connect import control_of
from kserve_v2.bench.encoding import Form
from kserve_v2.bench.errors import BenchError, BenchUsageError
from kserve_v2.bench.event_loop import run_measurement
from kserve_v2.bench.requests import Source, described, documents_of, prepare_all
from kserve_v2.config import is_ensemble, parse_config
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.config.support import THREAD_PARAMETERS
from kserve_v2.config.switches import SPLIT_LARGE_REQUESTS
from kserve_v2.tuning.candidate import (
    DEFAULT_THREADS,
    NO_BATCHING,
    OWN_CHOICE,
    Candidate,
    Dimension,
    Limits,
    Space,
    space_around,
)
from kserve_v2.tuning.config_text import Wanted, changed_config, changed_text
from kserve_v2.tuning.report import Analysis, gain
from kserve_v2.tuning.search import Search
from kserve_v2.tuning.trial_server import TrialServer, refused, trial_server
from kserve_v2.tuning.trials import Findings, Terms, Trials

_SAME_MACHINE = "The load came from the same machine, whose CPUs it shared with the server."


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be analyzed. `text`: of the model's configuration, "" for none; `flags`: of the server. `given`:
    values to try. `protocol`: `REST` or `gRPC`. `json_tensors`: over REST, nothing is sent as bytes.
    """

    model: str
    text: str
    flags: Sequence[str]
    source: Source
    terms: Terms
    given: Mapping[Dimension, Sequence[int]]
    cpus: int
    protocol: str = "REST"
    json_tensors: bool = False


def analyze(task: Task, tell: Callable[[str], None]) -> tuple[Analysis, str]:
    """What came of it, and the text of the configuration that won; of the current one, the text as it is. Raises
    BenchError.
    """
    with trial_server(task.model, task.flags) as server:
        tell(f"loads {task.model} as it is")
        server.load(None)
        return _analyzed(task, server, tell)


def _analyzed(task: Task, server: TrialServer, tell: Callable[[str], None]) -> tuple[Analysis, str]:
    written = parse_config(task.text, "config.pbtxt")
    served = server.effective_config()
    if is_ensemble(served):
        steps = ", ".join(dict.fromkeys(step.model_name for step in served.ensemble_scheduling.step))
        raise BenchUsageError(
            f"'{task.model}' is an ensemble: analyze the models that it is made of: {steps}"
        )
    if served.model_transaction_policy.decoupled:
        raise BenchUsageError(f"'{task.model}' answers in streams, which cannot be measured yet")
    target = server.targets[task.protocol]
    view = control_of(target, task.model).view()
    documents = documents_of(view, task.source)
    form = Form(
        target,
        task.model,
        binary=view.binary and task.source.file is None and not task.json_tensors,
        sequences=view.sequences,
        batches=view.batches,
    )
    requests = prepare_all(documents, form)
    parameter = THREAD_PARAMETERS.get(served.backend, "")
    start = current(written, served, parameter)
    merges = start.delay_us != NO_BATCHING or may_merge(server, written)
    limits = limits_of(served, requests[0].rows, task, parameter, merges=merges)
    space = space_around(start, limits, task.given)
    splits = _splits(written, served)

    def wanted(candidate: Candidate) -> Wanted:
        return Wanted(candidate, start, parameter, task.terms.budget_ms, splits)

    trials = Trials(
        server, target, requests, lambda each: changed_config(written, wanted(each)), task.terms, tell
    )
    search = Search(space, start, task.terms.margin)
    found = run_measurement(trials.run(search, start))
    analysis = Analysis(
        task.model,
        described(view, documents, task.source, requests[0].size),
        task.terms,
        found,
        space.size,
        tuple(_notes(found, served, space, limits, splits)),
    )
    if not found.decided:
        return analysis, task.text
    return analysis, changed_text(task.text, wanted(found.winner), f"{found.winner}: {gain(found)}.")


def current(written: ModelConfig, served: ModelConfig, parameter: str) -> Candidate:
    """The configuration as it is. `served`: completed by the server."""
    delay = NO_BATCHING
    if LATENCY_BUDGET_MS in written.parameters:
        delay = OWN_CHOICE
    elif served.HasField("dynamic_batching"):
        delay = served.dynamic_batching.max_queue_delay_microseconds
    threads = DEFAULT_THREADS
    if parameter in written.parameters:
        text = written.parameters[parameter].string_value
        threads = int(text) if text.isdecimal() else DEFAULT_THREADS
    instances = served.instance_group[0].count if served.instance_group else 1
    return Candidate(served.max_batch_size, delay, instances, threads)


def may_merge(server: TrialServer, written: ModelConfig) -> bool:
    """Whether the server would merge requests of this model by itself if batches were larger than one row: it does so
    where it has found, or the model says, that rows are answered independently. What it does when it is told to proves
    nothing.
    """
    if written.WhichOneof("scheduling_choice") is not None:
        return False
    larger = ModelConfig()
    larger.CopyFrom(written)
    larger.max_batch_size = max(2, written.max_batch_size)
    try:
        server.load(larger)
    except BenchError as error:
        if not refused(error):
            raise
        return False
    return server.effective_config().HasField("dynamic_batching")


def limits_of(served: ModelConfig, rows: int, task: Task, parameter: str, *, merges: bool) -> Limits:
    """What the space is made within. `merges`: whether requests may be merged."""
    groups = served.instance_group
    return Limits(
        rows=rows,
        cpus=task.cpus,
        on_gpu=any(group.kind == ModelInstanceGroup.KIND_GPU for group in groups),
        budget_ms=task.terms.budget_ms,
        thread_parameter=parameter,
        batches=served.max_batch_size > 0 and merges,
        one_group=len(groups) <= 1,
    )


def _splits(written: ModelConfig, served: ModelConfig) -> bool:
    """Whether larger requests are executed in parts because the server has chosen the size itself, which it does not do
    of handlers.
    """
    chosen = not written.max_batch_size and served.max_batch_size > 0 and served.backend != "python"
    return chosen and SPLIT_LARGE_REQUESTS not in written.parameters


def _notes(found: Findings, served: ModelConfig, space: Space, limits: Limits, splits: bool) -> Sequence[str]:
    notes = [_SAME_MACHINE]
    if served.max_batch_size and not limits.batches and not served.HasField("sequence_batching"):
        notes.append(
            "Requests are not merged: neither does the configuration say so, nor has the server found that rows are "
            "answered "
            "independently. If they are, write dynamic_batching { } and analyze again."
        )
    if not limits.one_group:
        notes.append("There are several instance groups: their counts were left as they are.")
    if found.winner.max_batch_size < found.start.max_batch_size and not splits:
        notes.append(
            f"Requests with more than {found.winner.max_batch_size} rows are refused then; the parameter "
            f"{SPLIT_LARGE_REQUESTS} has them executed in parts."
        )
    for dimension, values in space.values.items():
        best = getattr(found.best, dimension)
        if len(values) > 1 and best == values[-1] and found.decided and dimension is Dimension.BATCH:
            notes.append(f"{dimension} {best} is the largest that was tried: larger ones may be better.")
    return notes


def write(path: Path, text: str) -> Path | None:
    """Put a configuration in its place in one step, and keep the old one beside it; where that is, None if there was
    none. Raises BenchError.
    """
    kept = None
    try:
        if path.exists():
            kept = _free(path)
            kept.write_bytes(path.read_bytes())
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from None
    return kept


def _free(path: Path) -> Path:
    """A name for the old one that nothing has."""
    kept, number = path.with_name(f"{path.name}.before"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.before{number}")
    return kept
