"""Planted defects that spoil an answer on its way out, by name; `defects.py` says who must find them."""

import gzip
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


def _error_event(answer: RestAnswer) -> RestAnswer:
    if answer.status < 400:
        return answer
    return RestAnswer(200, {"Content-Type": "text/event-stream"}, b"data: " + answer.body + b"\n\n")


def _json_type(answer: RestAnswer) -> RestAnswer:
    return replace(answer, headers={**answer.headers, "Content-Type": "application/json"})


def _gzip(answer: RestAnswer) -> RestAnswer:
    return replace(
        answer, headers={**answer.headers, "Content-Encoding": "gzip"}, body=gzip.compress(answer.body)
    )


def _first_event(answer: RestAnswer) -> RestAnswer:
    return replace(answer, body=answer.body[: answer.body.find(b"\n\n") + 2] * 2)


REST_CHANGES: dict[str, tuple[str, RestChange]] = {
    "live-500": (LIVE, _status(500)),
    "live-empty": (LIVE, _without_body),
    "live-false": (LIVE, _set("live", False)),
    "ready-false": (READY, _set("ready", False)),
    "model-ready-false": (MODEL_READY, _set("ready", False)),
    "not-ready-empty": (MODEL_READY, lambda answer: _without_body(answer) if answer.status != 200 else answer),
    "always-gzip": (INFER, _gzip),
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
    "index-version-numbers": (
        "/v2/repository/index", _edit(lambda entries: [entry.update(version=1) for entry in entries])
    ),
    "load-errors-are-text": (".*/load", _plain_text),
    "region-errors-are-text": ("/v2/systemsharedmemory/.*", _plain_text),
    "cuda-status-404": ("/v2/cudasharedmemory/status", _status(404)),
    "cuda-unregister-500": ("/v2/cudasharedmemory/unregister", _status(500)),
    "binary-as-json": (INFER, _json_type),
    "statistics-404": (".*/stats", _status(404)),
    "statistics-without-execution-count": (
        ".*/stats", _edit(lambda document: [each.pop("execution_count") for each in document["model_stats"]])
    ),
    "all-statistics-empty": ("/v2/models/stats", _set("model_stats", [])),
    "config-other-name": (".*/config", _set("name", "other")),
    "config-without-output": (".*/config", _drop("output")),
    "config-of-versions-404": (".*/versions/[^/]+/config", _status(404)),
    "generate-other-text": (".*/generate", _set("text_output", "other")),
    "events-without-data": (
        ".*/generate_stream", lambda answer: replace(answer, body=answer.body.replace(b"data: ", b""))
    ),
    "generate-errors-as-events": (".*/generate_stream", _error_event),
    "trace-errors-are-text": ("/v2/trace/setting", _plain_text),
    "log-errors-are-text": ("/v2/logging", _plain_text),
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
    """The changes of switched-on defects to the answer to a path, in the order of the table."""
    for name, (pattern, change) in REST_CHANGES.items():
        if name in defects and re.fullmatch(pattern, path):
            yield change


# gRPC


def _code(code: Any) -> GrpcChange:
    return lambda *_: (code, "as planted", None)


def _of_versions(wanted: Any) -> GrpcChange:
    """A status for requests that name a version."""

    def spoil(code: Any, details: str, answer: Any, request: Any) -> tuple[Any, str, Any]:
        return (wanted, "as planted", None) if request.version else (code, details, answer)

    return spoil


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
    "grpc-config-of-versions-internal": ("ModelConfig", _of_versions(INTERNAL)),
    "grpc-cuda-status-internal": ("CudaSharedMemoryStatus", _code(INTERNAL)),
    "grpc-cuda-unregister-internal": ("CudaSharedMemoryUnregister", _code(INTERNAL)),
    "grpc-index-without-versions": ("RepositoryIndex", _each("models", lambda each: each.ClearField("version"))),
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
