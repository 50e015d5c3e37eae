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
_TIMEOUT = b"grpc-timeout"

# The fields that say what a request means to gRPC: others are metadata, or nobody's.
_READ = {b":method", b":path", b"content-type", b"grpc-accept-encoding", b"grpc-encoding", _TIMEOUT}


@dataclass(slots=True)
class Terms:
    """What many requests have in common: they are calls of `rpc`, or else `refusal` is the header block that answers
    them. Nothing of it changes.
    """

    rpc: Rpc | None = None
    refusal: bytes = b""
    encoding: bytes = b""
    answer_encoding: bytes = b""
    answer_headers: bytes = HEADERS
    # See `calls.Direct`; None if that is not possible, or the answer is to be compressed.
    recall: Callable[[Serialized], Parts | Asked | None] | None = None


@dataclass(slots=True)
class RequestHead:
    """A request. Nothing of it changes."""

    terms: Terms
    fields: Sequence[Field] = ()
    timeout_s: float | None = None
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
        # By RPC and the encodings of messages, so there are only so many.
        self._terms: dict[tuple[bytes, bytes, bytes], Terms] = {}

    def read(
        self, fields: Sequence[Field], nbytes: int, begun: RequestHead | None = None, count: int = 0
    ) -> RequestHead:
        """The head of a request: see `http2.fields.ReadHead`."""
        if begun is None or begun.terms.refusal or nbytes > self._max_metadata_bytes:
            return self._read(fields, nbytes)
        timeout_s = begun.timeout_s
        for name, value in fields[count:]:
            if name in _READ:
                timeout_s = parse_timeout(value) if name == _TIMEOUT else None
                if timeout_s is None:
                    return self._read(fields, nbytes)
        # Only metadata, or another deadline.
        return RequestHead(begun.terms, fields, timeout_s)

    def _read(self, fields: Sequence[Field], nbytes: int) -> RequestHead:
        """The head of a request of which nothing is known."""
        values = dict(fields)
        refusal = self._refusal(values, nbytes)
        if refusal:
            return RequestHead(Terms(refusal=refusal))
        encoding, timeout = values.get(b"grpc-encoding", b""), values.get(_TIMEOUT)
        accepted = values.get(b"grpc-accept-encoding")
        answer_encoding = choose_encoding(self._compression, accepted) if accepted else b""
        key = values[b":path"], encoding, answer_encoding
        terms = self._terms.get(key)
        if terms is None:
            rpc = self._rpcs[values[b":path"]]
            recall = rpc.recall if isinstance(rpc, Direct) and not answer_encoding else None
            terms = Terms(rpc, b"", encoding, answer_encoding, headers(answer_encoding), recall)
            self._terms[key] = terms
        return RequestHead(terms, fields, None if timeout is None else parse_timeout(timeout))

    def _refusal(self, values: Mapping[bytes, bytes], nbytes: int) -> bytes:
        """The header block that answers a request which is not one of gRPC, or not for this server; else b""."""
        if values[b":method"] != b"POST":
            return http_error(405, (b"allow", b"POST"))
        content_type = values.get(b"content-type", b"")
        if content_type != _GRPC and not content_type.startswith((_GRPC + b"+", _GRPC + b";")):
            return http_error(415)
        code, details = ErrorCode.UNSUPPORTED, ""
        more: tuple[Field, ...] = ()
        encoding = values.get(b"grpc-encoding", b"")
        if nbytes > self._max_metadata_bytes:
            code = ErrorCode.RESOURCE_EXHAUSTED
            details = f"metadata size exceeds the limit of {self._max_metadata_bytes} bytes"
        elif values[b":path"] not in self._rpcs:
            pass
        elif encoding and not known_encoding(encoding):
            details = f"Compression algorithm '{encoding.decode('latin-1')}' is not supported."
            more = ((b"grpc-accept-encoding", ACCEPTED_ENCODINGS),)
        elif _TIMEOUT in values and parse_timeout(values[_TIMEOUT]) is None:
            code, details = ErrorCode.INVALID_ARGUMENT, "grpc-timeout is malformed"
        else:
            return b""
        return trailers_only(code.value.grpc, details, *more)
