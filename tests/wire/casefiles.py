"""Reads the cases: what is sent, and what must come back.

A file is one section of the specification. Each entry of its arrays `rest`, `grpc`, `stream` and `exchange` is one case;
an entry of `scenario` is a sequence of them. README.md describes the members. `$NAME` in a text stands for the text of
that name in the file's `[define]`, or in COMMON.
"""

import gzip
import json
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest
from google.protobuf import text_format

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.wire.servers import TARGET_IS_TRITON
from tests.wire.target import pb_method

CASES = Path(__file__).resolve().parent / "cases"

COMMON = {
    "R": "[request id: <id_unknown>] ",
    "NOTE": " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended "
    "to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try "
    "setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size.",
    "SOURCES": "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. ",
    "PROVIDE": "Please provide all required input(s).",
    "VERSION": "version should be an integral value > 0",
    "LABEL": "which is neither a number nor a label of this model: it has no labels, and the versions that are loaded",
}

Entry = dict[str, Any]

# Members that say the same thing in different ways: what a body is, what a call's details are.
_ALTERNATIVES = (
    frozenset({"text", "answer", "answer_binary", "error", "error_starts", "contains"}),
    frozenset({"details", "details_start"}),
    frozenset({"answer", "answers"}),
)


@dataclass(frozen=True)
class RestCase:
    """One HTTP request and the answer expected."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    expected: Entry


@dataclass(frozen=True)
class GrpcCase:
    """One unary call, or one stream, and what is expected of it."""

    method: str
    requests: list[Any]
    metadata: dict[str, str]
    expected: Entry


def cases(kind: str) -> list[Any]:
    """Parameters for pytest: every case of a kind in all files, called `file/id`."""
    found = []
    for path in sorted(CASES.glob("*.toml")):
        document = tomllib.loads(path.read_text())
        texts = {name: Template(text).substitute(COMMON) for name, text in document.pop("define", {}).items()}
        for entry in document.get(kind, ()):
            complete = _substituted(entry, {**COMMON, **texts})
            found.append(pytest.param(complete, id=f"{path.stem}/{complete['id']}", marks=_marks(complete)))
    return found


def _marks(entry: Entry) -> list[pytest.MarkDecorator]:
    """A case that fails so far says why in `fails`; one that tritonserver cannot take, in `triton.skip`."""
    if TARGET_IS_TRITON:
        skip = entry.get("triton", {}).get("skip")
        return [pytest.mark.skip(reason=skip)] if skip else []
    return [pytest.mark.xfail(reason=entry["fails"], strict=True)] if "fails" in entry else []


def _substituted(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).substitute(texts)
    if isinstance(value, dict):
        return {name: _substituted(item, texts) for name, item in value.items()}
    return [_substituted(item, texts) for item in value] if isinstance(value, list) else value


def expectation(entry: Entry) -> Entry:
    """What is expected. What a case says of tritonserver replaces what it says of us, if that is who is asked."""
    override = entry.get("triton")
    if not TARGET_IS_TRITON or override is None:
        return entry
    hidden = {name for group in _ALTERNATIVES if not group.isdisjoint(override) for name in group}
    return {name: value for name, value in entry.items() if name not in hidden} | override


def rest_case(entry: Entry) -> RestCase:
    """The request of a `rest` entry or step."""
    method, path = entry["send"].split(" ", 1)
    headers = dict(entry.get("headers", {}))
    body = _body(entry, headers)
    return RestCase(method, path, headers, body, expectation(entry))


def _body(entry: Entry, headers: dict[str, str]) -> bytes | None:
    """The body, compressed if asked for; announces the length of the JSON where binary tensors follow."""
    text = entry.get("json")
    binary = bytes.fromhex(entry["binary"]) if "binary" in entry else None
    if text is not None and binary is not None:
        headers.setdefault("Inference-Header-Content-Length", str(len(text.encode())))
    if "repeat" in entry:
        return (entry["repeat"]["text"] * entry["repeat"]["times"]).encode()
    if text is None and binary is None:
        return b"" if entry["send"].startswith("POST ") else None
    body = (text or "").encode().ljust(entry.get("padded", 0)) + (binary or b"")
    match entry.get("compressed"):
        case "gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
    return body


def grpc_case(entry: Entry) -> GrpcCase:
    """The messages of a `grpc` or `stream` entry, which are written in protobuf's text format."""
    method = entry.get("call", "ModelInfer")
    kind = getattr(pb, pb_method(method).input_type.name)
    texts = entry["requests"] if "requests" in entry else [entry.get("request", "")]
    requests = [text_format.Parse(text, kind()) for text in texts]
    return GrpcCase(method, requests, entry.get("metadata", {}), expectation(entry))


def exact(text: str) -> str:
    """JSON in one form: the order of members stays, NaN is accepted, 1 is not 1.0."""
    return json.dumps(json.loads(text))
