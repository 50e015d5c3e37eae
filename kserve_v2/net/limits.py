"""Limits on what a client may send, beside the size of its messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_v2.errors import InvalidArgumentError

MAX_DIMENSIONS = 32
"""Of a tensor with its batch dimension: what every version of numpy can hold."""


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
