"""A small v2 server without any wire format: models, checks, statistics, settings, regions, sequences.

Its defects are switched on by name, see `defects.py`. Without any it is correct. It shares the test models'
computations with the writers, and nothing else with the suite.
"""

import json
import mmap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from wrongserver.bookkeeping import Counters, Queue
from wrongserver.requests import Input, Output, Pretended, Refused, Request, Response

from kserve_v2_conformance.models.catalogue import BY_NAME, CATALOGUE, Behaviour, ModelSpec
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
_TRACE_NUMBERS = ("trace_rate", "trace_count", "log_frequency")
RESERVED = {"priority", "timeout", "sequence_id", "sequence_start", "sequence_end", "binary_data_output"}


class Engine:
    """The server behind its two front ends. `defects`: names that are switched on."""

    def __init__(self, defects: frozenset[str] = frozenset(), without: frozenset[str] = frozenset()) -> None:
        self.defects = defects
        self.extensions = [each for each in EXTENSIONS if each.partition("(")[0] not in without]
        self.models = {model.name: model for model in CATALOGUE if model.loaded_at_start}
        self.reasons: dict[str, str] = {}
        self.failed: set[str] = set()
        self.backend = "python"
        self.files_can_change = False
        """Whether the files of traces and of the log are settings as the others."""
        self.withheld: set[str] = set()
        """Models of the catalogue that the repository does not have."""
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

    def refuse(self, check: str, text: str, kind: str = "INVALID") -> None:
        """Refuse a request, unless the check is switched off."""
        if f"unchecked:{check}" in self.defects:
            raise Pretended(check)
        self.stopped = "stops-after-errors" in self.defects
        raise Refused(text, kind)

    # models

    def find(self, name: str, version: str, purpose: str) -> tuple[ModelSpec, str]:
        """A model and the version that answers. `purpose`: names the check."""
        if "case-of-models-ignored" in self.defects:
            name = name.lower()
        model = self.models.get(name)
        if model is None:
            self.refuse(f"{purpose}-unknown-model", f"unknown model '{name}'", "NOT_FOUND")
        assert model is not None
        versions = [str(each) for each in model.versions]
        if version and version not in versions:
            self.refuse(f"{purpose}-unknown-version", f"model '{name}' has no version {version}", "NOT_FOUND")
        return model, version if version in versions else versions[-1]

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        model, _ = self.find(name, version, "metadata")
        batch = [-1] if model.max_batch_size else []

        def tensors(specs: Any) -> list[dict[str, Any]]:
            return [{"name": s.name, "datatype": s.datatype, "shape": [*batch, *s.dims]} for s in specs]

        return {
            "name": name,
            "versions": [version] if version else [str(each) for each in model.versions],
            "platform": "numpy_python",
            "inputs": tensors(model.inputs),
            "outputs": tensors(model.outputs),
        }

    def configuration(self, name: str, version: str) -> dict[str, Any]:
        model, _ = self.find(name, version, "config")
        if name in self.configurations:
            return self.configurations[name]

        def tensors(specs: Any) -> list[dict[str, Any]]:
            kinds = {"BYTES": "STRING"}
            return [
                {
                    "name": s.name,
                    "data_type": f"TYPE_{kinds.get(s.datatype, s.datatype)}",
                    "dims": list(s.dims),
                }
                for s in specs
            ]

        return {
            "name": name,
            "backend": self.backend,
            "max_batch_size": model.max_batch_size,
            "input": tensors(model.inputs),
            "output": tensors(model.outputs),
        }

    def statistics(self, name: str, version: str) -> list[dict[str, Any]]:
        """Of a version, of all versions of a model, or of all models."""
        models = [self.find(name, version, "stats")[0]] if name else list(self.models.values())
        if "statistics-of-all-versions" in self.defects:
            version = ""
        versions = {
            each.name: [version] if version else [str(number) for number in each.versions] for each in models
        }
        if "statistics-of-the-latest" in self.defects:
            versions = {each: numbers[-1:] for each, numbers in versions.items()}
        return [
            self.counters[each, number].document(each, number)
            for each, numbers in versions.items()
            for number in numbers
        ]

    def ready(self, name: str, version: str) -> bool:
        try:
            self.find(name, version, "ready")
        except Refused:
            return False
        except Pretended:
            return True
        return True

    def server_ready(self) -> bool:
        """Whether every model that was to be loaded is."""
        return "ready-though-broken" in self.defects or not self.failed

    def index(self, only_ready: bool) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for spec in CATALOGUE:
            if spec.name in self.withheld:
                continue
            model, reason = self.models.get(spec.name), self.reasons.get(spec.name)
            if model is not None:
                hidden = "index-never-ready" in self.defects and not spec.loaded_at_start
                state = "UNAVAILABLE" if hidden else "READY"
                entries += [{"name": model.name, "version": str(v), "state": state} for v in model.versions]
            elif "index-of-what-is-loaded" in self.defects:
                continue
            elif reason is not None:
                state = "READY" if "index-stale" in self.defects else "UNAVAILABLE"
                entries.append({"name": spec.name, "version": "1", "state": state, "reason": reason})
            else:
                entries.append({"name": spec.name})
        if only_ready and "index-ready-ignored" not in self.defects:
            entries = [each for each in entries if each.get("state") == "READY"]
        return entries

    def load(self, name: str, parameters: dict[str, Any]) -> None:
        """`parameters`: a configuration and files instead of the repository's."""
        model = BY_NAME.get(name) if name not in self.withheld else None
        if model is None:
            self.refuse("load-unknown-model", f"failed to load '{name}'", "NOT_FOUND")
        if model is None or "load-ignored" in self.defects:
            return
        if model.behaviour is Behaviour.BROKEN:
            self.reasons[name] = "told not to load"
            self.failed.add(name)
            self.refuse("load-broken-model", "load failed: told not to load")
        if name in self.models and not parameters and "second-load-refused" in self.defects:
            raise Refused(f"'{name}' is loaded already")
        sent = [key for key in parameters if key.startswith("file:")]
        if sent and "config" not in parameters:
            self.refuse("files-without-config", "files need a configuration")
        if sent and "files-ignored" not in self.defects:
            # What the suite sends adds 100 times its version.
            version = int(sent[0].removeprefix("file:").partition("/")[0])
            model = replace(model, behaviour=Behaviour.ADD_VERSION, versions=(version,))
            self.counters[name, str(version)] = Counters(self.defects)
        self.configurations.pop(name, None)
        if "config" in parameters and "config-ignored" not in self.defects:
            self.configurations[name] = json.loads(parameters["config"])
        self.models[name] = model

    def unload(self, name: str) -> None:
        if name not in self.models and "second-unload-refused" in self.defects:
            raise Refused(f"'{name}' is not loaded")
        if "unload-ignored" not in self.defects:
            self.models.pop(name, None)
            self.reasons[name] = "unloaded"
            self.failed.discard(name)

    # inference

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
            time.sleep(0.05)
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
        values = self._spoiled(spec.datatype, values)
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

    def _spoiled(self, datatype: str, values: Any) -> Any:
        """With a defect of values, the values that it leaves."""
        spoil = {
            f"values:{datatype}": _without_last,
            **(
                {"values:NAN": np.nan_to_num, "values:NEGATIVE-ZERO": np.abs}
                if values.dtype.kind == "f"
                else {}
            ),
            **({"values:NUL": _without_nul, "values:BINARY": _as_text} if datatype == "BYTES" else {}),
        }
        for name in self.defects & spoil.keys():
            values = spoil[name](values)
        if "values:EMPTY" in self.defects and not values.size:
            raise Refused("a tensor has no elements")
        return values

    def _classes(self, row: Any, count: int, labels: tuple[str, ...]) -> list[bytes]:
        order = np.argsort(row if "smallest-classes" in self.defects else -row, kind="stable")[:count]
        return [
            ":".join(
                [f"{row[index]:f}", str(index), *([labels[index]] if index < len(labels) else [])]
            ).encode()
            for index in order
        ]

    # regions and settings

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        if name in self.regions:
            raise Refused(f"shared memory region '{name}' already in manager")
        if not Path(f"/dev/shm{key if key.startswith('/') else f'/{key}'}").is_file():
            self.refuse("no-memory", f"unable to open shared memory '{key}'", "INTERNAL")
        if "register-ignored" not in self.defects:
            self.regions[name] = (key, offset, size)

    def unregister(self, name: str) -> None:
        if "unregister-ignored" in self.defects:
            return
        if name:
            self.regions.pop(name, None)
        else:
            self.regions.clear()

    def region_named(self, name: str) -> dict[str, tuple[str, int, int]]:
        """One region, or all of them."""
        if not name or "status-of-all" in self.defects:
            return self.regions
        if name not in self.regions:
            self.refuse("status-unknown-region", f"unable to find region '{name}'", "NOT_FOUND")
        return {name: self.regions[name]}

    def cuda_region(self, name: str) -> None:
        """There is no device, so no region."""
        if name:
            self.refuse("cuda-unknown-region", f"unable to find cuda region '{name}'", "NOT_FOUND")

    def check_place(self, parameters: dict[str, Any]) -> None:
        """A region and a size come together."""
        if ("shared_memory_region" in parameters) != ("shared_memory_byte_size" in parameters):
            self.refuse("half-a-place", "a region and a size have to come together")

    def region(self, parameters: dict[str, Any]) -> tuple[mmap.mmap, int, int]:
        """The memory that parameters name, with offset and size in it."""
        name = parameters["shared_memory_region"]
        if name not in self.regions:
            self.refuse("unknown-region", f"unable to find region '{name}'", "NOT_FOUND")
        if "shared_memory_offset" not in parameters and "offset-required" in self.defects:
            raise Refused("shared_memory_offset is missing")
        key, start, length = self.regions[name]
        offset, size = parameters.get("shared_memory_offset", 0), parameters.get("shared_memory_byte_size", 0)
        if offset + size > length:
            self.refuse("beyond-region", "invalid offset and byte size")
        if "region-offset-ignored" in self.defects:
            offset = 0
        if "region-start-ignored" in self.defects:
            start = 0
        with Path(f"/dev/shm/{key.lstrip('/')}").open("r+b") as file:
            return mmap.mmap(file.fileno(), 0), start + offset, size

    def read_region(self, parameters: dict[str, Any]) -> bytes:
        memory, offset, size = self.region(parameters)
        with memory:
            return memory[offset : offset + size]

    def write_region(self, parameters: dict[str, Any], data: bytes) -> None:
        memory, offset, size = self.region(parameters)
        with memory:
            if len(data) > size:
                self.refuse("small-region", "the region is too small for the output", "INTERNAL")
            if "region-not-written" not in self.defects:
                memory[offset : offset + len(data)] = data

    def trace_setting(self, model: str, changes: dict[str, Any]) -> dict[str, Any]:
        if model and model not in self.models:
            self.refuse("trace-unknown-model", f"unknown model '{model}'")
        if "trace_file" in changes and not self.files_can_change:
            self.refuse("trace-file", "the file cannot be changed", "UNIMPLEMENTED")
        for name, value in changes.items():
            if name in _TRACE_NUMBERS and value is not None and not str(value).lstrip("-").isdecimal():
                self.refuse("trace-rate", f"unable to parse '{name}', got: {value}")
        own = (
            self.model_trace.setdefault(model, {})
            if model and "trace-scope-ignored" not in self.defects
            else self.trace
        )
        if "trace-change-ignored" not in self.defects:
            for name, value in changes.items():
                if "trace-numbers-kept" in self.defects and name != "trace_rate":
                    continue
                if value is None:
                    own.pop(name, None) if model else None
                else:
                    own[name] = value
        settings = {**self.trace, **(own if model else {})}
        if "trace-files-lost" in self.defects:
            settings = {
                name: each for name, each in settings.items() if name not in ("trace_file", "log_frequency")
            }
        return settings

    def log_setting(self, changes: dict[str, Any]) -> dict[str, Any]:
        for name, value in changes.items():
            kind = type(self.log.get(name, ""))
            if name == "log_file" and not self.files_can_change:
                self.refuse("log-file", "the file cannot be changed", "UNIMPLEMENTED")
            if type(value) is not kind or (name == "log_format" and value not in ("default", "ISO8601")):
                self.refuse("log-setting", f"invalid value for '{name}': {json.dumps(value)}")
            if name == "log_verbose_level" and value < 0:
                self.refuse("negative-level", f"'{name}' has to be 0 or more")
        if "log-switches-kept" in self.defects:
            changes = {name: each for name, each in changes.items() if name == "log_verbose_level"}
        if "log-change-ignored" not in self.defects:
            self.log.update(changes)
        return dict(self.log)


def _without_last(values: Any) -> Any:
    """The last element is lost: it becomes what an empty one is."""
    values = values.copy()
    if values.size:
        last = values.reshape(-1)
        last[-1] = b"" if values.dtype == object else last[-1] == 0
    return values


def _elementwise(values: Any, change: Callable[[bytes], bytes]) -> Any:
    result = values.copy()
    for index in np.ndindex(values.shape):
        result[index] = change(values[index])
    return result


def _without_nul(values: Any) -> Any:
    """As numpy's fixed-width strings: NULs at the end are lost."""
    return _elementwise(values, lambda each: each.rstrip(b"\0"))


def _as_text(values: Any) -> Any:
    return _elementwise(values, lambda each: each.decode(errors="replace").encode())
