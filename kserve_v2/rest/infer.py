"""The hot path of REST: a plain ASGI callable that answers inference requests, and hands everything else on."""

import asyncio
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from kserve_v2.errors import ServingError, UnavailableError, UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.logs import Access, access_log_enabled, log_access
from kserve_v2.rest.body import read_body
from kserve_v2.rest.codec import EncodedResponse, decode_request, encode_response
from kserve_v2.rest.errors import error_response, method_not_allowed, unexpected
from kserve_v2.rest.protocol import WAITING_TASKS

# Answers up to this size are sent in one piece; the parts of larger ones are not copied together.
_JOIN_BYTES = 64 * 1024


def infer_target(path: str) -> tuple[str, str] | None:
    """Model name and version ("" if not given) of an inference path, None for any other path."""
    if not (path.endswith("/infer") and path.startswith("/v2/models/")):
        return None
    parts = path.split("/")
    if len(parts) == 5:
        return (parts[3], "") if parts[3] else None
    if len(parts) == 7 and parts[4] == "versions" and parts[5].isdigit() and parts[5].isascii():
        return (parts[3], parts[5]) if parts[3] else None
    return None


class InferEndpoint:
    """ASGI middleware: `POST /v2/models/M[/versions/N]/infer`, without routing, validation models or a task
    of its own.
    """

    def __init__(self, app: ASGIApp, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the largest body that is accepted."""
        self._app = app
        self._service = service
        self._max_request_bytes = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an inference request; see ASGI for the arguments."""
        target = infer_target(scope["path"]) if scope["type"] == "http" else None
        if target is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            await method_not_allowed("POST")(scope, receive, send)
            return
        waiting: set[asyncio.Task[None]] = scope.get(WAITING_TASKS, set())
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI application runs in a task
        waiting.add(task)
        access = Access("rest", *target, status=200) if access_log_enabled() else None
        try:
            encoded = await self._answer(scope, receive, *target, access)
        except asyncio.CancelledError:
            task.uncancel()
            if task not in waiting:
                # The transport took the task out: the client has left, and there is nobody to answer.
                return
            error = UnavailableError("Server exiting: the request was not finished in time")
            await _send_error(error, access, scope, receive, send)
        except ServingError as error:
            await _send_error(error, access, scope, receive, send)
        else:
            await _send(encoded, send)
        finally:
            waiting.discard(task)
        if access is not None:
            log_access(access)

    async def _answer(
        self, scope: Scope, receive: Receive, name: str, version: str, access: Access | None
    ) -> EncodedResponse:
        header_length, announced = _read_headers(scope["headers"])
        body = await read_body(receive, announced, self._max_request_bytes)
        try:
            # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in
            # between.
            model = self._service.acquire(name, version)
            request, response_format = decode_request(body, header_length, name, version)
            if access is not None:
                access.request_id = request.id
            response = await model.infer(request)
            if access is not None:
                access.executed(response)
            batched = model.signature.max_batch_size > 0
            return encode_response(response, response_format, model.labels, batched=batched)
        except ServingError:
            raise
        except Exception as error:
            raise unexpected(error) from error


def _read_headers(headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes | None, int | None]:
    """The length of the JSON header, and the length of the body, where they are given."""
    header_length: bytes | None = None
    announced: int | None = None
    for name, value in headers:
        if name == b"inference-header-content-length":
            header_length = value
        elif name == b"content-length":
            announced = int(value)
        elif name == b"content-encoding" and value != b"identity":
            raise UnsupportedError("Unsupported compression type")
    return header_length, announced


async def _send_error(
    error: ServingError, access: Access | None, scope: Scope, receive: Receive, send: Send
) -> None:
    if access is not None:
        access.status = error.code.value.http
    await error_response(error)(scope, receive, send)


async def _send(encoded: EncodedResponse, send: Send) -> None:
    parts = encoded.parts
    size = sum(map(len, parts))
    if encoded.header_length is None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
    else:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", b"%d" % encoded.header_length),
            (b"content-length", b"%d" % size),
        ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if len(parts) > 1 and size <= _JOIN_BYTES:
        parts = (b"".join(parts),)
    last = len(parts) - 1
    for number, part in enumerate(parts):
        await send({"type": "http.response.body", "body": part, "more_body": number < last})
