"""The generate extension."""

import json
from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.rest import RestAnswer
from kserve_v2_conformance.suite.support import UNKNOWN_MODEL, UNKNOWN_VERSION, refused
from kserve_v2_conformance.target import NotCovered, Target, model_path


def _generate(
    target: Target, body: object, capability: str = "generate_text", route: str = "generate"
) -> RestAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"{target.model(capability).path}/{route}"
    return target.rest.post(path, content, {"Content-Type": "application/json"})


def _events(answer: RestAnswer) -> list[Any]:
    """The JSON of each server-sent event. Raises UnreadableAnswer for anything else."""
    blocks = [block for block in answer.body.decode().replace("\r\n", "\n").split("\n\n") if block.strip()]
    return [_event(block) for block in blocks]


def _event(block: str) -> Any:
    lines = block.strip("\n").split("\n")
    fields = [line for line in lines if not line.startswith((":", "event:", "id:", "retry:"))]
    if not fields or not all(line.startswith("data:") for line in fields):
        raise UnreadableAnswer(f"an event has no data: {block!r}")
    text = "\n".join(line.removeprefix("data:") for line in fields)
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnreadableAnswer(f"an event is no JSON: {error}") from None


@pytest.mark.clause("REST-GEN-001")
def test_generate(target: Target, check: Checks) -> None:
    """One text in, one text out."""
    answer = _generate(target, {"text_input": "héllo wörld"})
    check.equal("REST-GEN-001", "status", answer.status, 200)
    check.equal("REST-GEN-001", "content type", answer.content_type, "application/json")
    body = answer.object()
    check.equal("REST-GEN-001", "text_output", body.get("text_output"), "HéLLO WöRLD")
    check.equal("REST-GEN-001", "model_name", body.get("model_name"), target.model("generate_text").name)
    check.has_type("REST-GEN-001", "model_version", body.get("model_version"), str)


@pytest.mark.clause("REST-GEN-002")
@pytest.mark.parametrize("count", [1, 3])
def test_generate_stream(count: int, target: Target, check: Checks) -> None:
    """One text in, several out."""
    body = {"text_input": "again", "count": count}
    answer = _generate(target, body, "generate_tokens", "generate_stream")
    check.equal("REST-GEN-002", "status", answer.status, 200)
    check.equal("REST-GEN-002", "content type", answer.content_type, "text/event-stream")
    texts = [event.get("text_output") for event in _events(answer)]
    check.equal("REST-GEN-002", "text_output of the events", texts, ["again"] * count)


@pytest.mark.clause("REST-GEN-003")
def test_id(target: Target, check: Checks) -> None:
    """The id comes back."""
    answer = _generate(target, {"id": "42", "text_input": "x"})
    check.equal("REST-GEN-003", "id", answer.object().get("id"), "42")


@pytest.mark.clause("REST-GEN-004")
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"text_input": [["a"], ["b", "c"]]}'])
def test_malformed(body: bytes, target: Target, check: Checks) -> None:
    """No JSON, no object, no text, a text that is none."""
    refused(check, "REST-GEN-004", _generate(target, body))


@pytest.mark.clause("REST-GEN-004")
def test_unknown_model(target: Target, check: Checks) -> None:
    """A model that does not exist."""
    refused(
        check, "REST-GEN-004", target.rest.post(f"{model_path(UNKNOWN_MODEL)}/generate", {"text_input": "x"})
    )


@pytest.mark.clause("REST-GEN-005")
def test_further_input(target: Target, check: Checks) -> None:
    """A member that is an input of the model, and one that is not."""
    body = {"text_input": "x", "count": 2, "temperature": 0.5, "parameters": {"top_k": 1}}
    answer = _generate(target, body, "generate_tokens", "generate_stream")
    check.equal("REST-GEN-005", "status", answer.status, 200)
    check.equal("REST-GEN-005", "number of events", len(_events(answer)), 2)


@pytest.mark.clause("REST-GEN-006")
@pytest.mark.parametrize("route", ["generate", "generate_stream"])
def test_version(route: str, target: Target, check: Checks) -> None:
    """A version that the model has, and one that it has not."""
    model = target.model("generate_text")
    if not model.versions:
        raise NotCovered(f"the metadata of {model.name} list no versions")
    version = model.versions[-1]
    answer = target.rest.post(f"{model_path(model.name, version)}/{route}", {"text_input": "x"})
    check.equal("REST-GEN-006", "status", answer.status, 200)
    (body,) = _events(answer) if route == "generate_stream" else [answer.object()]
    check.equal("REST-GEN-006", "model_version", body.get("model_version"), version)
    path = f"{model_path(model.name, UNKNOWN_VERSION)}/{route}"
    refused(check, "REST-GEN-006", target.rest.post(path, {"text_input": "x"}))


@pytest.mark.clause("REST-GEN-007")
@pytest.mark.parametrize("body", [b"{", b"[]", b"{}"])
def test_error_before_the_stream(body: bytes, target: Target, check: Checks) -> None:
    """No JSON, no object, no text."""
    answer = _generate(target, body, "generate_tokens", "generate_stream")
    refused(check, "REST-GEN-007", answer)
    check.equal("REST-GEN-007", "content type", answer.content_type, "application/json")


@pytest.mark.clause("REST-GEN-008")
def test_error_in_the_stream(target: Target, check: Checks) -> None:
    """Two responses, and then an error."""
    body = {"text_input": "again", "count": 2}
    answer = _generate(target, body, "generate_failing", "generate_stream")
    check.equal("REST-GEN-008", "status", answer.status, 200)
    events = _events(answer)
    texts = [event.get("text_output") for event in events]
    check.equal("REST-GEN-008", "text_output of the events", texts, ["again", "again", None])
    last = events[-1].get("error") if events else None
    check.that(
        "REST-GEN-008", "the last event", isinstance(last, str), "an object with error", str(events[-1:])
    )


@pytest.mark.clause("REST-GEN-009")
@pytest.mark.parametrize("count", [0, 3])
def test_not_one_response(count: int, target: Target, check: Checks) -> None:
    """None, or three, where there is room for one."""
    answer = _generate(target, {"text_input": "x", "count": count}, "generate_tokens")
    refused(check, "REST-GEN-009", answer)
