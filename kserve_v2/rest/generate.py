"""`generate` and `generate_stream`: values by name, or files, in; one object or server-sent events out, for models of
every kind.
"""

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from starlette.types import Send

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.sparing import Sparing
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rest.answers import send_answer, send_events
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.generate_answer import AnswerForm, answer_form, file_wanted
from kserve_v2.rest.generate_codec import Layout, members, request_of
from kserve_v2.rest.generate_files import is_file, parse_file, read_body
from kserve_v2.rest.infer import Prepared, Reader, Reading, read_data, routed
from kserve_v2.scheduling.replies import stream

logger = logging.getLogger(__name__)

_READ_MEMBERS = read_data(members, alone=True)

# Of ours, those that hand a request's tensors to the model, and nothing else.
_GRAPHS = frozenset({"onnxruntime", "pytorch"})
_MOST_NAMES, _MOST_CHARACTERS = 4, 40


def _header(call: Call, name: bytes) -> bytes:
    """The value of a header, "" if there is none."""
    return next((value for found, value in call.all_headers if found == name), b"")


class _ByName(Reading[tuple[AsyncGenerator[InferResponse, None], AnswerForm]]):
    """What both operations do before they differ."""

    streams = True

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """As `Reading`."""
        super().__init__(service, max_request_bytes)
        self._unread = UnreadMembers()

    async def ask(self, call: Call) -> tuple[AsyncGenerator[InferResponse, None], AnswerForm]:
        """The responses to a request, which is checked, and how they are written. Raises what is wrong with it."""
        encoding = call.headers.get(b"content-encoding")
        if encoding not in (None, b"identity") and not is_file(_header(call, b"content-type")):
            raise InvalidArgumentError("Unsupported content-encoding, only 'identity' is supported.")
        return await self.decoded(call)

    def reads(self, call: Call, model: LoadedModel) -> Reader | None:
        content_type = _header(call, b"content-type")
        if is_file(content_type):
            return lambda body, room: parse_file(body, content_type, model.signature, room)
        return _READ_MEMBERS

    def decode(
        self, call: Call, prepared: Prepared | None
    ) -> tuple[AsyncGenerator[InferResponse, None], AnswerForm]:
        service, content_type = self._service, _header(call, b"content-type")
        model = service.acquire(call.model_name, call.version)
        if model.splits:
            model = service.route(model, None, call.all_headers)
        body, document, _ = self.plain(call, prepared)

        def read(model: LoadedModel) -> tuple[InferRequest, Layout]:
            said = read_body(body, content_type, model.signature, document)
            return request_of(said, model.signature, call.model_name, call.version), said.layout

        model, request, layout = routed(service, call, model, read)
        self._unread.tell(request.parameters, model)
        form = answer_form(model, layout, call.query)
        return stream(service.check(model, request), request), form


class UnreadMembers:
    """What is said of members of requests that are no inputs, for models that read nothing else.

    Triton makes parameters of them, and so does this server: a handler may read these. A graph does not, so there they
    are rather misspelt. The answer is the one that Triton gives, and the log says what was in vain, once in a while.
    """

    def __init__(self) -> None:
        self._sparing = Sparing()

    def tell(self, members: Iterable[str], model: LoadedModel) -> None:
        """Warn of those of a request, which are none of the model's inputs."""
        if model.config.backend not in _GRAPHS:
            return
        # That one is the request's own.
        unread = [name for name in members if name != "id"]
        if not unread or (left_out := self._sparing.left_out()) is None:
            return
        shown = ", ".join(repr(name[:_MOST_CHARACTERS]) for name in unread[:_MOST_NAMES])
        logger.warning(
            "generate: %s in a request to model '%s' is neither an input of it (%s) nor read by it, and has no "
            "effect%s",
            shown,
            model.name,
            ", ".join(model.signature.inputs),
            f"; {left_out} more such requests since the last line" if left_out else "",
        )


class Generate(_ByName):
    """The operation of `POST /v2/models/M[/versions/N]/generate`: exactly one response."""

    async def __call__(self, call: Call, send: Send) -> None:
        """Send the outputs as one object, or the file that the client asks for."""
        wanted = file_wanted(_header(call, b"accept"))
        asked, form = await self.ask(call)
        async with aclosing(asked) as responses:
            only = await self._only(responses)
            call.executed(only)
            file = wanted.found(only) if wanted is not None else None
            kind, parts = file or ("application/json", await self._service.slicer.finish(form.encode(only)))
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % sum(map(len, parts)))]
        await send_answer(headers, parts, call, send)

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


class GenerateStream(_ByName):
    """The operation of `POST /v2/models/M[/versions/N]/generate_stream`: an event for each response."""

    async def __call__(self, call: Call, send: Send) -> None:
        """Send each response as soon as it is there."""
        asked, form = await self.ask(call)

        async def write(response: InferResponse) -> Sequence[bytes]:
            return await self._service.slicer.finish(form.encode(response))

        await send_events(asked, write, call, send)
