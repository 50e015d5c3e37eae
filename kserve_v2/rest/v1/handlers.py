"""Handlers of TorchServe's by the v1 protocol: they get the body as it came, and say themselves what the answer is, as
TorchServe does at the same paths.
"""

from collections.abc import Sequence
from uuid import uuid4

from starlette.types import Send

from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest
from kserve_v2.net.model_answers import BODYLESS, OWN_HEADERS, sendable_headers, status_of
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.answers import send_answer
from kserve_v2.rest.codec import Body
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.errors import error_body
from kserve_v2.scheduling.replies import infer

_BACKEND = "torchserve"
_JSON = "application/json"


def gets_bodies(model: LoadedModel) -> bool:
    """Whether a model is such a handler."""
    return model.config.backend == _BACKEND


async def hand_over(
    service: InferenceService, call: Call, model: LoadedModel, body: Body, send: Send, *, explain: bool
) -> None:
    """Answer with what the handler says to a `body`, or with what explains that. Raises as a model does."""
    # Few servers have such models.
    from kserve_v2.torchserve.rows import Failure, Field, Row, answer_of, request_of  # noqa: PLC0415

    if model.splits:
        # Of a body nobody here knows what it says.
        model = service.route(model, InferRequest(call.model_name, {}, call.version), call.all_headers)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in call.all_headers]
    kind = dict(headers).get("content-type", _JSON)
    # Without a word from the client curl says that it is a form.
    content_type = _JSON if kind.startswith("application/x-www-form-urlencoded") else kind
    row = Row([Field("body", bytes(body), content_type)], headers, explain=explain, id=str(uuid4()))
    request = request_of(row, call.model_name, call.version)
    call.begun(request, model)
    response = await infer(service.check(model, request), request)
    call.executed(response)
    found = answer_of(response)
    if isinstance(found, Failure):
        await _send(found.code, error_body(found.message), _JSON, (), call, send)
    else:
        await _send(found.status, found.body, found.content_type, found.headers, call, send)


async def _send(
    status: int, body: bytes, kind: str, headers: Sequence[tuple[str, str]], call: Call, send: Send
) -> None:
    status = status_of(status)
    said = [(name, value) for name, value in headers if name.lower() not in OWN_HEADERS]
    if status in BODYLESS:
        body, kind = b"", ""
    if kind:
        said.append(("content-type", kind))
    told = sendable_headers(said, f"model '{call.model_name}'")
    if status not in BODYLESS:
        told.append((b"content-length", b"%d" % len(body)))
    await send_answer(told, (body,), call, send, status)
