"""`POST /v1/models/M[/versions/N|/labels/L]:predict`, and the verbs beside it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from starlette.types import Send

from kserve_v2.errors import NotFoundError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.answers import send_answer
from kserve_v2.rest.codec import Body, EncodedResponse
from kserve_v2.rest.endpoint import Call, Operation
from kserve_v2.rest.infer import Answer, Prepared, Reader, Reading, written_answer
from kserve_v2.rest.json_text import parse_json
from kserve_v2.rest.v1.answer import encode_predictions
from kserve_v2.rest.v1.codec import Decoded, decode_predict
from kserve_v2.rest.v1.examples import (
    CLASSIFY,
    REGRESS,
    classified,
    decode_examples,
    encode_results,
    regressed,
)
from kserve_v2.rest.v1.flavours import Manners
from kserve_v2.rest.v1.handlers import gets_bodies, hand_over
from kserve_v2.rest.v1.large import parse_examples, parse_values
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.slices import Slices

T = TypeVar("T")

# What is not in the parts of an answer.
_ALL_TEXT = EncodedResponse(b"", ())


class _Operation(Reading[T]):
    """What the verbs have in common."""

    def __init__(self, service: InferenceService, max_request_bytes: int, manners: Manners) -> None:
        """As `Reading`."""
        super().__init__(service, max_request_bytes)
        self._manners = manners

    async def answered(self, call: Call, model: LoadedModel, request: InferRequest) -> InferResponse:
        """What a model answers to a decoded request."""
        response = await infer(self._service.check(model, request), request)
        call.executed(response)
        return response

    async def send(self, text: Slices[Sequence[bytes]], call: Call, send: Send) -> None:
        """Send an answer with that body."""

        def found() -> Slices[Answer]:
            parts = yield from text
            return (yield from written_answer(parts, _ALL_TEXT, call.headers.get(b"accept-encoding")))

        await send_answer(*await self._service.slicer.finish(found()), call, send)


class Predict(_Operation[tuple[LoadedModel, Decoded | Body]]):
    """The operation of `:predict`: one request, one answer."""

    async def __call__(self, call: Call, send: Send) -> None:
        """Send the outputs, in the form that the request has."""
        model, found = await self.decoded(call)
        if not isinstance(found, Decoded):
            await hand_over(self._service, call, model, found, send, explain=False)
            return
        response = await self.answered(call, model, found.request)
        await self.send(encode_predictions(response, by_row=found.by_row), call, send)

    def decode(self, call: Call, prepared: Prepared | None) -> tuple[LoadedModel, Decoded | Body]:
        """A request, or the body of one to a handler, and the model that answers it."""
        model = one_answer(self._service, call, self._manners)
        body, document, _ = self.plain(call, prepared)
        if gets_bodies(model):
            return model, body
        document = parse_json(body) if document is None else document
        decoded = decode_predict(document, model.signature, call.version, self._manners)
        if model.splits:
            # What the body says decides. It is read again as the version that answers has it.
            model = self._service.route(model, decoded.request, call.all_headers)
            decoded = decode_predict(document, model.signature, call.version, self._manners)
        call.begun(decoded.request, model)
        return model, decoded

    def reads(self, call: Call, model: LoadedModel) -> Reader | None:
        return None if gets_bodies(model) else parse_values


def acquire(service: InferenceService, name: str, version: str, manners: Manners) -> LoadedModel:
    """The model that answers. Raises as `InferenceService.acquire`, in the words that clients of v1 know."""
    try:
        return service.acquire(name, version)
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


class Explain(_Operation[tuple[LoadedModel, Body]]):
    """The operation of `:explain`, which handlers of TorchServe's have."""

    async def __call__(self, call: Call, send: Send) -> None:
        """Send what the handler has to explain its answer by."""
        model, body = await self.decoded(call)
        await hand_over(self._service, call, model, body, send, explain=True)

    def decode(self, call: Call, prepared: Prepared | None) -> tuple[LoadedModel, Body]:
        if not gets_bodies(acquire(self._service, call.model_name, call.version, self._manners)):
            raise UnsupportedError(f"model '{call.model_name}' has no explainer")
        return one_answer(self._service, call, self._manners), self.plain(call, prepared).body

    def reads(self, call: Call, model: LoadedModel) -> None:
        """The body goes to the handler as it is."""


class Examples(_Operation[tuple[LoadedModel, InferRequest, str]]):
    """The operations of `:classify` and `:regress`."""

    def __init__(
        self, verb: str, service: InferenceService, max_request_bytes: int, manners: Manners
    ) -> None:
        """As `Reading`."""
        super().__init__(service, max_request_bytes, manners)
        self._verb = verb

    async def __call__(self, call: Call, send: Send) -> None:
        """Send a result for each example."""
        model, request, output = await self.decoded(call)
        response = await self.answered(call, model, request)
        labels = model.labels[output] if self._verb == CLASSIFY else None
        await self.send(encode_results(response, output, labels), call, send)

    def decode(self, call: Call, prepared: Prepared | None) -> tuple[LoadedModel, InferRequest, str]:
        model = one_answer(self._service, call, self._manners)
        body, document, _ = self.plain(call, prepared)
        document = parse_json(body) if document is None else document
        request, output = self._request(document, call, model)
        if model.splits:
            # As in `Predict`.
            model = self._service.route(model, request, call.all_headers)
            request, output = self._request(document, call, model)
        call.begun(request, model)
        return model, request, output

    def reads(self, call: Call, model: LoadedModel) -> Reader | None:
        return parse_examples

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
