"""`infer`: one request, one answer, in JSON or with binary tensors; and `infer_stream`, an event for each response, for
models of every kind. The operations as ASGI sees them.
"""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from starlette.types import Send

from kserve_v2.acceptance import GIVEN, Carrying
from kserve_v2.errors import InvalidArgumentError, ServingError, UnsupportedError
from kserve_v2.inference import Inference, InferenceService
from kserve_v2.json_data.large import Places, data_of_inputs, parse_large
from kserve_v2.memory.inflight import Share
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.net.answer_text import JOIN_BYTES, Parts
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.answers import send_answer, send_events
from kserve_v2.rest.codec import (
    Body,
    EncodedResponse,
    ResponseFormat,
    TextsByPlace,
    decode_request,
    encode_response,
)
from kserve_v2.rest.compression import choose_encoding, compressed, decompress, decompressed
from kserve_v2.rest.endpoint import Call, Operation
from kserve_v2.rest.heads import InferHead
from kserve_v2.rest.large_binary import json_before, read_texts
from kserve_v2.rest.verbatim import decode_verbatim, encode_verbatim
from kserve_v2.scheduling.replies import OneOutcome, Outcome, infer, stream
from kserve_v2.scheduling.slices import LARGE_BYTES, Room, Slices, at_once

T = TypeVar("T")

_NO_TEXTS: TextsByPlace = MappingProxyType({})

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")


class Asked(OneOutcome):
    """A decoded request, and its reply: the model that is to answer, and how the answer is to be sent.
    `accept_encoding`: the header of this name, None where there is none.
    """

    __slots__ = ("accept_encoding", "model", "request", "response_format", "take")

    take: Callable[[Outcome], None]
    """Set by whoever sends the answer, if there is none at once."""

    def __init__(
        self,
        model: LoadedModel,
        request: InferRequest,
        response_format: ResponseFormat,
        accept_encoding: bytes | None,
    ) -> None:
        self.model = model
        self.request = request
        self.response_format = response_format
        self.accept_encoding = accept_encoding


class Answer(NamedTuple):
    """Headers (Content-Length among them) and body of an answer with status 200."""

    headers: list[tuple[bytes, bytes]]
    parts: Parts


def decode(
    service: Inference,
    head: Call | InferHead,
    body: bytes | bytearray | memoryview,
    max_request_bytes: int,
    *,
    streams: bool = False,
    prepared: "Prepared | None" = None,
) -> Asked:
    """Decode a request. `max_request_bytes`: the most that a compressed body may become. `streams`: whether any number
    of responses can be sent. `prepared`: what was made of the body before.

    From here to the scheduler nothing may give way to the loop: the model cannot be unloaded in between.
    Raises the ServingError that is the request's outcome.
    """
    headers, version = head.headers, head.version
    model = service.acquire(head.model_name, version)
    if model.splits:
        model = service.route(model, None, head.all_headers)
    if model.decoupled and not (streams or model.signature.verbatim):
        raise UnsupportedError("HTTP end point doesn't support models with decoupled transaction policy")
    document, texts = None, _NO_TEXTS
    if prepared is not None:
        body, document, texts = prepared
    elif b"content-encoding" in headers:
        body = decompress(body, headers[b"content-encoding"], max_request_bytes)
    header_length, regions = headers.get(b"inference-header-content-length"), service.shared_memory

    def read(model: LoadedModel) -> tuple[InferRequest, ResponseFormat]:
        if model.signature.verbatim:
            asked = (body, header_length, model.signature, version, regions)
            return decode_verbatim(*asked, headers=head.all_headers, streams=streams)
        return decode_request(body, header_length, model.signature, version, regions, document, texts)

    found = read(model)
    if model.splits:
        # What the body says decides. It is read again as the version that answers has it.
        model = service.route(model, found[0], head.all_headers)
        found = read(model)
    return Asked(model, *found, headers.get(b"accept-encoding"))


class Prepared(NamedTuple):
    """What was made of a large body before it is decoded, whatever its model: `body` without its encoding, and its
    JSON, if that was worth while; `texts` that stand behind that.
    """

    body: Body
    document: Any
    texts: TextsByPlace = _NO_TEXTS


Reader = Callable[[Body, Room], Slices[Any]]
"""Reads large JSON in slices; None for what is to be read in one go."""


def read_data(places: Places, *, alone: bool = False) -> Reader:
    """What reads JSON with large lists in `places`, see `parse_large`. It raises as `check_structure`."""
    return lambda body, room: parse_large(body, room=room, places=places, limited=True, alone=alone)


_READ_INPUTS = read_data(data_of_inputs)


def _reads(model: LoadedModel) -> Reader | None:
    return None if model.signature.verbatim else _READ_INPUTS


def prepare(
    service: Inference,
    head: Call | InferHead,
    body: Body,
    max_request_bytes: int,
    room: Room,
    *,
    streams: bool = False,
    reads: Callable[[LoadedModel], Reader | None] = _reads,
) -> Slices[Prepared] | None:
    """What is done with a body in slices before it is decoded; None for nothing, as with nearly all. `room`: for what
    comes of it. `streams`: see `decode`. `reads`: what reads JSON to a model; None if it is not to be read.
    """
    encoding = head.headers.get(b"content-encoding")
    header_length = head.headers.get(b"inference-header-content-length")
    if encoding is None and (
        len(body) < LARGE_BYTES or not (header_length is None or json_before(body, header_length))
    ):
        return None
    try:
        model = service.acquire(head.model_name, head.version)
    except ServingError:
        # It is said, or waited for, when the request is decoded.
        return None
    if model.decoupled and not (streams or model.signature.verbatim):
        # It is refused, whatever its body is.
        return None
    reader = reads(model)
    if header_length is not None and reader is not _READ_INPUTS:
        # Of the other operations, none has tensors behind its JSON.
        reader = None
    return _prepared(body, encoding or b"", max_request_bytes, room, reader, header_length)


def _prepared(
    body: Body, encoding: bytes, limit: int, room: Room, reader: Reader | None, header_length: bytes | None
) -> Slices[Prepared]:
    has_room = True

    def ask(size: int) -> bool:
        nonlocal has_room
        has_room = has_room and room(size)
        return has_room

    plain = yield from decompressed(body, encoding, limit, ask)
    if reader is None or len(plain) < LARGE_BYTES or not has_room:
        # What is not counted is gone before others have a turn.
        return Prepared(plain, None)
    if header_length is not None:
        return Prepared(plain, None, (yield from read_texts(plain, header_length, room)))
    return Prepared(plain, (yield from reader(plain, room)))


def encode(response: InferResponse, asked: Asked) -> Slices[EncodedResponse]:
    """Encode the body of an answer. Raises as `encode_response`."""
    model, response_format = asked.model, asked.response_format
    if model.signature.verbatim:
        return encode_verbatim(response, response_format, model.labels)
    return encode_response(response, response_format, model.labels, batched=model.batched)


def answer(encoded: EncodedResponse, accept_encoding: bytes | None) -> Slices[Answer]:
    """The answer whose body is `encoded`, compressed if the client asks for that."""
    parts, json_bytes, own_headers = encoded
    headers = [_JSON]
    if json_bytes:
        headers = [_BINARY, (b"inference-header-content-length", b"%d" % json_bytes)]
    headers += own_headers
    size = sum(map(len, parts))
    encoding = choose_encoding(accept_encoding)
    if encoding is not None:
        slices = compressed(parts, encoding)
        parts = (yield from slices) if size >= LARGE_BYTES else at_once(slices)
        size = sum(map(len, parts))
        headers.append((b"content-encoding", encoding))
    headers.append((b"content-length", b"%d" % size))
    if len(parts) > 1 and size <= JOIN_BYTES:
        parts = (b"".join(parts),)
    return Answer(headers, parts)


def routed(
    service: Inference, call: Call, model: LoadedModel, read: Callable[[LoadedModel], tuple[InferRequest, T]]
) -> tuple[LoadedModel, InferRequest, T]:
    """The model that answers a call, and what `read` makes of the body for that one: a request, and what else is to be
    known. Raises what that raises, and as `Inference.route`.
    """
    request, known = read(model)
    if model.splits:
        # What the body says decides. It is read again as the version that answers has it.
        model = service.route(model, request, call.all_headers)
        request, known = read(model)
    call.begun(request, model)
    return model, request, known


class Reading(Generic[T]):
    """What operations have in common: a body is prepared, in slices if it is large, and then decoded for its model."""

    streams = False
    """Whether any number of responses can be sent."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._service = service
        self._max_request_bytes = max_request_bytes

    async def decoded(self, call: Call) -> T:
        """What `decode` makes of a call's body, once that is prepared. While its turns are waited for, it counts as in
        flight, as it did while it was read. Gives way to the loop before `decode`, and not behind it.
        """
        held = Share(self._service.inflight)
        try:
            slices = prepare(
                self._service, call, call.body, self._max_request_bytes, held.hold_if_room,
                streams=self.streams, reads=partial(self.reads, call),
            )  # fmt: skip
            if slices is None:
                return self.decode(call, None)
            held.hold(len(call.body))
            prepared = await self._service.slicer.finish(slices)
            # It was there before the slices began.
            with Carrying(GIVEN):
                return self.decode(call, prepared)
        finally:
            held.give_back()

    def decode(self, call: Call, prepared: Prepared | None) -> T:
        """The request, and what else is to be known of it. `prepared`: see `prepare`. Raises ServingError."""
        raise NotImplementedError

    def reads(self, call: Call, model: LoadedModel) -> Reader | None:
        """What reads large JSON to a model; None if it is not to be read."""
        return _reads(model)

    def plain(self, call: Call, prepared: Prepared | None) -> Prepared:
        """A body that was prepared, or else is now without its encoding. Raises as `decompress`."""
        encoding = call.headers.get(b"content-encoding", b"")
        return prepared or Prepared(decompress(call.body, encoding, self._max_request_bytes), None)


class Infer(Reading[Asked]):
    """The operation of `POST /v2/models/M[/versions/N]/infer`."""

    async def __call__(self, call: Call, send: Send) -> None:
        """Send the outputs, in the form that the request asks for."""
        asked = await self.decoded(call)
        response = await infer(asked.model, asked.request)
        call.executed(response)

        def found() -> Slices[Answer]:
            encoded = yield from encode(response, asked)
            return (yield from answer(encoded, asked.accept_encoding))

        await send_answer(*await self._service.slicer.finish(found()), call, send)

    def decode(self, call: Call, prepared: Prepared | None) -> Asked:
        """The request, checked. Raises as the function of this name."""
        asked = decode(
            self._service, call, call.body, self._max_request_bytes, streams=self.streams, prepared=prepared
        )
        call.begun(asked.request, asked.model)
        asked.model = self._service.check(asked.model, asked.request)
        return asked


class InferStream(Infer):
    """The operation of `POST /v2/models/M[/versions/N]/infer_stream`: the data of each event is the JSON that `infer`
    would answer with.
    """

    streams = True

    async def __call__(self, call: Call, send: Send) -> None:
        """Send each response as soon as it is there."""
        asked = await self.decoded(call)
        await send_events(stream(asked.model, asked.request), partial(self._event, asked), call, send)

    async def _event(self, asked: Asked, response: InferResponse) -> Parts:
        """The data of an event. Raises InvalidArgumentError where tensors were to follow it, and as `encode`."""
        encoded = await self._service.slicer.finish(encode(response, asked))
        if encoded.json_bytes:
            raise InvalidArgumentError(
                "infer_stream answers in JSON: leave 'binary_data' and 'binary_data_output' out"
            )
        return encoded.parts


def unless_verbatim(service: InferenceService, plain: Operation, verbatim: Operation) -> Operation:
    """An operation that is another one for models which read requests themselves: they do not know values by name."""

    async def answer(call: Call, send: Send) -> None:
        model = service.acquire(call.model_name, call.version)
        await (verbatim if model.signature.verbatim else plain)(call, send)

    return answer
