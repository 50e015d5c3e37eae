"""Limits on what a client may send, beside the size of its messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_v2.errors import InvalidArgumentError

MAX_DIMENSIONS = 32
"""Of a tensor with its batch dimension: what every version of numpy can hold."""

MAX_PARAMETERS = 4096
"""Of a request."""

MAX_ID_CHARACTERS = 64 * 1024
"""Of a request's id."""

MAX_MEMBERS = 16 * 1024
"""Of a large request in JSON: objects and their members, beside base64."""

MAX_FIELDS = 8 * 1024
"""Of a large message: inputs, outputs, parameters, raw contents, and what these have. To count them takes as long as to
parse a few more.
"""


def check_id(identifier: str) -> None:
    """Raise InvalidArgumentError if the id of a request is too long."""
    if len(identifier) > MAX_ID_CHARACTERS:
        raise id_too_long(f"{len(identifier)} characters")


def id_too_long(found: str) -> InvalidArgumentError:
    """The error for an id that has been `found` to be so long."""
    return InvalidArgumentError(
        f"the request's id has {found}, at most {MAX_ID_CHARACTERS} characters are supported"
    )


def check_parameters(count: int) -> None:
    """Raise InvalidArgumentError if a request has too many parameters."""
    if count > MAX_PARAMETERS:
        raise InvalidArgumentError(
            f"the request has {count} parameters, at most {MAX_PARAMETERS} are supported"
        )


def too_many(most: int, what: str) -> InvalidArgumentError:
    """The error for a request with more than the `most` of something that are supported."""
    return InvalidArgumentError(
        f"the request has more than {most} {what}, which are as many as are supported"
    )


def check_dimensions(shape: Sequence[int], name: str) -> None:
    """Raise InvalidArgumentError if the shape of input `name` has more dimensions than an array can have. To be called
    before anything is computed of the shape.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidArgumentError(
            f"invalid shape for input '{name}': it has {len(shape)} dimensions, at most {MAX_DIMENSIONS} are supported"
        )


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one connection over HTTP/1.1.

    `max_head_bytes`: request line and headers together. `max_headers`: how many of them. `max_chunks`: non-empty
    chunks of one body (as in Triton). `max_stall_s`: seconds that a client may take for the head of a request, and
    that it may let pass without sending more of a body, or without reading more of an answer.
    """

    max_head_bytes: int = 64 * 1024
    max_headers: int = 256
    max_chunks: int = 65536
    max_stall_s: float = 60.0

    # A chunk's size and line ends: what does not count as waste between the chunks of a body.
    chunk_overhead_bytes: int = 16
