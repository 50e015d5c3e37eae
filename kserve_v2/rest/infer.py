"""`infer`: one request, one answer, in JSON or with binary tensors."""

from collections.abc import Sequence

from starlette.types import Send

from kserve_v2.errors import UnsupportedError
from kserve_v2.inference import InferenceService
from kserve_v2.rest.codec import EncodedResponse, decode_request, encode_response
from kserve_v2.rest.compression import choose_encoding, compress, decompress
from kserve_v2.rest.endpoint import Call

# Answers up to this size are sent in one piece; the parts of larger ones are not copied together.
_JOIN_BYTES = 64 * 1024


class Infer:
    """The operation of `POST /v2/models/M[/versions/N]/infer`."""

    def __init__(self, service: InferenceService, max_request_bytes: int) -> None:
        """`max_request_bytes`: the most that a compressed body may become."""
        self._service = service
        self._max_request_bytes = max_request_bytes

    async def __call__(self, call: Call, send: Send) -> None:
        """See `Operation`."""
        # From here to the scheduler nothing gives way to the loop: the model cannot be unloaded in between.
        model = self._service.acquire(call.model_name, call.version)
        if model.decoupled:
            raise UnsupportedError("HTTP end point doesn't support models with decoupled transaction policy")
        headers = call.headers
        body = decompress(call.body, headers.get(b"content-encoding", b""), self._max_request_bytes)
        request, response_format = decode_request(
            body,
            headers.get(b"inference-header-content-length"),
            model.signature,
            call.version,
            self._service.shared_memory,
        )
        if call.access is not None:
            call.access.request_id = request.id
        if call.trace is not None:
            model.begin_trace(request, call.trace)
        response = await model.infer(request)
        if call.access is not None:
            call.access.executed(response)
        encoded = encode_response(response, response_format, model.labels, batched=model.batched)
        await _send(encoded, choose_encoding(headers.get(b"accept-encoding")), call, send)


async def _send(encoded: EncodedResponse, encoding: bytes | None, call: Call, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    if encoded.header_length is not None:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", b"%d" % encoded.header_length),
        ]
    parts: Sequence[bytes | memoryview] = encoded.parts
    if encoding is not None:
        parts = (compress(encoded.parts, encoding),)
        headers.append((b"content-encoding", encoding))
    size = sum(map(len, parts))
    headers.append((b"content-length", b"%d" % size))
    call.started = True
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if len(parts) > 1 and size <= _JOIN_BYTES:
        parts = (b"".join(parts),)
    last = len(parts) - 1
    for number, part in enumerate(parts):
        await send({"type": "http.response.body", "body": part, "more_body": number < last})
