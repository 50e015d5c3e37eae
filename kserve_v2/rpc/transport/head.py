"""What the header fields of a request mean to gRPC. Remembered with the block that they came in, so it depends on
nothing but them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.errors import ErrorCode
from kserve_v2.http2.headers import Field, list_bytes
from kserve_v2.rpc.calls import Asked, Direct, Parts, Rpc, Serialized
from kserve_v2.rpc.transport.messages import ACCEPTED_ENCODINGS, choose_encoding, known_encoding
from kserve_v2.rpc.transport.metadata import (
    HEADERS,
    call_metadata,
    headers,
    http_error,
    parse_timeout,
    trailers_only,
)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request that is a call of `rpc`, or else `refusal`: the header block that answers it."""

    rpc: Rpc | None = None
    refusal: bytes = b""
    timeout_s: float | None = None
    encoding: bytes = b""
    answer_encoding: bytes = b""
    answer_headers: bytes = HEADERS
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    # See `calls.Direct`; None if that is not possible, or the answer is to be compressed.
    recall: Callable[[Serialized], Parts | Asked | None] | None = None


class HeadReader:
    """Reads heads for one server."""

    def __init__(self, rpcs: Mapping[bytes, Rpc], max_metadata_bytes: int, compression: str) -> None:
        """`rpcs` by path; `compression`: level of answers, see `choose_encoding`."""
        self._rpcs = rpcs
        self._max_metadata_bytes = max_metadata_bytes
        self._compression = compression

    def read(self, fields: Sequence[Field]) -> RequestHead:
        """The head of a request."""
        values = dict(fields)
        refusal = _not_grpc(values)
        if refusal is None and list_bytes(fields) > self._max_metadata_bytes:
            code = ErrorCode.RESOURCE_EXHAUSTED.value.grpc
            refusal = trailers_only(
                code, f"metadata size exceeds the limit of {self._max_metadata_bytes} bytes"
            )
        rpc = self._rpcs.get(values[b":path"])
        unsupported = ErrorCode.UNSUPPORTED.value.grpc
        if refusal is None and rpc is None:
            refusal = trailers_only(unsupported, "")
        encoding = values.get(b"grpc-encoding", b"")
        if refusal is None and not known_encoding(encoding):
            details = f"Compression algorithm '{encoding.decode('latin-1')}' is not supported."
            refusal = trailers_only(unsupported, details, (b"grpc-accept-encoding", ACCEPTED_ENCODINGS))
        timeout = values.get(b"grpc-timeout")
        timeout_s = None if timeout is None else parse_timeout(timeout)
        if refusal is None and timeout is not None and timeout_s is None:
            refusal = trailers_only(ErrorCode.INVALID_ARGUMENT.value.grpc, "grpc-timeout is malformed")
        if refusal is not None:
            return RequestHead(refusal=refusal)
        answer_encoding = choose_encoding(self._compression, values.get(b"grpc-accept-encoding", b""))
        recall = rpc.recall if isinstance(rpc, Direct) and not answer_encoding else None
        answer_headers, metadata = headers(answer_encoding), call_metadata(fields)
        return RequestHead(rpc, b"", timeout_s, encoding, answer_encoding, answer_headers, metadata, recall)


def _not_grpc(values: Mapping[bytes, bytes]) -> bytes | None:
    """The answer to a request that is not one of gRPC."""
    if values[b":method"] != b"POST":
        return http_error(405, (b"allow", b"POST"))
    content_type = values.get(b"content-type", b"")
    if content_type != b"application/grpc" and not content_type.startswith(
        (b"application/grpc+", b"application/grpc;")
    ):
        return http_error(415)
    return None
