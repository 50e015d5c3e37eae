"""Handlers of TorchServe's by the v1 protocol: they get the body as it came, and say themselves what the answer is, as
TorchServe does at the same paths.
"""

from uuid import uuid4

from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.answer_text import Parts
from kserve_v2.net.model_answers import BODYLESS, OWN_HEADERS, sendable_headers, status_of
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.codec import Body
from kserve_v2.rest.endpoint import Call, Headers
from kserve_v2.rest.errors import error_body

_BACKEND = "torchserve"
_JSON = "application/json"


def gets_bodies(model: LoadedModel) -> bool:
    """Whether a model is such a handler."""
    return model.config.backend == _BACKEND


def handler_request(call: Call, body: Body, *, explain: bool) -> InferRequest:
    """The request to a handler that gets a `body`. `explain`: it is asked for what explains its answer."""
    # Few servers have such models.
    from kserve_v2.torchserve.rows import Field, Row, request_of  # noqa: PLC0415

    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in call.all_headers]
    kind = dict(headers).get("content-type", _JSON)
    # Without a word from the client curl says that it is a form.
    content_type = _JSON if kind.startswith("application/x-www-form-urlencoded") else kind
    row = Row([Field("body", bytes(body), content_type)], headers, explain=explain, id=str(uuid4()))
    return request_of(row, call.model_name, call.version)


def handler_answer(response: InferResponse) -> tuple[Headers, Parts, int]:
    """Headers, body and status of a handler's answer, as HTTP can have them."""
    from kserve_v2.torchserve.rows import Answer, Failure, answer_of  # noqa: PLC0415

    found = answer_of(response)
    if isinstance(found, Failure):
        found = Answer(error_body(found.message), _JSON, found.code)
    status = status_of(found.status)
    said = [each for each in found.headers if each[0].lower() not in OWN_HEADERS]
    if status not in BODYLESS and found.content_type:
        said.append(("content-type", found.content_type))
    headers = sendable_headers(said, f"model '{response.model_name}'")
    if status in BODYLESS:
        return headers, (b"",), status
    return [*headers, (b"content-length", b"%d" % len(found.body))], (found.body,), status
