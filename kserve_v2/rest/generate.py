"""`generate` and `generate_stream`: values by name, or files, in; one object or server-sent events out, for models of
every kind.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from starlette.types import Send

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.messages import InferResponse
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.errors import known
from kserve_v2.rest.events import send_error, send_event, start_events
from kserve_v2.rest.generate_accept import file_wanted
from kserve_v2.rest.generate_answer import AnswerForm, answer_form
from kserve_v2.rest.generate_codec import members, request_of
from kserve_v2.rest.generate_files import is_file, read_body
from kserve_v2.rest.generate_unread import UnreadMembers
from kserve_v2.rest.infer import Answer, Prepared, decoded, plain_body, read_data, send_answer
from kserve_v2.scheduling.replies import stream

_READ_MEMBERS = read_data(members)


def _header(call: Call, name: bytes) -> bytes:
    """The value of a header, "" if there is none."""
    return next((value for found, value in call.all_headers if found == name), b"")


class _Asking:
    """What both operations do before they differ."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._service = service
        self._max_request_bytes = max_request_bytes
        self._unread = UnreadMembers()

    async def ask(self, call: Call) -> tuple[AsyncGenerator[InferResponse, None], AnswerForm]:
        """The responses to a request, which is checked, and how they are written. Raises what is wrong with it."""
        encoding, content_type = call.headers.get(b"content-encoding"), _header(call, b"content-type")
        if encoding not in (None, b"identity") and not is_file(content_type):
            raise InvalidArgumentError("Unsupported content-encoding, only 'identity' is supported.")
        reader = None if is_file(content_type) else _READ_MEMBERS
        ask = partial(self._ask, call, content_type)
        return await decoded(
            self._service, call, self._max_request_bytes, ask, streams=True, reads=lambda _: reader
        )

    def _ask(
        self, call: Call, content_type: bytes, prepared: Prepared | None
    ) -> tuple[AsyncGenerator[InferResponse, None], AnswerForm]:
        service = self._service
        model = service.acquire(call.model_name, call.version)
        if model.splits:
            model = service.route(model, None, call.all_headers)
        body, document = prepared or (plain_body(call, self._max_request_bytes), None)
        said = read_body(body, content_type, model.signature, document)
        request = request_of(said, model.signature, call.model_name, call.version)
        if model.splits:
            # What the body says decides. It is read again as the version that answers has it.
            model = service.route(model, request, call.all_headers)
            said = read_body(body, content_type, model.signature, document)
            request = request_of(said, model.signature, call.model_name, call.version)
        else:
            self._unread.tell(request.parameters, model)
        form = answer_form(model, said.layout, call.query)
        call.body = b""
        if call.access is not None:
            call.access.request_id = request.id
        if call.trace is not None:
            model.begin_trace(request, call.trace)
        model.check(request)
        return stream(model, request), form


class Generate:
    """The operation of `POST /v2/models/M[/versions/N]/generate`: exactly one response."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._asking = _Asking(service, max_request_bytes)
        self._slicer = service.slicer

    async def __call__(self, call: Call, send: Send) -> None:
        """Send the outputs as one object, or the file that the client asks for."""
        wanted = file_wanted(_header(call, b"accept"))
        asked, form = await self._asking.ask(call)
        async with aclosing(asked) as responses:
            only = await self._only(responses)
            file = wanted.found(only) if wanted is not None else None
            kind, parts = file or ("application/json", await self._slicer.finish(form.encode(only)))
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % sum(map(len, parts)))]
        await send_answer(Answer(headers, parts), call, send)

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

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._asking = _Asking(service, max_request_bytes)
        self._slicer = service.slicer

    async def __call__(self, call: Call, send: Send) -> None:
        """Send each response as soon as it is there."""
        asked, form = await self._asking.ask(call)
        async with aclosing(asked) as responses:
            try:
                async for response in responses:
                    if response.error is not None:
                        await send_error(response.error, call, send)
                    else:
                        data = await self._slicer.finish(form.encode(response))
                        await send_event(data, 200, call, send)
            except Exception as error:  # noqa: BLE001 - the client is told in the form that it expects
                await send_error(known(error), call, send)
        if not call.started:
            await start_events(200, call, send)
        await send({"type": "http.response.body", "body": b""})
