"""The generate extension."""

import json
from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.rest import RestAnswer
from kserve_v2_conformance.suite.support import UNKNOWN_MODEL, refused
from kserve_v2_conformance.target import Target, model_path


def _generate(
    target: Target, body: object, capability: str = "generate_text", route: str = "generate"
) -> RestAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"{target.model(capability).path}/{route}"
    return target.rest.post(path, content, {"Content-Type": "application/json"})


def _events(answer: RestAnswer) -> list[Any]:
    """The JSON of each server-sent event. Raises UnreadableAnswer."""
    blocks = [block for block in answer.body.decode().replace("\r\n", "\n").split("\n\n") if block.strip()]
    try:
        return [json.loads(block.removeprefix("data:")) for block in blocks]
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
