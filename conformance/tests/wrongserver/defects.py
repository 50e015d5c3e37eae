"""The planted defects, by name, and the clauses that must find each.

Most are switches that the server looks at; those that spoil an answer on its way out are changes, listed here.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import grpc


@dataclass(frozen=True)
class RestAnswer:
    """An HTTP answer. A status of 0 stands for a connection that is closed without one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


RestChange = Callable[[RestAnswer], RestAnswer]
GrpcChange = Callable[[Any, str, Any, Any], tuple[Any, str, Any]]

LIVE, READY, SERVER = "/v2/health/live", "/v2/health/ready", "/v2"
MODEL, MODEL_READY = "/v2/models/[^/]+", "/v2/models/[^/]+(/versions/[^/]+)?/ready"
INFER, VERSION = ".*/infer", "/v2/models/[^/]+/versions/[^/]+"


def _status(status: int, of: int = 200) -> RestChange:
    return lambda answer: replace(answer, status=status) if answer.status == of else answer


def _without_body(answer: RestAnswer) -> RestAnswer:
    return replace(answer, body=b"")


def _media_type(answer: RestAnswer) -> RestAnswer:
    return replace(answer, headers={**answer.headers, "Content-Type": "text/plain"})


def _edit(change: Callable[[Any], None], errors: bool = False) -> RestChange:
    """Change the JSON of successes, or of errors."""

    def edit(answer: RestAnswer) -> RestAnswer:
        if (answer.status != 200) is not errors or not answer.body:
            return answer
        length = answer.headers.get("Inference-Header-Content-Length")
        head, rest = (
            answer.body[: int(length or len(answer.body))],
            answer.body[int(length or len(answer.body)) :],
        )
        document = json.loads(head)
        change(document)
        text = json.dumps(document).encode()
        headers = (
            {**answer.headers, "Inference-Header-Content-Length": str(len(text))}
            if length
            else answer.headers
        )
        return replace(answer, headers=headers, body=text + rest)

    return edit


def _set(member: str, value: Any) -> RestChange:
    return _edit(lambda document: document.__setitem__(member, value))


def _drop(member: str) -> RestChange:
    return _edit(lambda document: document.pop(member, None))


def _outputs(change: Callable[[dict[str, Any]], Any]) -> RestChange:
    """Change every output of a response."""

    def edit(document: Any) -> None:
        for output in document["outputs"]:
            change(output)

    return _edit(edit)


def _tensors(change: Callable[[dict[str, Any]], Any]) -> RestChange:
    """Change every tensor of a model's metadata."""

    def edit(document: Any) -> None:
        for tensor in (*document.get("inputs", []), *document.get("outputs", [])):
            change(tensor)

    return _edit(edit)


def _failed_with_200(answer: RestAnswer) -> RestAnswer:
    return replace(answer, status=200) if answer.status >= 400 else answer


def _plain_text(answer: RestAnswer) -> RestAnswer:
    return replace(answer, body=b"something went wrong") if answer.status >= 400 else answer


def _as_500(answer: RestAnswer) -> RestAnswer:
    return replace(answer, status=500) if answer.status >= 400 else answer


def _error_media_type(answer: RestAnswer) -> RestAnswer:
    return _media_type(answer) if answer.status >= 400 else answer


def _first_event(answer: RestAnswer) -> RestAnswer:
    return replace(answer, body=answer.body[: answer.body.find(b"\n\n") + 2] * 2)


REST_CHANGES: dict[str, tuple[str, RestChange]] = {
    "live-500": (LIVE, _status(500)),
    "live-empty": (LIVE, _without_body),
    "ready-503": (READY, _status(503)),
    "ready-empty": (READY, _without_body),
    "model-not-ready": (MODEL_READY, _status(503)),
    "model-ready-empty": (MODEL_READY, _without_body),
    "server-404": (SERVER, _status(404)),
    "server-without-name": (SERVER, _drop("name")),
    "server-version-number": (SERVER, _set("version", 1)),
    "server-extensions-text": (SERVER, _set("extensions", "none")),
    "metadata-500": (MODEL, _status(500)),
    "metadata-other-name": (MODEL, _set("name", "other")),
    "metadata-version-numbers": (MODEL, _set("versions", [1])),
    "metadata-without-platform": (MODEL, _drop("platform")),
    "metadata-odd-platform": (MODEL, _set("platform", "python")),
    "metadata-without-outputs": (MODEL, _drop("outputs")),
    "metadata-without-shapes": (MODEL, _tensors(lambda tensor: tensor.pop("shape"))),
    "metadata-odd-datatype": (MODEL, _tensors(lambda tensor: tensor.update(datatype="FLOAT"))),
    "metadata-shape-null": (MODEL, _tensors(lambda tensor: tensor.update(shape=[None]))),
    "metadata-false": (MODEL, _tensors(lambda tensor: tensor.update(name=tensor["name"] + "_0"))),
    "metadata-of-versions-404": (VERSION, _status(404)),
    "infer-500": (INFER, _status(500)),
    "without-model-name": (INFER, _drop("model_name")),
    "model-version-number": (INFER, _set("model_version", 1)),
    "id-lost": (INFER, _drop("id")),
    "id-invented": (INFER, _edit(lambda document: document.setdefault("id", "made-up"))),
    "without-datatype": (INFER, _outputs(lambda output: output.pop("datatype"))),
    "other-datatype": (INFER, _outputs(lambda output: output.update(datatype="FP64"))),
    "shape-without-batch": (INFER, _outputs(lambda output: output.update(shape=output["shape"][1:]))),
    "shape-flattened": (INFER, _outputs(lambda output: output.update(shape=[len(output.get("data", "four"))]))),
    "data-cut": (INFER, _outputs(lambda output: output.update(data=output.get("data", [])[:-1]))),
    "data-negated": (INFER, _outputs(lambda output: output.update(data=[_negated(each) for each in output.get("data", [])]))),
    "parameters-list": (INFER, _set("parameters", ["a"])),
    "version-misstated": (INFER, _set("model_version", "1")),
    "version-invented": (MODEL, _drop("versions")),
    "null-members": (INFER, _set("parameters", None)),
    "text-plain": (INFER, _media_type),
    "errors-are-200": (INFER, _failed_with_200),
    "errors-are-text": (INFER, _plain_text),
    "errors-are-500": (INFER, _as_500),
    "errors-are-empty": (INFER, _edit(lambda document: document.update(error=""), errors=True)),
    "errors-are-text-plain": (INFER, _error_media_type),
    "unknown-paths-200": ("/no_such_path", lambda _: RestAnswer(200)),
    "binary-without-length": (INFER, lambda answer: replace(answer, headers={})),
    "index-empty": ("/v2/repository/index", lambda _: RestAnswer(200, {}, b"[]")),
    "reason-lost": ("/v2/repository/index", _edit(lambda entries: [entry.pop("reason", None) for entry in entries])),
    "statistics-404": (".*/stats", _status(404)),
    "statistics-without-execution-count": (
        ".*/stats", _edit(lambda document: [each.pop("execution_count") for each in document["model_stats"]])
    ),
    "all-statistics-empty": ("/v2/models/stats", _set("model_stats", [])),
    "config-other-name": (".*/config", _set("name", "other")),
    "config-without-output": (".*/config", _drop("output")),
    "generate-other-text": (".*/generate", _set("text_output", "other")),
    "events-repeated": (".*/generate_stream", _first_event),
    "generate-id-lost": (".*/generate", _drop("id")),
    "trace-numbers": ("/v2/trace/setting", _set("trace_rate", 1000)),
    "log-without-format": ("/v2/logging", _drop("log_format")),
    "connection-closed": (INFER, lambda answer: replace(answer, status=0) if answer.status >= 400 else answer),
}  # fmt: skip


def _negated(value: Any) -> Any:
    return (
        not value
        if isinstance(value, bool)
        else -value
        if isinstance(value, int | float)
        else value[::-1] + "x"
    )


def rest_changes(defects: frozenset[str], _method: str, path: str) -> Iterator[RestChange]:
    """The changes of switched-on defects to the answer to a path."""
    for name in defects & REST_CHANGES.keys():
        pattern, change = REST_CHANGES[name]
        if re.fullmatch(pattern, path):
            yield change


# gRPC


def _code(code: Any) -> GrpcChange:
    return lambda *_: (code, "as planted", None)


def _answer(change: Callable[[Any], Any]) -> GrpcChange:
    """Change the messages of successes."""

    def spoil(code: Any, details: str, answer: Any, _request: Any) -> tuple[Any, str, Any]:
        if answer is not None and code is grpc.StatusCode.OK:
            change(answer)
        return code, details, answer

    return spoil


def _each(members: str, change: Callable[[Any], Any]) -> GrpcChange:
    def spoil(answer: Any) -> None:
        for member in members.split():
            for entry in getattr(answer, member):
                change(entry)

    return _answer(spoil)


def _first_raw(change: Callable[[bytes], bytes]) -> GrpcChange:
    def spoil(answer: Any) -> None:
        if answer.raw_output_contents:
            answer.raw_output_contents[0] = change(answer.raw_output_contents[0])

    return _answer(spoil)


def _errors(change: Callable[[Any, str], tuple[Any, str]]) -> GrpcChange:
    def spoil(code: Any, details: str, answer: Any, _request: Any) -> tuple[Any, str, Any]:
        return (code, details, answer) if code is grpc.StatusCode.OK else (*change(code, details), None)

    return spoil


def _typed_beside_raw(answer: Any) -> None:
    for output in answer.outputs:
        output.contents.SetInParent()


def _errors_to_ok(code: Any, details: str, answer: Any, _request: Any) -> tuple[Any, str, Any]:
    """A failure, answered as an empty success."""
    from kserve_v2_conformance._generated import grpc_service_pb2 as pb  # noqa: PLC0415 - used by this one

    return grpc.StatusCode.OK, details, answer if answer is not None else pb.ModelInferResponse()


INTERNAL = grpc.StatusCode.INTERNAL
GRPC_CHANGES: dict[str, tuple[str, GrpcChange]] = {
    "grpc-not-live": ("ServerLive", _answer(lambda answer: answer.ClearField("live"))),
    "grpc-not-ready": ("ServerReady", _answer(lambda answer: answer.ClearField("ready"))),
    "grpc-model-not-ready": ("ModelReady", _answer(lambda answer: answer.ClearField("ready"))),
    "grpc-server-internal": ("ServerMetadata", _code(INTERNAL)),
    "grpc-server-without-name": ("ServerMetadata", _answer(lambda answer: answer.ClearField("name"))),
    "grpc-server-without-version": ("ServerMetadata", _answer(lambda answer: answer.ClearField("version"))),
    "grpc-server-other": ("ServerMetadata", _answer(lambda answer: setattr(answer, "name", "other"))),
    "grpc-metadata-internal": ("ModelMetadata", _code(INTERNAL)),
    "grpc-metadata-other-name": ("ModelMetadata", _answer(lambda answer: setattr(answer, "name", "other"))),
    "grpc-metadata-odd-platform": ("ModelMetadata", _answer(lambda answer: setattr(answer, "platform", "python"))),
    "grpc-metadata-odd-datatype": ("ModelMetadata", _each("inputs outputs", lambda each: setattr(each, "datatype", "F"))),
    "grpc-metadata-unnamed": ("ModelMetadata", _each("inputs", lambda each: each.shape.append(-2))),
    "grpc-metadata-false": ("ModelMetadata", _each("inputs", lambda each: setattr(each, "name", each.name + "_0"))),
    "grpc-infer-internal": ("ModelInfer", _code(INTERNAL)),
    "grpc-other-model-name": ("ModelInfer", _answer(lambda answer: setattr(answer, "model_name", "other"))),
    "grpc-id-lost": ("ModelInfer", _answer(lambda answer: answer.ClearField("id"))),
    "grpc-id-invented": ("ModelInfer", _answer(lambda answer: setattr(answer, "id", answer.id or "made-up"))),
    "grpc-other-datatype": ("ModelInfer", _each("outputs", lambda each: setattr(each, "datatype", "UINT8"))),
    "grpc-odd-datatype": ("ModelInfer", _each("outputs", lambda each: setattr(each, "datatype", "F"))),
    "grpc-shape-flattened": ("ModelInfer", _each("outputs", lambda each: each.shape.append(1))),
    "grpc-raw-cut": ("ModelInfer", _first_raw(lambda raw: raw[: len(raw) // 2 // 8 * 8])),
    "grpc-raw-reversed": ("ModelInfer", _first_raw(lambda raw: raw[::-1])),
    "grpc-version-misstated": ("ModelInfer", _answer(lambda answer: setattr(answer, "model_version", "1"))),
    "grpc-typed-beside-raw": ("ModelInfer", _answer(_typed_beside_raw)),
    "grpc-errors-are-ok": ("ModelInfer", _errors_to_ok),
    "grpc-errors-are-internal": ("ModelInfer", _errors(lambda _, details: (INTERNAL, details))),
    "grpc-errors-are-empty": ("ModelInfer", _errors(lambda code, _: (code, ""))),
    "grpc-index-empty": ("RepositoryIndex", _answer(lambda answer: answer.ClearField("models"))),
    "grpc-reason-lost": ("RepositoryIndex", _each("models", lambda each: each.ClearField("reason"))),
    "grpc-statistics-internal": ("ModelStatistics", _code(INTERNAL)),
    "grpc-statistics-few": ("ModelStatistics", _answer(lambda answer: answer.model_stats.__delitem__(slice(1, None)))),
    "grpc-config-other-name": ("ModelConfig", _answer(lambda answer: setattr(answer.config, "name", "other"))),
    "grpc-config-without-output": ("ModelConfig", _answer(lambda answer: answer.config.ClearField("output"))),
    "grpc-trace-without-rate": ("TraceSetting", _answer(lambda answer: answer.settings.pop("trace_rate"))),
    "grpc-log-without-format": ("LogSettings", _answer(lambda answer: answer.settings.pop("log_format"))),
}  # fmt: skip


def grpc_changes(defects: frozenset[str], call: str) -> Iterator[GrpcChange]:
    """The changes of switched-on defects to the answer of a call."""
    for name in defects & GRPC_CHANGES.keys():
        wanted, change = GRPC_CHANGES[name]
        if wanted == call:
            yield change


def _both(clause: str) -> tuple[str, str]:
    return f"REST-{clause}", f"GRPC-{clause}"


# Each defect and the clauses that must find it.
PLANTED: dict[str, tuple[str, ...]] = {
    # health
    "live-500": ("REST-LIVE-001",),
    "live-empty": ("REST-LIVE-002",),
    "ready-503": ("REST-READY-001",),
    "ready-empty": ("REST-READY-002",),
    "model-not-ready": ("REST-MREADY-001", "REST-MREADY-004"),
    "model-ready-empty": ("REST-MREADY-002",),
    "unchecked:ready-unknown-model": _both("MREADY-003"),
    "unchecked:ready-unknown-version": _both("MREADY-005"),
    "grpc-not-live": ("GRPC-LIVE-001",),
    "grpc-not-ready": ("GRPC-READY-001",),
    "grpc-model-not-ready": ("GRPC-MREADY-001", "GRPC-MREADY-004"),
    # metadata
    "server-404": ("REST-META-001",),
    "server-without-name": ("REST-META-002",),
    "server-version-number": ("REST-META-003",),
    "server-extensions-text": ("REST-META-004",),
    "grpc-server-internal": ("GRPC-META-001", "GRPC-META-004"),
    "grpc-server-without-name": ("GRPC-META-002",),
    "grpc-server-without-version": ("GRPC-META-003",),
    "grpc-server-other": ("GRPC-META-005",),
    "metadata-500": ("REST-MODEL-001",),
    "metadata-other-name": ("REST-MODEL-002",),
    "metadata-version-numbers": ("REST-MODEL-003",),
    "metadata-without-platform": ("REST-MODEL-004",),
    "metadata-odd-platform": ("REST-MODEL-012",),
    "metadata-without-outputs": ("REST-MODEL-005",),
    "metadata-without-shapes": ("REST-MODEL-006",),
    "metadata-odd-datatype": ("REST-MODEL-007",),
    "metadata-shape-null": ("REST-MODEL-008",),
    "metadata-false": ("REST-MODEL-013", "GRPC-MODEL-014"),
    "metadata-of-versions-404": ("REST-MODEL-009",),
    "unchecked:metadata-unknown-model": _both("MODEL-010"),
    "unchecked:metadata-unknown-version": _both("MODEL-011"),
    "grpc-metadata-internal": (
        "GRPC-MODEL-001",
        "GRPC-MODEL-003",
        "GRPC-MODEL-004",
        "GRPC-MODEL-005",
        "GRPC-MODEL-006",
        "GRPC-MODEL-009",
    ),
    "grpc-metadata-other-name": ("GRPC-MODEL-002",),
    "grpc-metadata-odd-platform": ("GRPC-MODEL-012",),
    "grpc-metadata-odd-datatype": ("GRPC-MODEL-007",),
    "grpc-metadata-unnamed": ("GRPC-MODEL-008",),
    "grpc-metadata-false": ("GRPC-MODEL-013",),
    # inference
    "infer-500": ("REST-INFER-001", "REST-INFER-015", "REST-INFER-028"),
    "without-model-name": ("REST-INFER-002",),
    "model-version-number": ("REST-INFER-003",),
    "id-lost": ("REST-INFER-004",),
    "id-invented": ("REST-INFER-005",),
    "last-output-lost": _both("INFER-006"),
    "outputs-ignored": _both("INFER-007"),
    "without-datatype": ("REST-INFER-008",),
    "other-datatype": ("REST-INFER-009",),
    "shape-flattened": ("REST-INFER-010",),
    "data-cut": ("REST-INFER-011",),
    "data-negated": ("REST-INFER-012",),
    "parameters-list": ("REST-INFER-013",),
    "version-ignored": (*_both("INFER-014"), *_both("BAD-002")),
    "version-misstated": ("REST-INFER-014",),
    "empty-parameters-refused": ("REST-INFER-016",),
    "parameters-refused": (*_both("INFER-017"), *_both("PARAM-001")),
    "tensor-parameters-refused": _both("INFER-017"),
    "positions": _both("INFER-018"),
    "shape-without-batch": ("REST-INFER-019", "REST-INFER-020"),
    "version-invented": ("REST-INFER-021",),
    "member-order": ("REST-INFER-022",),
    "unknown-members-refused": ("REST-INFER-023",),
    "empty-outputs-strict": ("REST-INFER-024",),
    "text-plain": ("REST-INFER-025",),
    "optional-required": _both("INFER-026"),
    "cross-talk": _both("INFER-027"),
    "null-members": ("REST-INFER-029",),
    "grpc-infer-internal": ("GRPC-INFER-001", "GRPC-INFER-015", "GRPC-INFER-016", "GRPC-INFER-003"),
    "grpc-other-model-name": ("GRPC-INFER-002",),
    "grpc-id-lost": ("GRPC-INFER-004",),
    "grpc-id-invented": ("GRPC-INFER-005",),
    "grpc-odd-datatype": ("GRPC-INFER-008",),
    "grpc-other-datatype": ("GRPC-INFER-009",),
    "grpc-shape-flattened": ("GRPC-INFER-010", "GRPC-INFER-019"),
    "grpc-raw-cut": ("GRPC-INFER-011",),
    "grpc-raw-reversed": ("GRPC-INFER-012", "GRPC-INFER-020"),
    "grpc-version-misstated": ("GRPC-INFER-014",),
    "small-messages": ("GRPC-INFER-028",),
    # values
    **{
        f"values:{name}": _both(f"DATA-{name}")
        for name in (
            "BOOL",
            "UINT8",
            "UINT16",
            "UINT32",
            "UINT64",
            "INT8",
            "INT16",
            "INT32",
            "INT64",
            "FP32",
            "FP64",
            "BYTES",
        )
    },
    "values:FP16": ("GRPC-DATA-FP16", "REST-BIN-007"),
    "values:BF16": ("GRPC-DATA-BF16",),
    "values:NUL": _both("DATA-NUL"),
    "values:BINARY": ("GRPC-DATA-BINARY",),
    "values:NAN": _both("DATA-NAN"),
    "values:EMPTY": _both("DATA-EMPTY"),
    "values:NEGATIVE-ZERO": _both("DATA-FP64"),
    "nested-refused": ("REST-DATA-001",),
    "column-major": ("REST-DATA-001", "REST-DATA-002", "REST-INFER-012"),
    "flat-refused": ("REST-DATA-002",),
    "unchecked:element": ("REST-DATA-003",),
    "unchecked:range": ("REST-DATA-004",),
    "unchecked:half-precision": ("REST-DATA-005",),
    "whole-numbers-refused": ("REST-DATA-006",),
    # errors
    "errors-are-200": ("REST-ERROR-001",),
    "errors-are-text": ("REST-ERROR-002",),
    "errors-are-500": ("REST-ERROR-003",),
    "errors-are-empty": ("REST-ERROR-004",),
    "errors-are-text-plain": ("REST-ERROR-005",),
    "unknown-paths-200": ("REST-ERROR-006",),
    "stops-after-errors": _both("ERROR-007"),
    "connection-closed": ("REST-BAD-001",),
    "unchecked:failing-model": _both("ERROR-008"),
    "grpc-errors-are-ok": ("GRPC-ERROR-001",),
    "grpc-errors-are-internal": ("GRPC-ERROR-003",),
    "grpc-errors-are-empty": ("GRPC-ERROR-004",),
    "unchecked:infer-unknown-model": _both("BAD-001"),
    "unchecked:infer-unknown-version": _both("BAD-002"),
    "unchecked:missing-input": _both("BAD-003"),
    "unchecked:unknown-input": _both("BAD-004"),
    "unchecked:repeated-input": _both("BAD-005"),
    "unchecked:unknown-output": _both("BAD-006"),
    "unchecked:other-datatype": _both("BAD-007"),
    "unchecked:unknown-datatype": _both("BAD-008"),
    "unchecked:too-few": (*_both("BAD-009"), "GRPC-RAW-003"),
    "unchecked:too-many": _both("BAD-010"),
    "unchecked:other-shape": _both("BAD-011"),
    "unchecked:negative-dimension": _both("BAD-012"),
    "unchecked:enormous-shape": _both("BAD-013"),
    "unchecked:batch-too-large": _both("BAD-014"),
    "unchecked:no-inputs": _both("BAD-015"),
    "unchecked:json": ("REST-FORM-001",),
    "unchecked:object": ("REST-FORM-002",),
    "unchecked:inputs": ("REST-FORM-003",),
    "unchecked:name": ("REST-FORM-004",),
    "unchecked:shape": ("REST-FORM-005",),
    "unchecked:datatype": ("REST-FORM-006",),
    "unchecked:data": ("REST-FORM-007",),
    "unchecked:id": ("REST-FORM-008",),
    "unchecked:outputs": ("REST-FORM-009",),
    "unchecked:parameters": ("REST-FORM-010",),
    # gRPC
    "raw-reversed": ("GRPC-RAW-001",),
    "unchecked:raw-and-typed": ("GRPC-RAW-002",),
    "grpc-typed-beside-raw": ("GRPC-RAW-004",),
    "unchecked:no-contents": ("GRPC-RAW-005", "GRPC-TYPED-003"),
    "typed-refused": ("GRPC-TYPED-001",),
    "unchecked:wrong-field": ("GRPC-TYPED-002",),
    "missing-call:ModelReady": ("GRPC-SERVICE-001",),
    # binary tensor data
    "big-endian": ("REST-BIN-001", "REST-BIN-007"),
    "never-binary": ("REST-BIN-002", "REST-BIN-003", "REST-BIN-006", "REST-BIN-012"),
    "binary-without-length": ("REST-BIN-002",),
    "binary-data-ignored": ("REST-BIN-002",),
    "binary-output-ignored": ("REST-BIN-003",),
    "binary-choice-ignored": ("REST-BIN-004",),
    "always-binary": ("REST-BIN-005",),
    "blobs-reversed": ("REST-BIN-002",),
    "unchecked:bytes-missing": ("REST-BIN-008",),
    "unchecked:bytes-left": ("REST-BIN-009",),
    "unchecked:binary-size": ("REST-BIN-010",),
    "unchecked:header-beyond-body": ("REST-BIN-011",),
    "raw-refused": ("REST-BIN-012",),
    "unchecked:raw-inputs": ("REST-BIN-013",),
    # classification
    "classification-ignored": _both("CLASS-001"),
    "smallest-classes": _both("CLASS-001"),
    "labels-lost": _both("CLASS-002"),
    "classes-flattened": _both("CLASS-003"),
    "too-many-classes": _both("CLASS-004"),
    # repository
    "index-empty": ("REST-REPO-001",),
    "grpc-index-empty": ("GRPC-REPO-001",),
    "index-ready-ignored": _both("REPO-002"),
    "load-ignored": _both("REPO-003"),
    "unload-ignored": _both("REPO-004"),
    "unchecked:load-unknown-model": _both("REPO-005"),
    "unchecked:load-broken-model": _both("REPO-006"),
    "reason-lost": ("REST-REPO-006",),
    "grpc-reason-lost": ("GRPC-REPO-006",),
    # statistics
    "statistics-404": ("REST-STAT-001",),
    "statistics-without-execution-count": ("REST-STAT-001",),
    "grpc-statistics-internal": ("GRPC-STAT-001",),
    "success-not-counted": _both("STAT-002"),
    "rows-not-counted": _both("STAT-003"),
    "all-statistics-empty": ("REST-STAT-004",),
    "grpc-statistics-few": ("GRPC-STAT-004",),
    "unchecked:stats-unknown-model": _both("STAT-005"),
    "batches-not-counted": _both("STAT-006"),
    # configuration
    "config-other-name": ("REST-CONFIG-001",),
    "grpc-config-other-name": ("GRPC-CONFIG-001",),
    "config-without-output": ("REST-CONFIG-002",),
    "grpc-config-without-output": ("GRPC-CONFIG-002",),
    "unchecked:config-unknown-model": _both("CONFIG-003"),
    # parameters
    "parameters-lost": _both("PARAM-001"),
    "unchecked:reserved-prefix": _both("PARAM-002"),
    "reserved-passed-on": _both("PARAM-003"),
    "answer-parameters-lost": _both("PARAM-004"),
    # sequences
    "sequence-forgotten": _both("SEQ-001"),
    "sequences-mixed": _both("SEQ-002"),
    "unchecked:no-sequence": _both("SEQ-003"),
    "string-ids-as-one": _both("SEQ-004"),
    # scheduling
    "priority-refused": _both("SCHED-001"),
    "timeout-ignored": _both("SCHED-002"),
    "priority-ignored": _both("SCHED-003"),
    # shared memory
    "register-ignored": _both("SHM-001"),
    "unregister-ignored": _both("SHM-002"),
    "region-offset-ignored": _both("SHM-003"),
    "region-not-written": _both("SHM-004"),
    "region-data-kept": _both("SHM-004"),
    "unchecked:unknown-region": _both("SHM-005"),
    "unchecked:beyond-region": _both("SHM-005"),
    "unchecked:small-region": _both("SHM-005"),
    "unchecked:region-and-data": ("REST-SHM-006",),
    "unchecked:no-memory": _both("SHM-007"),
    # generate
    "generate-other-text": ("REST-GEN-001",),
    "events-repeated": ("REST-GEN-002",),
    "generate-id-lost": ("REST-GEN-003",),
    "unchecked:generate": ("REST-GEN-004",),
    "unchecked:generate-unknown-model": ("REST-GEN-004",),
    "further-members-refused": ("REST-GEN-005",),
    # settings
    "trace-numbers": ("REST-TRACE-001",),
    "grpc-trace-without-rate": ("GRPC-TRACE-001",),
    "trace-change-ignored": _both("TRACE-002"),
    "trace-scope-ignored": _both("TRACE-003"),
    "unchecked:trace-rate": _both("TRACE-004"),
    "log-without-format": ("REST-LOG-001",),
    "grpc-log-without-format": ("GRPC-LOG-001",),
    "log-change-ignored": _both("LOG-002"),
    "unchecked:log-setting": _both("LOG-003"),
    # streams
    "stream-ids-lost": ("GRPC-STREAM-001",),
    "stream-response-lost": ("GRPC-STREAM-002",),
    "no-final-response": ("GRPC-STREAM-003",),
    "stream-ends-on-error": ("GRPC-STREAM-004",),
    "unchecked:decoupled-unary": ("GRPC-STREAM-005",),
}
