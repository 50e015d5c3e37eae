"""Reading a request's body within the limit on its size."""

from starlette.types import Receive

from kserve_v2.errors import RequestCancelledError, ResourceExhaustedError


async def read_body(receive: Receive, announced: int | None, limit: int) -> bytes | bytearray:
    """The whole body. `announced`: its Content-Length, if there is one; `limit`: most bytes that are
    accepted.

    Raises ResourceExhaustedError as soon as it is clear that there are more, RequestCancelledError if the
    client leaves.
    """
    if announced is not None and announced > limit:
        raise _too_large(announced, limit)
    message = await receive()
    body: bytes | bytearray = message.get("body", b"")
    if message.get("more_body"):
        body = bytearray(body)
    while message.get("more_body") and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise RequestCancelledError("the client left before its request was complete")
    if len(body) > limit:
        raise _too_large(len(body), limit)
    return body


def _too_large(size: int, limit: int) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        f"request of {size} bytes exceeds the maximum allowed input size of {limit} bytes. "
        "Use --http-max-input-size to increase the limit."
    )
