"""`generate` and `generate_stream`: flat JSON in, one object or server-sent events out, for models of every kind."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Send

from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferResponse
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.errors import error_body, known
from kserve_v2.rest.generate_codec import decode_generate, encode_generate
from kserve_v2.scheduling.replies import stream

_EVENTS = b"text/event-stream; charset=utf-8"


def _responses(service: InferenceService, call: Call) -> AsyncGenerator[InferResponse, None]:
    """The checked request's responses. Raises what is wrong with it at once."""
    if call.headers.get(b"content-encoding", b"identity") != b"identity":
        raise InvalidArgumentError("Unsupported content-encoding, only 'identity' is supported.")
    model = service.acquire(call.model_name, call.version)
    if model.splits:
        model = service.route(model, None, call.all_headers)
    request = decode_generate(call.body, model.signature, call.model_name, call.version)
    if model.splits:
        # What the body says decides. It is read again as the version that answers has it.
        model = service.route(model, request, call.all_headers)
        request = decode_generate(call.body, model.signature, call.model_name, call.version)
    call.body = b""
    if call.access is not None:
        call.access.request_id = request.id
    if call.trace is not None:
        model.begin_trace(request, call.trace)
    model.check(request)
    return stream(model, request)


class Generate:
    """The operation of `POST /v2/models/M[/versions/N]/generate`: exactly one response."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    async def __call__(self, call: Call, send: Send) -> None:
        """Send the outputs as one flat object."""
        async with aclosing(_responses(self._service, call)) as responses:
            body = encode_generate(await self._only(responses))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        call.started = True
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @staticmethod
    async def _only(responses: AsyncGenerator[InferResponse, None]) -> InferResponse:
        only = await anext(responses, None)
        if only is not None and only.error is not None:
            raise only.error
        if only is None or await anext(responses, None) is not None:
            raise InvalidArgumentError(
                "generate expects model to produce exactly 1 response, use generate stream for model that "
                "generates various number of responses"
            )
        return only


class GenerateStream:
    """The operation of `POST /v2/models/M[/versions/N]/generate_stream`: an event for each response.

    A model's error is an event, too. If it comes first, it is also the answer's status.
    """

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    async def __call__(self, call: Call, send: Send) -> None:
        """Send each response as soon as it is there."""
        async with aclosing(_responses(self._service, call)) as responses:
            try:
                async for response in responses:
                    if response.error is not None:
                        await _send_error(response.error, call, send)
                    else:
                        await _send_event(encode_generate(response), 200, call, send)
            except Exception as error:  # noqa: BLE001 - the client is told in the form that it expects
                await _send_error(known(error), call, send)
        if not call.started:
            await _start(200, call, send)
        await send({"type": "http.response.body", "body": b""})


async def _start(status: int, call: Call, send: Send) -> None:
    call.started = True
    if call.access is not None:
        call.access.status = status
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", _EVENTS)]})


async def _send_error(error: ServingError, call: Call, send: Send) -> None:
    if call.trace is not None:
        call.trace.error = error.message
    await _send_event(error_body(error.message), error.code.value.http, call, send)


async def _send_event(data: bytes, status: int, call: Call, send: Send) -> None:
    if not call.started:
        await _start(status, call, send)
    await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})
