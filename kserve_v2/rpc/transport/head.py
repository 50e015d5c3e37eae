"""What the header fields of a request mean to gRPC. Remembered with the block that they came in, so it depends on
nothing but them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.errors import ErrorCode
from kserve_v2.http2.fields import Field
from kserve_v2.rpc.calls import Asked, Direct, Metadata, Parts, Rpc, Serialized
from kserve_v2.rpc.transport.messages import ACCEPTED_ENCODINGS, choose_encoding, known_encoding
from kserve_v2.rpc.transport.metadata import (
    HEADERS,
    call_metadata,
    headers,
    http_error,
    parse_timeout,
    trailers_only,
)

_GRPC = b"application/grpc"


@dataclass(slots=True)
class RequestHead:
    """A request that is a call of `rpc`, or else `refusal`: the header block that answers it. Nothing of it changes."""

    fields: Sequence[Field] = ()
    rpc: Rpc | None = None
    refusal: bytes = b""
    timeout_s: float | None = None
    encoding: bytes = b""
    answer_encoding: bytes = b""
    answer_headers: bytes = HEADERS
    # See `calls.Direct`; None if that is not possible, or the answer is to be compressed.
    recall: Callable[[Serialized], Parts | Asked | None] | None = None
    _metadata: Metadata | None = None

    @property
    def metadata(self) -> Metadata:
        """The call's metadata. Most calls are answered without anybody's asking, so it is made when somebody does."""
        if self._metadata is None:
            self._metadata = call_metadata(self.fields)
        return self._metadata


class HeadReader:
    """Reads heads for one server."""

    def __init__(self, rpcs: Mapping[bytes, Rpc], max_metadata_bytes: int, compression: str) -> None:
        """`rpcs` by path; `compression`: level of answers, see `choose_encoding`."""
        self._rpcs = rpcs
        self._max_metadata_bytes = max_metadata_bytes
        self._compression = compression

    def read(self, fields: Sequence[Field], nbytes: int) -> RequestHead:
        """The head of a request. `nbytes`: the fields' size as a list."""
        values = dict(fields)
        rpc = self._rpcs.get(values[b":path"])
        encoding = values.get(b"grpc-encoding", b"")
        timeout = values.get(b"grpc-timeout")
        timeout_s = None if timeout is None else parse_timeout(timeout)
        refusal = None
        if values[b":method"] != b"POST" or values.get(b"content-type") != _GRPC:
            refusal = _not_grpc(values)
        if refusal is None and nbytes > self._max_metadata_bytes:
            code = ErrorCode.RESOURCE_EXHAUSTED.value.grpc
            refusal = trailers_only(
                code, f"metadata size exceeds the limit of {self._max_metadata_bytes} bytes"
            )
        if refusal is None and rpc is None:
            refusal = trailers_only(ErrorCode.UNSUPPORTED.value.grpc, "")
        if refusal is None and encoding and not known_encoding(encoding):
            details = f"Compression algorithm '{encoding.decode('latin-1')}' is not supported."
            more = (b"grpc-accept-encoding", ACCEPTED_ENCODINGS)
            refusal = trailers_only(ErrorCode.UNSUPPORTED.value.grpc, details, more)
        if refusal is None and timeout is not None and timeout_s is None:
            refusal = trailers_only(ErrorCode.INVALID_ARGUMENT.value.grpc, "grpc-timeout is malformed")
        if refusal is not None:
            return RequestHead(refusal=refusal)
        accepted = values.get(b"grpc-accept-encoding")
        answer_encoding = choose_encoding(self._compression, accepted) if accepted else b""
        recall = rpc.recall if isinstance(rpc, Direct) and not answer_encoding else None
        return RequestHead(
            fields, rpc, b"", timeout_s, encoding, answer_encoding, headers(answer_encoding), recall
        )


def _not_grpc(values: Mapping[bytes, bytes]) -> bytes | None:
    """The answer to a request that is not one of gRPC."""
    if values[b":method"] != b"POST":
        return http_error(405, (b"allow", b"POST"))
    content_type = values.get(b"content-type", b"")
    if content_type != _GRPC and not content_type.startswith((_GRPC + b"+", _GRPC + b";")):
        return http_error(415)
    return None
