"""Compares answers with what a case expects. A check returns what differs, as text; an empty list is a pass."""

import gzip
import json
import zlib
from typing import Any

from google.protobuf import text_format

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.wire.casefiles import Entry, exact
from tests.wire.servers import TARGET_IS_TRITON
from tests.wire.target import GrpcAnswer, RestAnswer, pb_method


def rest_differences(answer: RestAnswer, expected: Entry) -> list[str]:
    """What of an HTTP answer is not as expected."""
    found = [
        *_differ("status", answer.status, expected.get("status", 200)),
        *_content_type(answer, expected),
        *(
            difference
            for name, value in expected.get("has", {}).items()
            for difference in _differ(name, answer.headers.get(name.lower(), ""), value)
        ),
        *(f"header {name}" for name in expected.get("lacks", []) if name.lower() in answer.headers),
    ]
    text, binary = _plain(answer, found)
    if "error" in expected:
        found += _differ("body", text, error_text(expected["error"]))
    if "error_starts" in expected:
        found += _error_starts(text, expected["error_starts"])
    if "text" in expected:
        found += _differ("body", text, expected["text"])
    if "answer" in expected:
        found += _differ("body", _readable(text), exact(expected["answer"]))
    found += [f"no {part!r} in {text}" for part in expected.get("contains", []) if part not in text]
    if "answer_binary" in expected:
        found += _differ("binary tensors", binary.hex(" "), bytes.fromhex(expected["answer_binary"]).hex(" "))
    return found


def error_text(message: str) -> str:
    """The whole body of an error."""
    return json.dumps({"error": message}, separators=(",", ":"), ensure_ascii=False)


def _differ(what: str, got: Any, wanted: Any) -> list[str]:
    return [] if got == wanted else [f"{what}: expected {wanted!r}, got {got!r}"]


def _content_type(answer: RestAnswer, expected: Entry) -> list[str]:
    # Without a body there is nothing to label; tritonserver labels some errors as text.
    unlabelled = not answer.body or (TARGET_IS_TRITON and answer.status != 200)
    if "content_type" not in expected and unlabelled:
        return []
    wanted = expected.get("content_type", "application/json")
    return _differ("Content-Type", answer.headers.get("content-type", ""), wanted)


def _plain(answer: RestAnswer, found: list[str]) -> tuple[str, bytes]:
    """The JSON and the binary tensors of an answer, decompressed."""
    encoding = answer.headers.get("content-encoding", "")
    body = answer.body
    if encoding == "gzip":
        body = gzip.decompress(body)
    elif encoding == "deflate":
        body = zlib.decompress(body)
    elif encoding:
        found.append(f"Content-Encoding {encoding!r}")
    text, binary = RestAnswer(answer.status, answer.headers, body).parts
    return text.decode(errors="backslashreplace"), binary


def _readable(text: str) -> str:
    try:
        return exact(text)
    except ValueError:
        return text


def _error_starts(text: str, start: str) -> list[str]:
    try:
        document = json.loads(text)
        message = document["error"]
    except (ValueError, TypeError, KeyError):
        return [f"body: expected an error, got {text!r}"]
    found = [] if list(document) == ["error"] else [f"more members than 'error': {text}"]
    return found if message.startswith(start) else [*found, *_differ("start of the error", message, start)]


def grpc_differences(answer: GrpcAnswer, method: str, expected: Entry) -> list[str]:
    """What of a call's outcome is not as expected."""
    found = _differ("code", answer.code, expected.get("code", "OK"))
    if "details" in expected:
        found += _differ("details", answer.details, expected["details"])
    start = expected.get("details_start", "")
    if not answer.details.startswith(start):
        found += _differ("start of the details", answer.details, start)
    wanted = expected.get("answers", [expected["answer"]] if "answer" in expected else None)
    if wanted is not None:
        kind = getattr(pb, pb_method(method).output_type.name)
        messages = [text_format.Parse(text, kind()) for text in wanted]
        found += _differ("messages", _texts(answer.messages), _texts(messages))
    return found


def _texts(messages: list[Any]) -> list[str]:
    return [text_format.MessageToString(message, as_one_line=True) for message in messages]
