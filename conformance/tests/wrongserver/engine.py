"""A small v2 server without any wire format: how requests are checked and executed; its other parts are beside it.

Its defects are switched on by name, see `defects.py`. Without any it is correct. It shares the test models'
computations with the writers, and nothing else with the suite.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from wrongserver.bookkeeping import Counters, Queue
from wrongserver.regions import Regions
from wrongserver.repository import Repository
from wrongserver.requests import Input, Output, Refused, Request, Response
from wrongserver.settings import Settings
from wrongserver.values import spoiled

from kserve_v2_conformance.models.catalogue import CATALOGUE, Behaviour, ModelSpec
from kserve_v2_conformance.models.templates import computations

EXTENSIONS = [
    *("classification", "sequence", "sequence(string_id)", "model_repository", "schedule_policy"),
    *("model_configuration", "system_shared_memory", "binary_tensor_data", "parameters", "statistics"),
    *("trace", "logging", "cuda_shared_memory"),
]
DTYPES: dict[str, Any] = {
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BOOL": np.dtype(np.bool_),
    "BYTES": np.dtype(np.object_),
    # Bits are enough for a server that gives its inputs back.
    "BF16": np.dtype("<u2"),
}
# With more threads than these, there are several clients.
_FEW_THREADS = 20
RESERVED = {"priority", "timeout", "sequence_id", "sequence_start", "sequence_end", "binary_data_output"}


class Engine(Repository, Regions, Settings):
    """The server behind its two front ends. `defects`: names that are switched on."""

    def __init__(self, defects: frozenset[str] = frozenset(), without: frozenset[str] = frozenset()) -> None:
        self.defects = defects
        self.extensions = [each for each in EXTENSIONS if each.partition("(")[0] not in without]
        self.models = {model.name: model for model in CATALOGUE if model.loaded_at_start}
        self.reasons: dict[str, str] = {}
        self.failed: set[str] = set()
        self.backend = "python"
        self.files_can_change = False
        self.withheld: set[str] = set()
        self.configurations: dict[str, dict[str, Any]] = {}
        self.counters = {
            (model.name, str(version)): Counters(defects) for model in CATALOGUE for version in model.versions
        }
        self.regions: dict[str, tuple[str, int, int]] = {}
        self.sequences: dict[Any, Any] = {}
        self.sequence_at_work: Any = None
        self.streaming = False
        self.trace: dict[str, Any] = {
            "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0",
            "trace_file": "", "trace_mode": "triton",
        }  # fmt: skip
        self.model_trace: dict[str, dict[str, Any]] = {}
        self.log: dict[str, Any] = {
            "log_file": "", "log_info": True, "log_warning": True, "log_error": True,
            "log_verbose_level": 0, "log_format": "default",
        }  # fmt: skip
        self._lock = threading.Lock()
        self._last_outputs: dict[str, Any] | None = None
        self.stopped = False
        policies = ((each.name, each.queue_policy) for each in CATALOGUE if each.queue_policy)
        self.queues = {
            name: Queue(
                bool(policy.priority_levels) and "priority-ignored" not in defects,
                "timeout-ignored" not in defects,
            )
            for name, policy in policies
        }

    def infer(self, request: Request) -> Response:
        """The only response of a request. Raises Refused and Pretended."""
        if self.stopped:
            raise Refused("the server has stopped after an error", "INTERNAL")
        model, version = self.checked(request)
        if model.decoupled:
            responses = list(self.stream(request))
            if len(responses) != 1:
                self.refuse("decoupled-unary", "the model is decoupled", "UNIMPLEMENTED")
            return responses[0]
        return self._counted(model, version, request, lambda: self._execute(model, version, request))

    def stream(self, request: Request) -> Iterator[Response]:
        """All responses of a request. Raises Refused and Pretended."""
        model, version = self.checked(request)
        if not model.decoupled:
            yield self._counted(model, version, request, lambda: self._execute(model, version, request))
            return
        inputs = {each.name: each.values.reshape(each.shape) for each in request.inputs}
        try:
            for position, outputs in enumerate(computations.stream(model.behaviour.name, inputs)):
                self.counters[model.name, version].count_response(position)
                yield self._response(model, version, request, outputs)
        except RuntimeError as error:
            raise Refused(str(error), "INTERNAL") from None

    def checked(self, request: Request) -> tuple[ModelSpec, str]:
        """The model and version of a request that is valid."""
        if self.streaming and "cancelled-stream-blocks" in self.defects:
            raise Refused("the server is busy", "UNAVAILABLE")
        if "case-of-tensors-ignored" in self.defects:
            for each in request.inputs:
                each.name = each.name.upper()
            request.outputs = (
                [(name.upper(), rest) for name, rest in request.outputs] if request.outputs else None
            )
        asked = "" if "version-ignored" in self.defects else request.version
        model, version = self.find(request.model, asked, "infer")
        specs = {each.name: each for each in model.inputs}
        names = [each.name for each in request.inputs]
        if not names:
            self.refuse("no-inputs", "the request has no inputs")
        for name in names:
            if name not in specs:
                self.refuse("unknown-input", f"unexpected input '{name}'")
            if names.count(name) > 1:
                self.refuse("repeated-input", f"input '{name}' is there twice")
        for spec in model.inputs:
            if spec.name not in names and (not spec.optional or "optional-required" in self.defects):
                self.refuse("missing-input", f"input '{spec.name}' is missing")
        for each in request.inputs:
            self._check_tensor(each, specs[each.name], model)
        outputs = {each.name for each in model.outputs}
        for name, _ in request.outputs or ():
            if name not in outputs:
                self.refuse("unknown-output", f"unexpected output '{name}'")
        return model, version

    def _check_tensor(self, each: Input, spec: Any, model: ModelSpec) -> None:
        if each.datatype != spec.datatype and "bits-reinterpreted" in self.defects:
            each.datatype, each.values = spec.datatype, each.values.view(DTYPES[spec.datatype])
        if each.datatype != spec.datatype:
            self.refuse("other-datatype", f"input '{each.name}' is {each.datatype}, expected {spec.datatype}")
        batch = (-1,) if model.max_batch_size else ()
        want = batch + spec.dims
        if len(each.shape) != len(want) or any(
            w not in (-1, h) for w, h in zip(want, each.shape, strict=True)
        ):
            self.refuse("other-shape", f"input '{each.name}' has the shape {each.shape}, expected {want}")
        if batch and each.shape[0] > model.max_batch_size and "rows-cut" in self.defects:
            each.values = each.values.reshape(each.shape)[: model.max_batch_size].ravel()
            each.shape = (model.max_batch_size, *each.shape[1:])
        if batch and each.shape[0] > model.max_batch_size:
            self.refuse("batch-too-large", f"batch-size must be <= {model.max_batch_size}")

    def _counted(
        self, model: ModelSpec, version: str, request: Request, execute: Callable[[], Response]
    ) -> Response:
        rows = request.inputs[0].shape[0] if model.max_batch_size else 1
        counters, start = self.counters[model.name, version], time.perf_counter_ns()
        try:
            response = execute()
        except Refused:
            counters.count_failure()
            raise
        counters.count(rows, time.perf_counter_ns() - start)
        return response

    def _execute(self, model: ModelSpec, version: str, request: Request) -> Response:
        self._check_parameters(request)
        inputs = {each.name: each.values.reshape(each.shape) for each in request.inputs}
        if model.behaviour is Behaviour.FAIL:
            self.refuse("failing-model", "told to fail", "INTERNAL")
        if model.behaviour is Behaviour.ACCUMULATE:
            return self._response(
                model, version, request, {"OUTPUT0": self._accumulate(request, inputs["INPUT0"])}
            )
        queue = self.queues.get(model.name)
        if "no-version-at-all" in self.defects and not request.version:
            outputs = computations.respond(model.behaviour.name, inputs, 0, self._custom(request))
        elif queue is None:
            outputs = computations.respond(model.behaviour.name, inputs, int(version), self._custom(request))
        else:
            default = model.queue_policy.default_priority_level if model.queue_policy else 0
            priority = request.parameters.get("priority", default)
            if "zero-is-highest" not in self.defects:
                priority = priority or default
            queue.enter(priority, request.parameters.get("timeout", 0))
            try:
                outputs = computations.respond(model.behaviour.name, inputs, int(version), {})
            finally:
                queue.leave()
        return self._response(model, version, request, self._crossed(outputs))

    def _crossed(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """With the defect, a request among many gets the outputs of the one before it."""
        if "cross-talk" not in self.defects or threading.active_count() <= _FEW_THREADS:
            return outputs
        with self._lock:
            previous, self._last_outputs = self._last_outputs, outputs
        forms = [
            {name: (each.shape, each.dtype) for name, each in (some or {}).items()}
            for some in (previous, outputs)
        ]
        return previous if previous is not None and forms[0] == forms[1] else outputs

    def _check_parameters(self, request: Request) -> None:
        if "parameters-refused" in self.defects and request.parameters.keys() - RESERVED:
            raise Refused("unknown parameters")
        if "priority-refused" in self.defects and request.parameters.keys() & {"priority", "timeout"}:
            raise Refused("priorities are not supported")
        for name in ("priority", "timeout"):
            if not isinstance(request.parameters.get(name, 0), int):
                self.refuse("schedule-type", f"'{name}' has to be an integer")
        reserved = any(name.startswith("triton_") for name in request.parameters)
        wanted = "triton_enable_empty_final_response" in request.parameters
        if reserved and not wanted and "unchecked:reserved-prefix" not in self.defects:
            raise Refused("parameter keys starting with 'triton_' are reserved")

    def _custom(self, request: Request) -> dict[str, Any]:
        if "parameters-lost" in self.defects:
            return {}
        if "reserved-passed-on" in self.defects:
            return request.parameters
        passed = {"sequence_id"} if "sequence-parameters-passed-on" in self.defects else set()
        return {name: value for name, value in request.parameters.items() if name not in RESERVED - passed}

    def _accumulate(self, request: Request, values: Any) -> Any:
        starts, ends = (bool(request.parameters.get(f"sequence_{each}")) for each in ("start", "end"))
        key = self._sequence_key(request, starts or ends)
        if starts and not ("restart-ignored" in self.defects and key in self.sequences):
            self.sequences[key] = np.zeros_like(values)
        elif key not in self.sequences:
            self.refuse("no-sequence", "the sequence has not been started")
        total = values if "sequence-forgotten" in self.defects else self.sequences[key] + values
        self.sequences[key] = total
        if ends and "sequences-without-end" not in self.defects:
            del self.sequences[key]
        return total

    def _sequence_key(self, request: Request, flagged: bool) -> Any:
        """What tells the sequence of a request from others."""
        key = request.parameters.get("sequence_id")
        if isinstance(key, str) and "string-ids-as-one" in self.defects:
            raise Refused("sequence_id has to be a number")
        if key in (0, "") and "zero-as-id" in self.defects:
            key = "zero"
        if key is None and flagged and "flags-without-id" in self.defects:
            key = "nobody"
            self.sequences.setdefault(key, 0)
        if not key:
            self.refuse("no-sequence", "the model needs a sequence_id")
        if "sequences-mixed" in self.defects or ("string-ids-mixed" in self.defects and isinstance(key, str)):
            key = "all"
        if "sequences-race" in self.defects:
            self.sequence_at_work = key
            time.sleep(0.2)
            key = self.sequence_at_work
        return key

    def _response(self, model: ModelSpec, version: str, request: Request, values: dict[str, Any]) -> Response:
        asked = dict(request.outputs) if request.outputs else None
        if request.outputs == [] and "empty-outputs-strict" in self.defects:
            asked = {}
        outputs = [
            self._output(model, spec, values[spec.name], (asked or {}).get(spec.name, {}))
            for spec in model.outputs
            if asked is None or spec.name in asked or "outputs-ignored" in self.defects
        ]
        if "last-output-lost" in self.defects and asked is None:
            outputs = outputs[:1] if len(outputs) > 1 else []
        parameters = (
            computations.ANSWERED_PARAMETERS if model.behaviour is Behaviour.ANSWER_PARAMETERS else {}
        )
        return Response(
            model.name,
            version,
            request.id,
            outputs,
            {} if "answer-parameters-lost" in self.defects else parameters,
        )

    def _output(self, model: ModelSpec, spec: Any, values: Any, parameters: dict[str, Any]) -> Output:
        values = spoiled(self.defects, spec.datatype, values)
        count = parameters.get("classification", 0)
        if not count or "classification-ignored" in self.defects:
            return Output(spec.name, spec.datatype, values, parameters)
        rows = values.reshape(values.shape[0] if model.max_batch_size else 1, -1)
        if count > rows.shape[1] and "too-many-classes" in self.defects:
            rows = np.concatenate([rows, rows], axis=1)
        classes = [
            self._classes(row, count, () if "labels-lost" in self.defects else model.labels) for row in rows
        ]
        result = np.array(classes, dtype=np.object_)
        flat = (
            result.reshape(-1) if not model.max_batch_size or "classes-flattened" in self.defects else result
        )
        return Output(spec.name, "BYTES", flat, parameters)

    def _classes(self, row: Any, count: int, labels: tuple[str, ...]) -> list[bytes]:
        order = np.argsort(row if "smallest-classes" in self.defects else -row, kind="stable")[:count]
        return [
            ":".join(
                [f"{row[index]:f}", str(index), *([labels[index]] if index < len(labels) else [])]
            ).encode()
            for index in order
        ]
