"""`POST /v1/models/M[/versions/N|/labels/L]:predict`, and the verbs beside it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.types import Send

from kserve_v2.errors import InvalidArgumentError, NotFoundError, NoVersionError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.codec import Body, EncodedResponse
from kserve_v2.rest.endpoint import Call, Operation
from kserve_v2.rest.infer import Answer, Prepared, Reader, decoded, plain_body, send_answer, written_answer
from kserve_v2.rest.json_text import parse_json
from kserve_v2.rest.v1.answer import encode_predictions
from kserve_v2.rest.v1.codec import Decoded, decode_predict
from kserve_v2.rest.v1.examples import (
    CLASSIFY,
    REGRESS,
    classified,
    decode_examples,
    encode_classes,
    encode_numbers,
    regressed,
)
from kserve_v2.rest.v1.flavours import Manners
from kserve_v2.rest.v1.handlers import gets_bodies, hand_over
from kserve_v2.rest.v1.large import parse_values
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.slices import Slices

# What is not in the parts of an answer.
_ALL_TEXT = EncodedResponse(b"", ())


class Predict:
    """The operation of `:predict`: one request, one answer."""

    def __init__(self, service: InferenceService, max_request_bytes: int, manners: Manners) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._service = service
        self._max_request_bytes = max_request_bytes
        self._manners = manners

    async def __call__(self, call: Call, send: Send) -> None:
        """Send the outputs, in the form that the request has."""
        decode = partial(self._decode, call)
        model, found = await decoded(self._service, call, self._max_request_bytes, decode, reads=_reads)
        if not isinstance(found, Decoded):
            await hand_over(self._service, call, model, found, send, explain=False)
            return
        response = await _answered(self._service, call, model, found.request)
        await _send(self._service, encode_predictions(response, by_row=found.by_row), call, send)

    def _decode(self, call: Call, prepared: Prepared | None) -> tuple[LoadedModel, Decoded | Body]:
        """A request, or the body of one to a handler, and the model that answers it."""
        model = one_answer(self._service, call, self._manners)
        body, document = prepared or (plain_body(call, self._max_request_bytes), None)
        if gets_bodies(model):
            return model, body
        document = parse_json(body) if document is None else document
        decoded = decode_predict(document, model.signature, call.version, self._manners)
        if model.splits:
            # What the body says decides. It is read again as the version that answers has it.
            model = self._service.route(model, decoded.request, call.all_headers)
            decoded = decode_predict(document, model.signature, call.version, self._manners)
        call.body = b""
        return model, decoded


def _reads(model: LoadedModel) -> Reader | None:
    return None if gets_bodies(model) else parse_values


def acquire(service: InferenceService, name: str, version: str, manners: Manners) -> LoadedModel:
    """The model that answers. Raises as `InferenceService.acquire`, in the words that clients of v1 know."""
    try:
        return service.acquire(name, version)
    except NoVersionError:
        raise InvalidArgumentError(f"Unrecognized servable version label: {version}") from None
    except NotFoundError:
        known = service.versions(name, version)
        if known and (not version.isdigit() or version in {entry.version for entry in known}):
            # Our own words say why it does not answer, or which labels there are.
            raise
        raise NotFoundError(manners.unknown_model(name, version)) from None


def one_answer(service: InferenceService, call: Call, manners: Manners) -> LoadedModel:
    """The model that a call is for, which gives one answer. Raises as `acquire`."""
    model = acquire(service, call.model_name, call.version, manners)
    if model.splits:
        model = service.route(model, None, call.all_headers)
    if model.signature.verbatim:
        raise UnsupportedError(
            f"model '{model.name}' reads requests itself, and what its tensors are is not known: ask "
            f"/v2/models/{model.name}/infer"
        )
    if model.decoupled:
        raise UnsupportedError(
            f"model '{model.name}' is decoupled: it may answer a request any number of times, which v1 cannot; ask "
            f"/v2/models/{model.name}/generate_stream, or over gRPC"
        )
    return model


async def _send(service: InferenceService, text: Slices[Sequence[bytes]], call: Call, send: Send) -> None:
    """Send an answer with that body."""

    def found() -> Slices[Answer]:
        parts = yield from text
        return (yield from written_answer(parts, _ALL_TEXT, call.headers.get(b"accept-encoding")))

    await send_answer(await service.slicer.finish(found()), call, send)


async def _answered(
    service: InferenceService, call: Call, model: LoadedModel, request: InferRequest
) -> InferResponse:
    """What a model answers to a decoded request."""
    if call.trace is not None:
        model.begin_trace(request, call.trace)
    response = await infer(service.check(model, request), request)
    if call.access is not None:
        call.access.executed(response)
    return response


class Explain:
    """The operation of `:explain`, which handlers of TorchServe's have."""

    def __init__(self, service: InferenceService, max_request_bytes: int, manners: Manners) -> None:
        """As `Predict`."""
        self._service = service
        self._max_request_bytes = max_request_bytes
        self._manners = manners

    async def __call__(self, call: Call, send: Send) -> None:
        """Send what the handler has to explain its answer by."""
        model, body = await decoded(
            self._service, call, self._max_request_bytes, partial(self._decode, call), reads=lambda _: None
        )
        await hand_over(self._service, call, model, body, send, explain=True)

    def _decode(self, call: Call, prepared: Prepared | None) -> tuple[LoadedModel, Body]:
        if not gets_bodies(acquire(self._service, call.model_name, call.version, self._manners)):
            raise UnsupportedError(f"model '{call.model_name}' has no explainer")
        model = one_answer(self._service, call, self._manners)
        return model, plain_body(call, self._max_request_bytes) if prepared is None else prepared.body


class Examples:
    """The operations of `:classify` and `:regress`."""

    def __init__(
        self, verb: str, service: InferenceService, max_request_bytes: int, manners: Manners
    ) -> None:
        """As `Predict`."""
        self._verb = verb
        self._service = service
        self._max_request_bytes = max_request_bytes
        self._manners = manners

    async def __call__(self, call: Call, send: Send) -> None:
        """Send a result for each example."""
        model, request, output = await decoded(
            self._service, call, self._max_request_bytes, partial(self._decode, call), reads=lambda _: None
        )
        response = await _answered(self._service, call, model, request)
        await _send(self._service, self._encode(response, output, model), call, send)

    def _encode(self, response: InferResponse, output: str, model: LoadedModel) -> Slices[Sequence[bytes]]:
        yield from ()
        if self._verb == CLASSIFY:
            return (encode_classes(response, output, model.labels[output]),)
        return (encode_numbers(response, output),)

    def _decode(self, call: Call, prepared: Prepared | None) -> tuple[LoadedModel, InferRequest, str]:
        model = one_answer(self._service, call, self._manners)
        body = plain_body(call, self._max_request_bytes) if prepared is None else prepared.body
        document = parse_json(body)
        request, output = self._request(document, call, model)
        if model.splits:
            # As in `Predict`.
            model = self._service.route(model, request, call.all_headers)
            request, output = self._request(document, call, model)
        call.body = b""
        return model, request, output

    def _request(self, document: Any, call: Call, model: LoadedModel) -> tuple[InferRequest, str]:
        signature = model.signature
        output = classified(signature, model.labels) if self._verb == CLASSIFY else regressed(signature)
        request = decode_examples(document, self._verb, signature, output, call.version, self._manners)
        return request, output


def v1_operations(
    service: InferenceService, max_request_bytes: int, manners: Manners
) -> Mapping[str, Operation]:
    """The verbs, by the names that `endpoint.parse_target` gives them."""
    return {
        "v1:predict": Predict(service, max_request_bytes, manners),
        "v1:explain": Explain(service, max_request_bytes, manners),
        **{f"v1:{verb}": Examples(verb, service, max_request_bytes, manners) for verb in (CLASSIFY, REGRESS)},
    }
