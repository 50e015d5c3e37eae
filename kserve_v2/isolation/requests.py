"""Requests on their way to a model's process, and what the model has made of them on the way back."""

from collections.abc import Mapping, Sequence
from typing import Any

from kserve_v2_child.answers import StreamedResponse

from kserve_v2.errors import InternalError
from kserve_v2.isolation.remote import remote_error
from kserve_v2.messages import InferRequest, SequenceStep, Tensors

Json = dict[str, Any]


def told(request: InferRequest) -> Json:
    """What a model's process is told of a request: what is not as it is by default."""
    fields: Json = {}
    if request.id:
        fields["id"] = request.id
    if request.rows != 1:
        fields["rows"] = request.rows
    if request.parameters:
        fields["parameters"] = request.parameters
    if request.control:
        fields["control"] = request.control
    if request.model_version:
        fields["model_version"] = request.model_version
    if request.requested_outputs:
        fields["requested_outputs"] = request.requested_outputs
    if request.packed is not None:
        fields["packed"] = request.packed
    if request.cancelled:
        fields["cancelled"] = True
    if request.trace is not None and request.trace.spans is not None:
        fields["trace"] = request.trace.spans.headers()
    if request.sequence is not None:
        fields["sequence"] = _told_step(request.sequence)
    return fields


def _told_step(step: SequenceStep) -> Json:
    # States travel among the tensors.
    return {
        "id": step.id,
        "start": step.start,
        "end": step.end,
        "ready": step.ready,
        "slot": step.slot,
        "round": step.round,
        "round_open": step.round_open,
    }


def take_back(fields: Mapping[str, Any], groups: list[Any], requests: Sequence[InferRequest]) -> None:
    """Take over what the model has written into its requests. `groups`: what it has answered, without which are left
    the tensors for further rounds.
    """
    for request, parameters in zip(requests, fields.get("parameters", ()), strict=False):
        request.response_parameters = parameters
    again = fields.get("again", ())
    for index, inputs in zip(again, groups[len(groups) - len(again) :], strict=True):
        step = requests[index].sequence
        if step is None:
            raise InternalError("a request without a sequence was rescheduled")
        step.next_inputs = inputs


def answers_of(fields: Mapping[str, Any], groups: list[Any], *, separate: bool) -> Any:
    """What the instance has answered with: joined tensors, or of one that answers each request by itself, a list of
    tensors and exceptions. `separate`: it always does that.
    """
    if not separate and "each" not in fields:
        return groups[0]
    answers: list[Any] = groups[: len(groups) - len(fields.get("again", ()))]
    for index, failure in fields.get("failures", {}).items():
        answers[int(index)] = remote_error(failure)
    return answers


def response_of(
    fields: Mapping[str, Any], groups: list[Any], request: InferRequest
) -> Tensors | StreamedResponse:
    """One response of a stream."""
    (request.response_parameters,) = fields["parameters"]
    outputs: Tensors = groups[0]
    marked = fields.get("marked")
    if marked is None:
        return outputs
    error = marked.get("error")
    return StreamedResponse(
        outputs,
        None if error is None else remote_error(error),
        marked["final"],
        request.response_parameters,
    )
