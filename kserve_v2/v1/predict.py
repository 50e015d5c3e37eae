"""`POST /v1/models/M[/versions/N|/labels/L]:predict`, and the verbs beside it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.types import Send

from kserve_v2.errors import NotFoundError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.json_data.text import parsed
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.answers import send_answer
from kserve_v2.rest.codec import EncodedResponse
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.infer import Answer, Prepared, Reader, Reading, answer, routed
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.slices import Slices
from kserve_v2.v1.answer import encode_predictions
from kserve_v2.v1.codec import Decoded, decode_predict
from kserve_v2.v1.examples import CLASSIFY, decode_examples, encode_results, output_of
from kserve_v2.v1.flavours import Manners
from kserve_v2.v1.handlers import gets_bodies, handler_answer, handler_request
from kserve_v2.v1.large import parse_examples, parse_values


class Asked(NamedTuple):
    """A decoded request, and the model that answers it. `encode`: the body of the answer, in parts; None for a handler,
    which says itself what is sent.
    """

    model: LoadedModel
    request: InferRequest
    encode: Callable[[InferResponse], Slices[Sequence[bytes]]] | None


class _Operation(Reading[Asked]):
    """What the verbs have in common."""

    def __init__(self, service: InferenceService, max_request_bytes: int, manners: Manners) -> None:
        """As `Reading`."""
        super().__init__(service, max_request_bytes)
        self._manners = manners

    async def __call__(self, call: Call, send: Send) -> None:
        """Send what is answered to a request."""
        model, request, encode = await self.decoded(call)
        response = await infer(self._service.check(model, request), request)
        call.executed(response)
        if encode is None:
            headers, parts, status = handler_answer(response)
            await send_answer(headers, parts, call, send, status)
            return

        def written() -> Slices[Answer]:
            encoded = EncodedResponse((yield from encode(response)))
            return (yield from answer(encoded, call.headers.get(b"accept-encoding")))

        await send_answer(*await self._service.slicer.finish(written()), call, send)

    def document(self, call: Call, prepared: Prepared | None) -> Any:
        """The JSON of a body."""
        body, document, _ = self.plain(call, prepared)
        return parsed(body, document)

    def to_handler(
        self, call: Call, model: LoadedModel, prepared: Prepared | None, *, explain: bool = False
    ) -> Asked:
        """The request to a handler."""
        body = self.plain(call, prepared).body

        def read(_: LoadedModel) -> tuple[InferRequest, None]:
            return handler_request(call, body, explain=explain), None

        model, request, _ = routed(self._service, call, model, read)
        return Asked(model, request, None)


class Predict(_Operation):
    """The operation of `:predict`: one request, one answer, which has the form of the request."""

    def decode(self, call: Call, prepared: Prepared | None) -> Asked:
        model = one_answer(self._service, call, self._manners)
        if gets_bodies(model):
            return self.to_handler(call, model, prepared)
        document = self.document(call, prepared)

        def read(model: LoadedModel) -> Decoded:
            return decode_predict(document, model.signature, call.version, self._manners)

        model, request, by_row = routed(self._service, call, model, read)
        return Asked(model, request, partial(encode_predictions, by_row=by_row))

    def reads(self, call: Call, model: LoadedModel) -> Reader | None:
        return None if gets_bodies(model) else parse_values


class Explain(_Operation):
    """The operation of `:explain`, which handlers of TorchServe's have: what they explain their answer by."""

    def decode(self, call: Call, prepared: Prepared | None) -> Asked:
        if not gets_bodies(acquire(self._service, call.model_name, call.version, self._manners)):
            raise UnsupportedError(f"model '{call.model_name}' has no explainer")
        model = one_answer(self._service, call, self._manners)
        return self.to_handler(call, model, prepared, explain=True)

    def reads(self, call: Call, model: LoadedModel) -> None:
        """The body goes to the handler as it is."""


class Examples(_Operation):
    """The operations of `:classify` and `:regress`: a result for each example."""

    def __init__(
        self, verb: str, service: InferenceService, max_request_bytes: int, manners: Manners
    ) -> None:
        """As `Reading`."""
        super().__init__(service, max_request_bytes, manners)
        self._verb = verb

    def decode(self, call: Call, prepared: Prepared | None) -> Asked:
        model = one_answer(self._service, call, self._manners)
        document = self.document(call, prepared)

        def read(model: LoadedModel) -> tuple[InferRequest, str]:
            signature = model.signature
            output = output_of(self._verb, signature, model.labels)
            request = decode_examples(document, self._verb, signature, output, call.version, self._manners)
            return request, output

        model, request, output = routed(self._service, call, model, read)
        labels = model.labels[output] if self._verb == CLASSIFY else None
        return Asked(model, request, partial(encode_results, output=output, labels=labels))

    def reads(self, call: Call, model: LoadedModel) -> Reader | None:
        return parse_examples


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
